#!/bin/sh
# A whole restore on this machine, without any cloud: a checkpoint that Karbor wrote goes through a real worker and
# becomes a Heat template. Started by `make demo`; restore-worker must be in the PATH.
set -eu
cd "$(dirname "$0")/.."

state=$(mktemp -d)
unset RESTORE_REDIS_URL
export RESTORE_HOME="$state" RESTORE_BANK=examples/webapp

say() { printf '\n%s\n' "$*"; }

restore-worker up --no-flower --concurrency 2 >"$state/up.log" 2>&1 &
up=$!
stop() {
    kill "$up" 2>/dev/null || true
    wait "$up" || true
    rm -rf "$state"
}
trap stop EXIT
trap 'exit 130' INT TERM

say '$ restore-worker up          (here in the background: Redis, a worker, beat)'
until grep 'ready for restores' "$state/up.log"; do
    kill -0 "$up" 2>/dev/null || { cat "$state/up.log" >&2; exit 1; }
    sleep 0.1
done

run() { say "\$ $*"; "$@"; }
run restore-worker checkpoint list
run restore-worker plan latest
run restore-worker submit latest --no-stack --wait --export restore-demo.yaml

say "The template is in restore-demo.yaml, $(wc -l <restore-demo.yaml) lines:"
sed -n '/^resources:/,$p' restore-demo.yaml | head -n 12
echo ...
