# Has a Chromium where a test can start it: Debian's own, installed as root if it is not there.
set -e
if command -v chromium >/dev/null; then exit 0; fi
run=
if [ "$(id -u)" != 0 ]; then run=sudo; fi
$run env DEBIAN_FRONTEND=noninteractive apt-get update -qq
$run env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends chromium fonts-dejavu-core >/dev/null
