#!/bin/sh
# A real restore on the project's own test cloud: an application is built, saved and lost, and comes back. Started by
# `make demo-cloud`, which brings the cloud up first; restore-worker and its Python must be in the PATH.
set -eu
cd "$(dirname "$0")/.."

OS_CLIENT_CONFIG_FILE="${CLOUD_HOME:-.cloud}/clouds.yaml"
export OS_CLIENT_CONFIG_FILE
. examples/with-up.sh
export RESTORE_BANK="$state/bank"

# What a demonstration that broke off left.
python -m tests.cloud.lost --clean
say 'An application in a bank, and nowhere else:'
python -m tests.cloud.lost "$RESTORE_BANK"
public=$(cat "$RESTORE_BANK/public-network")

run restore-worker checkpoint list
run restore-worker submit latest --cloud demo --wait \
    --parameter OS::Neutron::Network.networks=new --parameter OS::Neutron::Network.public_network_id="$public"

id=$(restore-worker list -f value -c ID)
run restore-worker show "$id" -c state -c stacks -c belongings
run restore-worker destroy "$id" --yes --wait
python -m tests.cloud.lost --clean
