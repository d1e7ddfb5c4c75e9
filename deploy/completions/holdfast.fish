# Completion for fish. What there is to say stands in the program's own help.
function __holdfast_commands
    holdfast --help 2>/dev/null | string replace -rf '^  ([a-z]+)  +(.*)$' '$1\t$2'
end
function __holdfast_options
    holdfast --help 2>/dev/null | string replace -rf '^ +(?:-[a-z], )?(--[a-z-]+)(?: [A-Z]+|\[=[A-Z]+\])?  +(.*)$' '$1\t$2'
end
function __holdfast_needs_command
    not string match -qr -- '\n('(string join '|' (__holdfast_commands | string replace -r '\t.*' ''))')\n' \
        \n(string join \n\n (commandline -opc))\n
end
complete -c holdfast -f
complete -c holdfast -n __holdfast_needs_command -a '(__holdfast_commands)'
complete -c holdfast -n 'string match -q -- "-*" (commandline -ct)' -a '(__holdfast_options)'
complete -c holdfast -s c -l config -r -F -d 'the configuration'
complete -c holdfast -l listen -x
complete -c holdfast -l admin -x
