#!/usr/bin/env bash
# Installs, runs the pipeline and serves; or plays the demo; or tests.
set -euo pipefail

usage() {
    cat <<'TEXT'
Usage: ./setup.sh               install, run the pipeline, serve on the configured address
       ./setup.sh --no-serve    install, run the pipeline
       ./setup.sh demo [--no-serve]
                                install, play six months of a made-up company, serve its pages
       ./setup.sh test [ARGS]   install, run the test suite (ARGS go to pytest)

Uses the active conda environment if there is one, else .venv beside this file.
TEXT
}

version() {
    sed -n 's/^version = "\(.*\)"$/setup.sh \1/p' "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/pyproject.toml"
}

fail() {
    printf 'setup.sh: %s\n' "$1" >&2
    exit "${2:-1}"
}

serve=yes
mode=run
case "${1:-}" in
    "") ;;
    --no-serve) serve=no ;;
    demo) mode=demo; shift ;;
    test) mode=test; shift ;;
    -h|--help) usage; exit 0 ;;
    --version) version; exit 0 ;;
    *) usage >&2; exit 64 ;;
esac

cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")"

if [ -n "${CONDA_PREFIX:-}" ] && [ -x "$CONDA_PREFIX/bin/python" ]; then
    environment=$CONDA_PREFIX
else
    environment=$PWD/.venv
    command -v python3 >/dev/null || fail "python3 is missing; install Python 3.11 or later." 69
    # Made anew also when an earlier call died half-way.
    "$environment/bin/python" -m pip --version >/dev/null 2>&1 ||
        python3 -m venv --clear "$environment" ||
        fail "python3 cannot make an environment; install its venv module (Debian: python3-venv)." 69
fi
python=$environment/bin/python
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "the Python of $environment is older than 3.11; use Python 3.11 or later." 69
printf '%s\n' "$python" > .python-path

# The packages of a lock file. A second call has nothing to do: the marker holds the hash of what was
# installed last, and is written only at the end.
install() {
    local lock=$1
    local marker=$environment/.adras-installed-$lock
    local wanted
    wanted="$(sha256sum "$lock") $("$python" --version)"
    [ "$(cat "$marker" 2>/dev/null)" != "$wanted" ] || return 0
    printf 'Installing %s into %s ...\n' "$lock" "$environment"
    install_halves "$lock" ||
        fail "the packages could not be installed; is the package index reachable?" 69
    [ "$environment" != "$PWD/.venv" ] || trim
    printf '%s\n' "$wanted" > "$marker"
}

# Installs both halves of a lock at once, since pip unpacks on one core. A lock is whole, so pip looks
# for no dependencies. A module is compiled when it is first imported: pip would compile all of them,
# four times as many.
install_halves() {
    local folder half pip failed=0 pips=()
    local options=(--quiet --disable-pip-version-check --no-compile --no-deps --require-hashes)
    folder=$(mktemp -d)
    awk -v folder="$folder" '/^[^# ]/ { n++ } n { print > (folder "/" n % 2 ".lock") }' "$1"
    # A program in the background does not get Ctrl-C.
    trap 'kill "${pips[@]}" 2>/dev/null; rm -rf "$folder"; exit 130' HUP INT TERM
    for half in "$folder"/*.lock; do
        "$python" -m pip install "${options[@]}" -r "$half" &
        pips+=("$!")
    done
    for pip in "${pips[@]}"; do
        wait "$pip" || failed=1
    done
    trap - HUP INT TERM
    rm -rf "$folder"
    return "$failed"
}

# Removes what no program here loads, an eighth of the whole: the libraries' own tests, their sources in
# C and Cython, the network parts of Arrow, and the decoder of AVIF pictures. An environment of conda
# may serve others, and stays.
trim() {
    local packages
    for packages in "$environment"/lib/python3*/site-packages; do
        find "$packages"/{fontTools,matplotlib,numpy,pandas,pyarrow,scipy,sklearn} -depth \
            \( -type d -name tests -o -name '*.[ach]' -o -name '*.[ch]pp' -o -name '*.pyx' -o \
            -name '*.px[di]' \) -exec rm -rf {} + 2>/dev/null || true
        rm -rf "$packages"/pyarrow/{include,src,libarrow*flight.*,libarrow_s3.*,_flight.*,_s3fs.*} \
            "$packages"/{PIL/_avif.*,pillow.libs/libavif*}
        # Names for a linker. Programs load lib*.so.NUMBER.
        rm -f "$packages"/pyarrow/libarrow*.so "$packages"/pyarrow/libarrow*.so.*.*
    done
}
install requirements.lock

if [ "$mode" = test ]; then
    install requirements-test.lock
    # tests/conftest.py says how many workers "auto" is. The longest tests are whole runs, so a worker
    # that is done takes from others.
    exec "$python" -m pytest -n auto --dist worksteal "$@"
fi

if [ "$mode" = demo ]; then
    exec "$python" -m examples.demo "$@"
fi

code=0
"$python" -m scripts.fullprocess || code=$?
# 75: another run is at work, and will deploy what there is.
[ "$code" -eq 0 ] || [ "$code" -eq 75 ] || fail "the full process ended with exit code $code." "$code"

# The account that serves may not be allowed to write here, and would compile at each start.
[ "$serve" = yes ] || "$python" -c 'import openpyxl, scripts.app, scripts.api.record_queries'

if [ "$serve" = yes ]; then
    printf 'The service starts now; end it with Ctrl-C. In another terminal: %s -m scripts.apicalls\n' "$python"
    exec "$python" -m scripts.app
fi
