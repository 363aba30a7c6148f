#!/bin/sh
# The one thing cron calls: one full process, logged to logs/<date>.log. Needs no PATH or HOME.
# automate.sh [--python INTERPRETER] [options of scripts.fullprocess]
set -u
# What a run writes tells of clients, and is for no other account.
umask 077
PATH=${PATH:-/usr/local/bin:/usr/bin:/bin}
# How the run came to be, for its record.
ADRAS_TRIGGER=${ADRAS_TRIGGER:-cron}
export PATH ADRAS_TRIGGER
KEEP_DAYS=30
KEEP_FILES=50
MAX_BYTES=${ADRAS_LOG_MAX_BYTES:-5000000}

here=$(dirname "$(readlink -f "$0")")
cd "$here" || exit 74

case "${1:-}" in
    -h|--help)
        printf '%s\n' "Usage: ./automate.sh [--python INTERPRETER] [options of scripts.fullprocess]" \
            "One full process, as cron starts it, logged to logs/<date>.log."
        exit 0
        ;;
    --version)
        sed -n 's/^version = "\(.*\)"$/automate.sh \1/p' pyproject.toml
        exit 0
        ;;
esac

# The scheduler's line names the interpreter; without one, the one that setup.sh installed for.
python=$here/.venv/bin/python
[ ! -r .python-path ] || python=$(cat .python-path)
if [ "${1:-}" = --python ] && [ $# -ge 2 ]; then
    python=$2
    shift 2
fi

mkdir -p logs || exit 74
day=$(date -u +%Y-%m-%d)
log=logs/$day.log
if [ -f "$log" ] && [ "$(wc -c <"$log")" -gt "$MAX_BYTES" ]; then
    # The full part becomes <date>.<number>.log. Linking refuses a name that is taken, so that of
    # two at the same moment only one moves it.
    number=1
    while part=logs/$day.$(printf %03d "$number").log && [ -e "$part" ]; do
        number=$((number + 1))
    done
    ln "$log" "$part" 2>/dev/null && rm -f "$log"
fi

if [ ! -x "$python" ]; then
    message="automate.sh: no interpreter at $python; run ./setup.sh, then install the job again."
    printf '%s\n' "$message" >&2
    printf '%s %s\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$message" >>"$log"
    exit 69
fi

code=0
"$python" -m scripts.fullprocess "$@" >>"$log" 2>&1 || code=$?

# Only names made above: first by age, then, oldest first, by number.
find logs -maxdepth 1 -type f -name '????-??-??*.log' -mtime "+$KEEP_DAYS" 2>/dev/null |
    grep -E '^logs/[0-9-]{10}(\.[0-9]+)?\.log$' | while IFS= read -r old; do rm -f "$old"; done
n_logs=$(ls logs | grep -cE '^[0-9-]{10}(\.[0-9]+)?\.log$')
if [ "$n_logs" -gt "$KEEP_FILES" ]; then
    ls logs | grep -E '^[0-9-]{10}(\.[0-9]+)?\.log$' | LC_ALL=C sort |
        head -n "$((n_logs - KEEP_FILES))" | while IFS= read -r old; do rm -f "logs/$old"; done
fi
exit "$code"
