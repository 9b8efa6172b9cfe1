#!/bin/bash
# A real task-spooler with a queue of its own, four jobs at a time.
#
#   tests/live/backends/task-spooler.sh [start|stop]
. "$(dirname "$0")/common.sh" task-spooler "${1:-start}"
export TS_SOCKET=$dir/socket TS_SLOTS=4 TS_MAXFINISHED=10000 TMPDIR=$dir

if [ "${1:-start}" = stop ]; then
  [ ! -S "$TS_SOCKET" ] || tsp -K
  rm -f "$TS_SOCKET"
  exit 0
fi

need task-spooler
tsp -S "$TS_SLOTS" </dev/null >"$dir/log" 2>&1 # the first call of tsp starts its server
wait_for 60 tsp -S
echo "export TS_SOCKET=$TS_SOCKET TS_SLOTS=$TS_SLOTS TS_MAXFINISHED=$TS_MAXFINISHED TMPDIR=$TMPDIR" >"$dir/env.sh"
tsp -V | sed -n 1p
