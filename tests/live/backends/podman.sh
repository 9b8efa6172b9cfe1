#!/bin/bash
# A real podman, which has no daemon, with images and containers of its own and the image `localhost/busybox`.
# It runs where cgroups are not podman's to manage and limits cannot be raised: runc, cgroupfs, the limits as they are.
#
#   tests/live/backends/podman.sh [start|stop]
. "$(dirname "$0")/common.sh" podman "${1:-start}"
export CONTAINERS_CONF=$dir/containers.conf CONTAINERS_STORAGE_CONF=$dir/storage.conf
image=localhost/busybox:latest

if [ "${1:-start}" = stop ]; then
  [ ! -e "$CONTAINERS_CONF" ] || podman rm --all --force --time 0 >/dev/null
  exit 0
fi

need podman runc conmon busybox-static
cat >"$CONTAINERS_CONF" <<CONF
[containers]
default_ulimits = ["nofile=$(ulimit -Sn):$(ulimit -Sn)", "nproc=32768:32768"]
netns = "host"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
CONF
cat >"$CONTAINERS_STORAGE_CONF" <<CONF
[storage]
driver = "vfs"
graphroot = "$dir/storage"
runroot = "$dir/run"
CONF
if ! podman image exists $image; then
  mkdir -p "$dir"/root/{bin,dev,etc,proc,root,sys,tmp}
  cp /bin/busybox "$dir/root/bin/"
  for applet in $(/bin/busybox --list); do
    [ "$applet" = busybox ] || ln -sf busybox "$dir/root/bin/$applet"
  done
  echo 'root:x:0:0:root:/root:/bin/sh' >"$dir/root/etc/passwd"
  tar -C "$dir/root" -c . | podman import --quiet --change ENV=PATH=/usr/local/bin:/bin - $image >/dev/null
fi
podman run --rm $image true
echo "export CONTAINERS_CONF=$CONTAINERS_CONF CONTAINERS_STORAGE_CONF=$CONTAINERS_STORAGE_CONF" >"$dir/env.sh"
podman --version
