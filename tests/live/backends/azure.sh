#!/bin/bash
# The real az, signed in to a fake of Azure on loopback, which plays containers as local processes and faults on request.
#
#   tests/live/backends/azure.sh [start|stop]
. "$(dirname "$0")/common.sh" azure "${1:-start}"

if [ "${1:-start}" = stop ]; then
  end "$dir/pid"
  exit 0
fi

fakes=$(cd "$(dirname "$0")/fakes" && pwd)
port=$(free_ports 1)
answers() { curl -sf --cacert "$dir/ca.pem" "https://localhost:$port/_/state"; }

need python3 python3-venv openssl curl
[ -x "$dir/venv/bin/az" ] || {
  python3 -m venv "$dir/venv"
  "$dir/venv/bin/pip" install -q --disable-pip-version-check "${AZURE_TEST_CLI:-azure-cli==2.91.0}"
}
mkdir -p "$dir/bin"
ln -sfn "$dir/venv/bin/az" "$dir/bin/az"
certify "$dir"
running "$dir/pid" || {
  setsid python3 "$fakes/azure_api.py" "$port" "$dir/server.pem" >"$dir/log" 2>&1 </dev/null &
  echo $! >"$dir/pid"
}
wait_for 120 answers
cat >"$dir/env.sh" <<CONF
export PATH="$dir/bin:\$PATH" AZURE_CONFIG_DIR="$dir/config" REQUESTS_CA_BUNDLE="$dir/ca.pem"
export AZURE_CORE_INSTANCE_DISCOVERY=false AZURE_CORE_COLLECT_TELEMETRY=false
export GENERIC_WORKER_TEST_FAKE=https://localhost:$port GENERIC_WORKER_TEST_FAKE_CA="$dir/ca.pem"
CONF
. "$dir/env.sh"
[ -s "$dir/config/azureProfile.json" ] || {
  az cloud register --name fake --endpoint-resource-manager "https://localhost:$port"
  az cloud set --name fake
  az login --service-principal --username 11111111-2222-4333-8444-555555555555 --password right \
    --tenant 9e8d7c6b-5a49-4838-a726-150413020100 --output none
}
az version --query '"azure-cli"' --output tsv | sed 's/^/azure-cli /'
