#!/bin/bash
# Debian's Chromium, for the tests that look at Prefect's UI. It is only installed: each test starts and ends its own.
#
#   tests/live/backends/chromium.sh [start|stop]
. "$(dirname "$0")/common.sh" chromium "${1:-start}"

[ "${1:-start}" != stop ] || exit 0

need chromium fonts-dejavu-core # without a font there is no text in screenshots
echo "export GENERIC_WORKER_TEST_CHROMIUM=$(command -v chromium)" >"$dir/env.sh"
chromium --version
