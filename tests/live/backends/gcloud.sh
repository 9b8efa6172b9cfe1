#!/bin/bash
# The real gcloud, and a fake of Google Cloud on loopback, which plays containers as local processes and faults on request.
# gcloud is Google's own package, in no registry of Debian, PyPI or npm: it is taken where it is installed, unless
# GCLOUD_TEST_STAND_IN=1. Elsewhere a stand-in does what gcloud did when it was recorded.
#
#   tests/live/backends/gcloud.sh [start|stop]
. "$(dirname "$0")/common.sh" gcloud "${1:-start}"

if [ "${1:-start}" = stop ]; then
  end "$dir/pid"
  exit 0
fi

fakes=$(cd "$(dirname "$0")/fakes" && pwd)
port=$(free_ports 1)
answers() { curl -sf "http://127.0.0.1:$port/_/state"; }

need python3 curl openssl
mkdir -p "$dir/config" "$dir/bin"
if [ "${GCLOUD_TEST_STAND_IN:-}" = 1 ] || ! command -v gcloud >/dev/null; then
  ln -sfn "$fakes/gcloud" "$dir/bin/gcloud"
else
  rm -f "$dir/bin/gcloud"
fi
[ -s "$dir/key.pem" ] || openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out "$dir/key.pem" 2>/dev/null
echo any >"$dir/token"
running "$dir/pid" || {
  setsid python3 "$fakes/cloud_run_api.py" "$port" >"$dir/log" 2>&1 </dev/null &
  echo $! >"$dir/pid"
}
wait_for 120 answers
cat >"$dir/env.sh" <<CONF
export PATH="$dir/bin:\$PATH" CLOUDSDK_CONFIG="$dir/config" CLOUDSDK_AUTH_ACCESS_TOKEN_FILE="$dir/token"
export CLOUDSDK_API_ENDPOINT_OVERRIDES_RUN=http://run.test/ CLOUDSDK_API_ENDPOINT_OVERRIDES_LOGGING=http://logging.test/
export CLOUDSDK_PROXY_TYPE=http CLOUDSDK_PROXY_ADDRESS=127.0.0.1 CLOUDSDK_PROXY_PORT=$port
export CLOUDSDK_CORE_PROJECT=p CLOUDSDK_RUN_REGION=europe-west1 CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK=true
export GENERIC_WORKER_TEST_FAKE=http://127.0.0.1:$port GENERIC_WORKER_TEST_KEY="$dir/key.pem"
CONF
. "$dir/env.sh"
gcloud version --format='value("Google Cloud SDK")' | sed 's/^/gcloud /'
