#!/bin/bash
# A real dockerd on a socket of its own, without a registry: its one image, `hostfs`, has empty folders to mount the host's
# programs on, which $HOSTFS does:   docker run --network host $HOSTFS hostfs COMMAND
#
#   tests/live/backends/dockerd.sh [start|stop]
. "$(dirname "$0")/common.sh" dockerd "${1:-start}"
export DOCKER_HOST=unix://$dir/socket

if [ "${1:-start}" = stop ]; then
  if running "$dir/pid"; then
    docker ps --quiet --all | xargs --no-run-if-empty docker rm --force --volumes >/dev/null || true
  fi
  end "$dir/pid"
  ! mountpoint -q "$dir/exec/netns/default" || umount "$dir/exec/netns/default" # dockerd leaves it, and then nobody can remove the folder
  exit 0
fi

need docker.io containerd runc busybox-static
if ! running "$dir/pid"; then
  setsid dockerd --iptables=false --ip6tables=false --bridge=none --storage-driver=vfs --data-root "$dir/data" \
    --exec-root "$dir/exec" --pidfile "$dir/pid" -H "$DOCKER_HOST" >"$dir/log" 2>&1 </dev/null &
fi
wait_for 120 docker version
if ! docker image inspect hostfs >/dev/null 2>&1; then
  mkdir -p "$dir"/root/{bin,dev,etc,home,lib,lib64,opt,proc,root,run,srv,sys,tmp,usr,var}
  cp /bin/busybox "$dir/root/bin/sh"
  tar -C "$dir/root" -c . | docker import - hostfs:latest >/dev/null
fi
{
  echo "export DOCKER_HOST=$DOCKER_HOST"
  printf 'export HOSTFS="'
  printf -- '-v %s:%s:ro ' /usr /usr /lib /lib /lib64 /lib64 /bin /bin /etc /etc
  printf '"\n'
} >"$dir/env.sh"
docker version --format 'docker {{.Server.Version}}'
