# Starts `restore-worker up` for a demonstration, and stops it at the end. Sourced, in the directory of the checkout.
state=$(mktemp -d)
unset RESTORE_REDIS_URL
export RESTORE_HOME="$state"

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
