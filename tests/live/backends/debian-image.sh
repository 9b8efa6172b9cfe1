#!/bin/bash
# An image of Debian 13 in the dockerd that dockerd.sh starts, for the test of our own Dockerfile: no registry may be at hand,
# so it is made of packages, as Debian's own images are, with the certificates that this machine trusts.
#
#   tests/live/backends/debian-image.sh [start|stop]
. "$(dirname "$0")/common.sh" debian-image "${1:-start}"
. "$(dirname "$0")/debian-packages.sh"
. "$dir/../dockerd/env.sh"
image=generic-worker-debian:13

if [ "${1:-start}" = stop ]; then
  docker image rm --force "$image" >/dev/null 2>&1 || true
  exit 0
fi

if ! docker image inspect "$image" >/dev/null 2>&1; then
  need debootstrap
  rm -rf --one-file-system "$dir/tree"
  debootstrap --variant=minbase trixie "$dir/tree" "$(mirror)" >"$dir/log"
  cp -r /usr/local/share/ca-certificates "$dir/tree/usr/local/share/"
  rm -rf "$dir"/tree/var/cache/apt/archives/*.deb
  tar -C "$dir/tree" --exclude=./proc --exclude=./sys --exclude=./dev -c . | docker import - "$image" >/dev/null
  rm -rf --one-file-system "$dir/tree"
fi
echo "export DOCKER_HOST=$DOCKER_HOST GENERIC_WORKER_TEST_BASE=$image" >"$dir/env.sh"
echo "debian $(docker run --rm "$image" cat /etc/debian_version)"
