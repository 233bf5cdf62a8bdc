#!/usr/bin/env bash
# Installs what is missing of .ci/system-packages.txt, after showing it. Silent and quick when nothing is.
set -euo pipefail
cd "$(dirname "$0")/.."

missing=()
for package in $(sed 's/#.*//' .ci/system-packages.txt); do
  status=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)
  [ "$status" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

echo "System packages to install (from .ci/system-packages.txt):"
printf '  %s\n' "${missing[@]}"
root=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || { echo "They need root: run this as root, or install sudo." >&2; exit 1; }
  root=(sudo)
fi
"${root[@]}" apt-get update -qq
"${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
