#!/bin/sh
# A full process now and every ADRAS_EVERY_S seconds, where there is neither cron nor systemd.
# A signal to stop ends the wait at once, and a run by the same signal.
set -u
child=
stop() {
    [ -z "$child" ] || { kill -TERM "$child" && wait "$child"; }
    exit 0
}
trap stop TERM INT

while :; do
    python -m scripts.fullprocess &
    child=$!
    wait "$child"
    sleep "${ADRAS_EVERY_S:-600}" &
    child=$!
    wait "$child"
done
