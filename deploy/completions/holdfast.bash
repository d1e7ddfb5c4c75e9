# Completion for bash. What there is to say stands in the program's own help.
_holdfast() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} help commands known i
    case $before in
    -c | --config)
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
        return
        ;;
    --listen | --admin) return ;;
    esac
    help=$("${COMP_WORDS[0]}" --help 2>/dev/null) || return
    if [[ $word == -* ]]; then
        known=$(grep -oE -- '--[a-z][a-z-]*' <<<"$help" | sort -u)
    else
        commands=$(sed -n 's/^  \([a-z][a-z]*\)  .*/\1/p' <<<"$help")
        for ((i = 1; i < COMP_CWORD; i++)); do # one command is all it takes
            grep -qx -- "${COMP_WORDS[i]}" <<<"$commands" && return
        done
        known=$commands
    fi
    mapfile -t COMPREPLY < <(compgen -W "$known" -- "$word")
}
complete -F _holdfast holdfast
