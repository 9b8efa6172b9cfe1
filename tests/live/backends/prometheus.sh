#!/bin/bash
# Debian's Prometheus, for the test of the alert rules and the dashboard. It is only installed: the test starts and ends its own.
#
#   tests/live/backends/prometheus.sh [start|stop]
. "$(dirname "$0")/common.sh" prometheus "${1:-start}"

[ "${1:-start}" != stop ] || exit 0

need prometheus
echo "export GENERIC_WORKER_TEST_PROMETHEUS=$(command -v prometheus)" >"$dir/env.sh"
prometheus --version 2>&1 | sed -n 1p
