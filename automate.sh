#!/bin/sh
# The one thing cron calls: one full process, logged to logs/<date>.log. Needs no PATH or HOME.
set -u
PATH=${PATH:-/usr/local/bin:/usr/bin:/bin}
export PATH
KEEP_DAYS=30

here=$(dirname "$(readlink -f "$0")")
cd "$here" || exit 74

# setup.sh notes which interpreter it installed for.
python=$here/.venv/bin/python
[ ! -r .python-path ] || python=$(cat .python-path)
if [ ! -x "$python" ]; then
    printf 'automate.sh: no interpreter at %s; run ./setup.sh first.\n' "$python" >&2
    exit 69
fi

mkdir -p logs || exit 73
log=logs/$(date -u +%Y-%m-%d).log
code=0
"$python" -m scripts.fullprocess "$@" >>"$log" 2>&1 || code=$?
find logs -maxdepth 1 -type f -name '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9].log' \
    -mtime "+$KEEP_DAYS" -exec rm -f {} +
exit "$code"
