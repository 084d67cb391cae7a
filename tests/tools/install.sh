# Has the programs that some tests start: Debian's own, installed as root if they are not there.
set -e
missing=
command -v chromium >/dev/null || missing="$missing chromium fonts-dejavu-core"
command -v systemd-analyze >/dev/null || missing="$missing systemd"
command -v promtool >/dev/null || missing="$missing prometheus"
if [ -z "$missing" ]; then exit 0; fi
run=
if [ "$(id -u)" != 0 ]; then run=sudo; fi
# shellcheck disable=SC2086 # words are wanted
$run sh tests/cloud/openstack_cloud/debian.sh $missing
