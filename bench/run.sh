#!/usr/bin/env bash
# run.sh - CPU per request and per streamed event: holdfast beside nginx, in one run.
# See bench/README.md for the method, its limits and how to read the tables.
set -u -o pipefail
shopt -s nullglob

usage() {
    cat <<'END'
usage: bench/run.sh [options]
  --only NAME          one workload: small-1 small-64 body-200k stream-fast stream-paced
  --rounds N           rounds of every workload, medians are printed (default 3)
  --core N             the CPU that everything shares (default: the last one allowed)
  --holdfast FILE      measure this binary instead of building the release preset
  --no-holdfast        only nginx, and the peer if there is one
  --peer CMD           one more proxy, started by this shell command; it finds the provider's
                       port in $UPSTREAM_PORT and answers /v1/chat/completions
  --peer-port P        where it listens on 127.0.0.1
  --provider-port P    a fixed port for the provider, for a peer that cannot read $UPSTREAM_PORT
Progress goes to stderr, the tables to stdout. Exit status: 0; 1 an answer was wrong or something
broke; 2 wrong usage or something is not installed.
END
}

root=$(cd "$(dirname "$0")/.." && pwd)
only='' rounds=3 core='' holdfast_bin='' with_holdfast=1 peer_cmd='' peer_port='' provider_port=''
tmp='' chosen=() names=() sessions=() failures=0
declare -A port=() session=() values=() broken=() # see where each is set

#        name         unit   what it is                                      options of bench/load.c
workloads=(
    "small-1|answer|1 KB request, 1 KB JSON answer, 1 connection|-c 1"
    "small-64|answer|the same, 64 connections|-c 64"
    "body-200k|answer|200 KB request, 1 KB JSON answer, 8 connections|-c 8 -b 204800"
    "stream-fast|event|64 streams at a time, 100 events each, no gap|-c 64 -e 100"
    "stream-paced|event|200 open streams, 20 events/s each|-c 200 -e 90 -g 50000 -w 1 -t 3"
)

say() { echo "bench: $*" >&2; }

# die STATUS TEXT...
die() {
    say "${@:2}"
    exit "$1"
}

# ---- starting and stopping; every server is a session of its own, known by its first process ----

stop_all() {
    local s i

    trap - EXIT INT TERM HUP
    for s in "${sessions[@]}"; do
        kill -TERM -- "-$s" 2>/dev/null
    done
    for s in "${sessions[@]}"; do
        for ((i = 0; i < 30; i++)); do
            kill -0 -- "-$s" 2>/dev/null || break
            sleep 0.1
        done
        kill -KILL -- "-$s" 2>/dev/null
        wait "$s" 2>/dev/null
    done
    [[ -n $tmp ]] && rm -rf "$tmp"
}
trap stop_all EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

open_port() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# Prints a port of 127.0.0.1 that nobody listens on, below those the kernel gives to clients.
free_port() {
    local p

    for ((;;)); do
        p=$((18000 + RANDOM % 8000))
        open_port "$p" || break
    done
    echo "$p"
}

# start NAME PORT LOG COMMAND...: on our CPU; ends with this script even if that is killed
start() {
    local name=$1 at=$2 log=$3 i

    setsid setpriv --pdeathsig TERM taskset -c "$core" "${@:4}" >"$log" 2>&1 </dev/null &
    session[$name]=$!
    port[$name]=$at
    sessions+=($!)
    for ((i = 0; i < 200; i++)); do
        kill -0 "${session[$name]}" 2>/dev/null || break
        open_port "$at" && return
        sleep 0.1
    done
    [[ -s $log ]] && tail -n 5 "$log" >&2
    die 1 "$name does not listen on 127.0.0.1:$at"
}

# The processes of a server now, separated by commas: all in its session.
pids_of() {
    local stat line fields list=''

    for stat in /proc/[0-9]*/stat; do
        { read -r line <"$stat"; } 2>/dev/null || continue
        read -ra fields <<<"${line##*) }" # from the state on: state ppid pgrp session
        [[ ${fields[3]} == "$1" ]] && list+=",${line%% *}"
    done
    echo "${list#,}"
}

