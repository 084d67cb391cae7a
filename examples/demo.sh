#!/bin/sh
# A whole restore on this machine, without any cloud: a checkpoint that Karbor wrote goes through a real worker and
# becomes a Heat template. Started by `make demo`; restore-worker must be in the PATH.
set -eu
cd "$(dirname "$0")/.."

. examples/with-up.sh
export RESTORE_BANK=examples/webapp

run restore-worker checkpoint list
run restore-worker plan latest
run restore-worker submit latest --no-stack --wait --export restore-demo.yaml

say "The template is in restore-demo.yaml, $(wc -l <restore-demo.yaml) lines:"
sed -n '/^resources:/,$p' restore-demo.yaml | head -n 12
echo ...
