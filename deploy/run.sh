#!/usr/bin/env bash
# From a fresh clone to a running proxy: installs what the build needs and this machine lacks,
# builds, prints a curl line to paste, and runs Holdfast in the foreground (Ctrl-C ends it).
#
#   deploy/run.sh                              the configuration that is found, or none
#   deploy/run.sh -c my.yaml                   everything behind it goes to holdfast
#   deploy/run.sh --listen 127.0.0.1:9000
#
# It asks for nothing but sudo, and for that only when a package is missing.
set -u
ROOT=$(cd "$(dirname "$0")/.." && pwd) || exit 1
HOLDFAST=$ROOT/build/release/holdfast
LOG=$ROOT/build/run.log

die() {
    printf 'deploy/run.sh: %s\n' "$1" >&2
    exit "${2:-1}"
}

# -- what the build needs -----------------------------------------------------------------------
# One row each: the package of Debian and Ubuntu, and what is true where it is not needed.
needs() {
    cat <<'ROWS'
ca-certificates      test -e /etc/ssl/certs/ca-certificates.crt || test -d /etc/pki/tls
cmake                command -v cmake
curl                 command -v curl
gcc                  command -v cc
libc6-dev            echo '#include <stdio.h>' | cc -E -
ninja-build          command -v ninja
pkg-config           command -v pkg-config
libcurl4-openssl-dev pkg-config --exists libcurl && curl-config --ssl-backends | grep -q OpenSSL
libmicrohttpd-dev    pkg-config --exists libmicrohttpd
libssl-dev           pkg-config --exists openssl
libyaml-dev          pkg-config --exists yaml-0.1
zlib1g-dev           pkg-config --exists zlib
ROWS
}

missing_packages() {
    local package check
    while read -r package check; do
        bash -c "$check" >/dev/null 2>&1 || echo "$package"
    done < <(needs)
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    else
        sudo "$@"
    fi
}

install_missing() {
    local missing
    mapfile -t missing < <(missing_packages)
    [ ${#missing[@]} = 0 ] && return
    command -v apt-get >/dev/null ||
        die "this script installs packages on Debian and Ubuntu only. Missing here, by their
Debian names: ${missing[*]}
Install them the way this system does it and run this again."
    [ "$(id -u)" = 0 ] || command -v sudo >/dev/null ||
        die "packages are missing and there is no sudo. Run as root:
  apt-get install ${missing[*]}"
    echo "installing: ${missing[*]}"
    as_root apt-get update -qq &&
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-remove -o Dpkg::Use-Pty=0 \
            -o DPkg::Lock::Timeout=300 --no-install-recommends "${missing[@]}" >/dev/null ||
        die "apt-get could not install: ${missing[*]}"
    mapfile -t missing < <(missing_packages)
    [ ${#missing[@]} = 0 ] || die "still missing after the installation: ${missing[*]}"
}

# Below these the build would fail later and say less.
check_versions() {
    local have
    have=$(cmake --version | sed -n '1s/[^0-9]*//p')
    printf '3.25\n%s\n' "$have" | sort -C -V ||
        die "cmake $have is too old, 3.25 is needed: Debian 12 and Ubuntu 24.04 are the first that have it"
    have=$(pkg-config --modversion libcurl)
    printf '7.88\n%s\n' "$have" | sort -C -V ||
        die "libcurl $have is too old, 7.88 is needed: Debian 12 and Ubuntu 24.04 are the first that have it"
}

# -- building -----------------------------------------------------------------------------------
build() {
    mkdir -p "$ROOT/build" || die "$ROOT/build cannot be made"
    [ -x "$HOLDFAST" ] || echo "building (about a minute, only this first time)"
    (cd "$ROOT" && cmake --preset release && cmake --build --preset release) >"$LOG" 2>&1 || {
        tail -n 30 "$LOG" >&2
        die "the build failed; all of its output is in $LOG"
    }
}

# -- the line to paste --------------------------------------------------------------------------
# From what holdfast itself makes of the same arguments. Nothing is printed where they are wrong or
# ask for something else than serving: holdfast says so itself then.
# Holdfast finds this too, but after the curl line, and it does not know this script's options.
taken() {
    [[ $1 == *:* && $1 != unix:* ]] && (exec 3<>"/dev/tcp/${1%:*}/${1##*:}") 2>/dev/null
}

print_curl() {
    local args=("$@") summary listen admin model key='' at
    [ "${1:-}" = serve ] && args=("${@:2}")
    summary=$("$HOLDFAST" check "${args[@]}" 2>/dev/null) || return
    listen=$(sed -n 's/^listen  *\([^,]*\).*/\1/p' <<<"$summary")
    admin=$(sed -n 's/^admin  *//p' <<<"$summary")
    [ -n "$listen" ] || return
    taken "$listen" && die "something listens on $listen already, perhaps another Holdfast. End it, or
choose another address with --listen, for example: deploy/run.sh --listen 127.0.0.1:8190" 69
    taken "$admin" && die "something listens on $admin already, where the admin port shall be. End it,
or choose another address: HOLDFAST_ADMIN=127.0.0.1:8191 deploy/run.sh ..." 69
    model=$(sed -n '/^routes/,$s/^  \([^ ,*][^,*]*\).*/\1/p' <<<"$summary" | head -n 1)
    grep -q '^clients  *everybody' <<<"$summary" || key=" -H 'authorization: Bearer YOUR_CLIENT_KEY'"
    case $listen in
    unix:*) at="--unix-socket ${listen#unix:} http://localhost" ;;
    :*) at="http://127.0.0.1$listen" ;;
    0.0.0.0:*) at="http://127.0.0.1:${listen##*:}" ;;
    *) at="http://$listen" ;;
    esac
    cat <<LINE

Try it from another terminal (Ctrl-C here stops it):

  curl -i $at/v1/chat/completions$key -H 'content-type: application/json' -d '{"model":"${model:-gpt-4o}","messages":[{"role":"user","content":"Say hello."}]}'

LINE
}

install_missing
check_versions
build
print_curl "$@"
exec "$HOLDFAST" "$@"
