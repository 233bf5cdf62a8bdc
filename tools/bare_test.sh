#!/usr/bin/env bash
# Installs the wheel into a Debian 12 made by debootstrap that has Python and nothing of what we build with, neither
# headers nor libraries, and runs tests/bare/smoke.py there. Without a network: the wheels of the extra come from here.
set -euo pipefail
cd "$(dirname "$0")/.."

root=build/bare/root
wheels=build/bare/wheels
as_root=()
[ "$(id -u)" -eq 0 ] || as_root=(sudo)
inside() { "${as_root[@]}" chroot "$root" env -i PATH=/usr/bin:/bin HOME=/root LC_ALL=C.UTF-8 "$@"; }

if [ ! -e build/bare/made ]; then
  "${as_root[@]}" rm -rf "$root"
  mkdir -p build/bare
  mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | grep -v security | head -n 1)
  "${as_root[@]}" /usr/sbin/debootstrap --variant=minbase --include=python3,python3-venv bookworm "$root" $mirror \
    >build/bare/debootstrap.log 2>&1 || { tail -n 20 build/bare/debootstrap.log; exit 1; }
  echo '127.0.0.1 localhost' | "${as_root[@]}" tee "$root/etc/hosts" >/dev/null
  touch build/bare/made
fi
for library in libsimdjson14 libprometheus-cpp-core1.0 libssl-dev libboost1.81-dev g++; do
  ! inside dpkg-query -W "$library" >/dev/null 2>&1 || { echo "The bare machine has $library." >&2; exit 1; }
done

if ! cmp -s requirements/run.txt build/bare/run.txt; then
  rm -rf "$wheels"
  .venv-test/bin/pip download --quiet --disable-pip-version-check --require-hashes --only-binary :all: \
    --dest "$wheels" --requirement requirements/run.txt
  cp requirements/run.txt build/bare/run.txt
fi
.venv-test/bin/python -m trustme --quiet --dir build/bare --identities localhost 127.0.0.1

"${as_root[@]}" rm -rf "$root/opt/sentinel"
"${as_root[@]}" mkdir -p "$root/opt/sentinel/wheels" "$root/opt/sentinel/certificates"
"${as_root[@]}" cp dist/*.whl "$wheels"/*.whl "$root/opt/sentinel/wheels/"
"${as_root[@]}" cp tests/bare/*.py "$root/opt/sentinel/"
"${as_root[@]}" cp build/bare/server.key build/bare/server.pem build/bare/client.pem "$root/opt/sentinel/certificates/"

install() { inside /opt/sentinel/venv/bin/pip install --quiet --no-index --find-links /opt/sentinel/wheels "$@"; }
"${as_root[@]}" mount -t proc proc "$root/proc"
trap '"${as_root[@]}" umount "$root/proc"' EXIT
inside python3 -m venv /opt/sentinel/venv
install sentinel-llm-gateway
inside /opt/sentinel/venv/bin/python -c 'import sentinel, sys; assert not {"fastapi", "pydantic"} & set(sys.modules)'
install 'sentinel-llm-gateway[gateway]'
inside /opt/sentinel/venv/bin/python /opt/sentinel/smoke.py /opt/sentinel/certificates