# Two servers, so that nginx is at its best in both: buffered answers cost it less, and a stream
# must not be buffered.
start_nginx() {
    local at stream_at dir=$tmp/nginx

    at=$(free_port)
    stream_at=$(free_port)
    mkdir -p "$dir"
    {
        # Its worker keeps our user, or it could not write where we can.
        ((EUID == 0)) && echo "user $(id -un) $(id -gn);"
        cat <<END
daemon off;
worker_processes 1;
worker_rlimit_nofile 8192;
pid $dir/pid;
error_log $dir/error.log error;
events { worker_connections 4096; }
http {
    access_log off;
    keepalive_requests 1000000000;
    client_max_body_size 64m;
    client_body_buffer_size 1m;
    client_body_temp_path $dir/body;
    proxy_temp_path $dir/proxy;
    fastcgi_temp_path $dir/fastcgi;
    uwsgi_temp_path $dir/uwsgi;
    scgi_temp_path $dir/scgi;
    upstream provider {
        server 127.0.0.1:${port[provider]};
        keepalive 1024;
        keepalive_requests 1000000000;
    }
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    server {
        listen 127.0.0.1:$at backlog=4096;
        location / { proxy_pass http://provider; }
    }
    server {
        listen 127.0.0.1:$stream_at backlog=4096;
        location / { proxy_pass http://provider; proxy_buffering off; }
    }
}
END
    } >"$dir/nginx.conf"
    start nginx "$at" "$dir/output.log" nginx -e "$dir/error.log" -c "$dir/nginx.conf"
    port[nginx,event]=$stream_at
}

start_holdfast() {
    local at admin conf=$tmp/holdfast.yaml clean=(env -i "PATH=$PATH" "HOME=$tmp")

    at=$(free_port)
    admin=$(free_port)
    cat >"$conf" <<END
listen: [127.0.0.1:$at]
admin: 127.0.0.1:$admin
providers:
  sim: {type: openai, base_url: "http://127.0.0.1:${port[provider]}/v1", api_key: bench}
routes:
  - model: "*"
    targets: [sim]
END
    # What the log says is thrown away, but writing it is part of what is measured.
    "${clean[@]}" "$holdfast_bin" check -c "$conf" >"$tmp/check.log" 2>&1 || {
        cat "$tmp/check.log" >&2
        die 1 "holdfast refuses the benchmark's configuration"
    }
    start holdfast "$at" /dev/null "${clean[@]}" "$holdfast_bin" -c "$conf"
}

# ---- measuring ----

# measure WORKLOAD NAME OPTIONS...: keeps cpu, p50, rate and rss, or marks the pair as broken
measure() {
    local key=$1,$2 unit=$3 line loose=()

    [[ $2 == peer ]] && loose=(-l)
    if ! line=$(timeout 60 taskset -c "$core" "$tmp/load" "${@:4}" "${loose[@]}" \
        -p "$(pids_of "${session[$2]}")" "${port[$2,$unit]:-${port[$2]}}"); then
        say "$1 $2: FAILED ${line:-}"
        broken[$key]=1
        failures=$((failures + 1))
        return
    fi
    say "$1 $2: $line"
    [[ $line =~ cpu_us_per_$unit=([0-9.]+) ]] && values[$key,cpu]+=" ${BASH_REMATCH[1]}"
    [[ $line =~ p50_us=([0-9]+) ]] && values[$key,p50]+=" ${BASH_REMATCH[1]}"
    [[ $line =~ rate=([0-9]+) ]] && values[$key,rate]+=" ${BASH_REMATCH[1]}"
    [[ $line =~ rss_kib=([0-9]+) ]] && values[$key,rss]+=" ${BASH_REMATCH[1]}"
}

# Prints the middle one of the numbers (of an even count the mean of the two), or nothing.
median() {
    [[ $# -eq 0 ]] || printf '%s\n' "$@" | sort -n |
        awk '{ v[NR] = $1 } END { printf "%.2f", (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2 }'
}

# of WORKLOAD NAME METRIC: its median
# shellcheck disable=SC2086
of() { median ${values[$1,$2,$3]:-}; }

# ---- the tables ----

cell() { [[ -n $1 ]] && printf ' %s |' "$1" || printf ' - |'; }

ratio() { [[ -n $1 && -n $2 ]] && awk -v a="$1" -v b="$2" 'BEGIN { if (b > 0) printf "%.2f", a / b }'; }

# How far the rounds of a proxy lie apart, in percent of its smallest; of the worst proxy.
spread() {
    local name

    for name in "${names[@]}"; do
        echo "${values[$1,$name,cpu]:-}"
    done | awk 'NF { min = max = $1; n = split($0, v)
                     for (i = 1; i <= n; i++) { if (v[i] < min) min = v[i]; if (v[i] > max) max = v[i] }
                     s = min > 0 ? (max - min) * 100 / min : 0; if (s > most) most = s }
                END { printf "%.0f %%", most }'
}

cpu_table() {
    local w name unit what rest cpu base

    printf '| workload |'
    printf ' %s us |' "${names[@]}"
    for name in "${names[@]}"; do
        [[ $name == nginx ]] || printf ' %s / nginx |' "$name"
    done
    printf ' spread | per |\n|---|'
    printf -- '--:|%.0s' "${names[@]}" "${names[@]}"
    printf -- '---|\n'
    for w in "${chosen[@]}"; do
        IFS='|' read -r w unit what rest <<<"$w"
        base=$(of "$w" nginx cpu)
        printf '| %s: %s |' "$w" "$what"
        for name in "${names[@]}"; do
            cpu=$(of "$w" "$name" cpu)
            cell "${broken[$w,$name]:+FAILED${cpu:+ }}$cpu"
        done
        for name in "${names[@]}"; do
            [[ $name == nginx ]] || cell "$(ratio "$(of "$w" "$name" cpu)" "$base")"
        done
        printf ' %s | %s |\n' "$(spread "$w")" "$unit"
    done
}

seen_table() {
    local w name rest rss all=(provider "${names[@]}")

    printf '| workload |'
    printf ' %s p50 us |' "${all[@]/provider/direct}"
    printf ' %s /s |' "${all[@]/provider/direct}"
    printf ' %s RSS MiB |' "${names[@]}"
    printf '\n|---|'
    printf -- '--:|%.0s' "${all[@]}" "${all[@]}" "${names[@]}"
    printf '\n'
    for w in "${chosen[@]}"; do
        IFS='|' read -r w rest <<<"$w"
        printf '| %s |' "$w"
        for name in "${all[@]}"; do
            cell "$(of "$w" "$name" p50 | sed 's/\..*//')"
        done
        for name in "${all[@]}"; do
            cell "$(of "$w" "$name" rate | sed 's/\..*//')"
        done
        for name in "${names[@]}"; do
            rss=$(of "$w" "$name" rss)
            cell "$(ratio "$rss" 1024)"
        done
        printf '\n'
    done
}

# ---- the run ----

parse_options() {
    local p w

    while (($# > 0)); do
        case $1 in
        --only | --rounds | --core | --holdfast | --peer | --peer-port | --provider-port)
            (($# > 1)) || die 2 "$1 needs a value"
            ;;&
        --only) only=$2 && shift 2 ;;
        --rounds) rounds=$2 && shift 2 ;;
        --core) core=$2 && shift 2 ;;
        --holdfast) holdfast_bin=$(realpath -m "$2") && shift 2 ;;
        --no-holdfast) with_holdfast=0 && shift ;;
        --peer) peer_cmd=$2 && shift 2 ;;
        --peer-port) peer_port=$2 && shift 2 ;;
        --provider-port) provider_port=$2 && shift 2 ;;
        -h | --help) usage && exit 0 ;;
        *) die 2 "\"$1\" is not an option; see --help" ;;
        esac
    done
    [[ $rounds =~ ^[1-9][0-9]?$ ]] || die 2 "--rounds: \"$rounds\" is not a number from 1 to 99"
    for p in $peer_port $provider_port; do
        [[ $p =~ ^[1-9][0-9]{0,4}$ ]] || die 2 "\"$p\" is not a port"
        ! open_port "$p" || die 2 "port $p of 127.0.0.1 is in use"
    done
    [[ -z $peer_cmd || -n $peer_port ]] || die 2 "--peer needs --peer-port"
    [[ -n $peer_cmd || -z $peer_port ]] || die 2 "--peer-port needs --peer"
    for w in "${workloads[@]}"; do
        [[ -z $only || ${w%%|*} == "$only" ]] && chosen+=("$w")
    done
    ((${#chosen[@]} > 0)) || die 2 "--only: there is no workload \"$only\"; see --help"
}

check_machine() {
    local tool

    PATH=$PATH:/usr/sbin
    command -v nginx >/dev/null || die 2 "nginx is not installed: sudo apt-get install nginx-light"
    for tool in cc taskset setpriv setsid awk; do
        command -v $tool >/dev/null ||
            die 2 "$tool is not installed: sudo apt-get install gcc libc6-dev util-linux gawk"
    done
    if [[ -z $core ]]; then
        core=$(awk '/^Cpus_allowed_list/ { n = split($2, v, /[-,]/); print v[n] }' /proc/self/status)
    fi
    taskset -c "$core" true 2>/dev/null || die 2 "--core: we may not use a CPU \"$core\""
    ulimit -n "$(ulimit -Hn)" 2>/dev/null
    [[ $(ulimit -n) == unlimited ]] || (($(ulimit -n) >= 1024)) ||
        die 2 "only $(ulimit -n) open files are allowed, 1024 are needed"
}

build() {
    local tool

    say "building"
    for tool in provider load; do
        cc -std=gnu17 -O2 -Wall -Wextra -I"$root" -o "$tmp/$tool" "$root/bench/$tool.c" "$root/bench/tool.c" -lssl -lcrypto ||
            die 1 "bench/$tool.c does not build"
    done
    if ((with_holdfast)) && [[ -z $holdfast_bin ]]; then
        (cd "$root" && cmake --preset release && cmake --build --preset release) \
            >"$tmp/build.log" 2>&1 || {
            tail -n 20 "$tmp/build.log" >&2
            die 1 "the release preset does not build"
        }
        holdfast_bin=$root/build/release/holdfast
    fi
    ((!with_holdfast)) || [[ -x $holdfast_bin ]] || die 1 "$holdfast_bin is not an executable file"
}

start_all() {
    [[ -n $provider_port ]] || provider_port=$(free_port)
    start provider "$provider_port" "$tmp/provider.log" "$tmp/provider" "$provider_port"
    start_nginx
    names=(nginx)
    if ((with_holdfast)); then
        start_holdfast
        names+=(holdfast)
    fi
    if [[ -n $peer_cmd ]]; then
        start peer "$peer_port" "$tmp/peer.log" \
            env "UPSTREAM_PORT=$provider_port" bash -c "$peer_cmd"
        names+=(peer)
    fi
}

# Every round asks all proxies, one right after the other, each second round in the other order.
run_workload() {
    local name=$1 unit=$2 options round i n=${#names[@]}

    read -ra options <<<"$3"
    measure "$name" provider "$unit" "${options[@]}"
    for ((round = 0; round < rounds; round++)); do
        for ((i = 0; i < n; i++)); do
            measure "$name" "${names[round % 2 == 0 ? i : n - 1 - i]}" "$unit" "${options[@]}"
        done
    done
}

main() {
    local w unit what options

    parse_options "$@"
    check_machine
    tmp=$(mktemp -d) || die 1 "no temporary folder"
    build
    start_all
    for w in "${chosen[@]}"; do
        IFS='|' read -r w unit what options <<<"$w"
        run_workload "$w" "$unit" "$options"
    done

    printf 'CPU time of the proxy, median of %s rounds; client, provider and proxies share CPU %s.\n' \
        "$rounds" "$core"
    printf '%s, Linux %s, %s\n\n' "$(nginx -v 2>&1 | sed 's/.*: //')" "$(uname -r)" \
        "$(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1)"
    cpu_table
    printf '\nWhat the client saw, and memory while busy (direct: without a proxy, one round).\n\n'
    seen_table
    ((failures == 0)) || die 1 "$failures measurements FAILED"
}

main "$@"
