#!/bin/bash
# The real kubectl, that of Debian 13, and a fake of the Kubernetes API on loopback, which plays pods as local processes and
# faults on request. It holds manifests to the published schema of Kubernetes.
#
#   tests/live/backends/kubernetes.sh [start|stop]
. "$(dirname "$0")/common.sh" kubernetes "${1:-start}"

if [ "${1:-start}" = stop ]; then
  end "$dir/pid"
  exit 0
fi

. "$(dirname "$0")/debian-13.sh"
fakes=$(cd "$(dirname "$0")/fakes" && pwd)
port=$(free_ports 1)
answers() { curl -sf --cacert "$dir/ca.pem" "https://localhost:$port/_/state"; }

need python3 python3-venv openssl curl
certify "$dir"
[ -e "$dir/venv/lib" ] || {
  python3 -m venv "$dir/venv"
  "$dir/venv/bin/pip" install -q --disable-pip-version-check "${KUBERNETES_TEST_SCHEMA:-kubernetes-validate==1.37.0}"
}
mkdir -p "$dir/bin" "$dir/home"
ln -sfn "$debian/usr/bin/kubectl" "$dir/bin/kubectl"
running "$dir/pid" || {
  setsid "$dir/venv/bin/python" "$fakes/kubernetes_api.py" "$port" "$dir/server.pem" >"$dir/log" 2>&1 </dev/null &
  echo $! >"$dir/pid"
}
wait_for 120 answers
cat >"$dir/kubeconfig" <<CONF
{"apiVersion": "v1", "kind": "Config", "current-context": "tests", "users": [{"name": "tests", "user": {"token": "right"}}],
 "clusters": [{"name": "tests", "cluster": {
   "server": "https://localhost:$port", "certificate-authority-data": "$(base64 -w 0 "$dir/ca.pem")"}}],
 "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": "tests", "namespace": "flows"}}]}
CONF
cat >"$dir/env.sh" <<CONF
export PATH="$dir/bin:\$PATH" HOME="$dir/home" KUBECONFIG="$dir/kubeconfig"
export GENERIC_WORKER_TEST_FAKE=https://localhost:$port GENERIC_WORKER_TEST_FAKE_CA="$dir/ca.pem"
CONF
"$dir/bin/kubectl" version --client | sed -n 1p
