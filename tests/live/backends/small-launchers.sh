#!/bin/bash
# What the recipes in recipes/examples launch jobs with: at and its daemon, tmux with a server of its own, and curl.
#
#   tests/live/backends/small-launchers.sh [start|stop]
. "$(dirname "$0")/common.sh" small-launchers "${1:-start}"
export TMUX_TMPDIR=$dir
pid=/run/atd.pid # where atd notes itself

if [ "${1:-start}" = stop ]; then
  [ ! -e "$dir/started" ] || end "$pid"
  rm -f "$dir/started"
  tmux -L generic-worker kill-server 2>/dev/null || true
  exit 0
fi

need at tmux curl
if ! running "$pid"; then
  atd
  touch "$dir/started"
fi
wait_for 60 running "$pid"
echo "export TMUX_TMPDIR=$TMUX_TMPDIR" >"$dir/env.sh"
tmux -V
