#!/bin/bash
# The real gcloud, and a fake of Google Cloud on loopback, which plays containers as local processes and faults on request.
# gcloud is Google's own package: it is not among Debian's, and is taken where it is installed.
#
#   tests/live/backends/gcloud.sh [start|stop]
. "$(dirname "$0")/common.sh" gcloud "${1:-start}"

if [ "${1:-start}" = stop ]; then
  end "$dir/pid"
  exit 0
fi

command -v gcloud >/dev/null || need google-cloud-cli
fakes=$(cd "$(dirname "$0")/fakes" && pwd)
port=$(free_ports 1)
answers() { curl -sf "http://127.0.0.1:$port/_/state"; }

need python3 curl openssl
mkdir -p "$dir/config"
[ -s "$dir/key.pem" ] || openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out "$dir/key.pem" 2>/dev/null
echo any >"$dir/token"
running "$dir/pid" || {
  setsid python3 "$fakes/cloud_run_api.py" "$port" >"$dir/log" 2>&1 </dev/null &
  echo $! >"$dir/pid"
}
wait_for 30 answers
cat >"$dir/env.sh" <<CONF
export CLOUDSDK_CONFIG="$dir/config" CLOUDSDK_AUTH_ACCESS_TOKEN_FILE="$dir/token"
export CLOUDSDK_API_ENDPOINT_OVERRIDES_RUN=http://run.test/ CLOUDSDK_API_ENDPOINT_OVERRIDES_LOGGING=http://logging.test/
export CLOUDSDK_PROXY_TYPE=http CLOUDSDK_PROXY_ADDRESS=127.0.0.1 CLOUDSDK_PROXY_PORT=$port
export CLOUDSDK_CORE_PROJECT=p CLOUDSDK_RUN_REGION=europe-west1 CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK=true
export GENERIC_WORKER_TEST_FAKE=http://127.0.0.1:$port GENERIC_WORKER_TEST_KEY="$dir/key.pem"
CONF
gcloud version --format='value("Google Cloud SDK")' | sed 's/^/gcloud /'
