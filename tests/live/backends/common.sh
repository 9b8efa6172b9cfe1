# What the start scripts share. They source it: `. common.sh NAME start|stop`.
#
# Each script installs what is missing, starts its service for root on a Debian host without systemd, on loopback and in the
# folder $GENERIC_WORKER_TEST_BACKENDS/NAME, and writes there an `env.sh` with all that a client needs. Run again it starts
# only what is down; `stop` ends what it started, and nothing else.
set -euo pipefail
umask 022

dir=${GENERIC_WORKER_TEST_BACKENDS:-/tmp/generic-worker-backends}/$1
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
[ "$2" != stop ] || rm -f "$dir/env.sh" # it says that the service can be used

need() { # need PACKAGE...: install those that are missing
  local package missing=()
  for package; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=300 "${missing[@]}" >/dev/null
}

wait_for() { # wait_for SECONDS COMMAND...: until it succeeds; fail when it does not in time
  local end=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $end ] || { echo "not in time: $*" >&2; return 1; }
    sleep 0.1
  done
}

running() { # running PID_FILE
  local pid
  pid=$(cat "$1" 2>/dev/null) && [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null &&
    ! grep -qs '^State:.Z' "/proc/$pid/status" # it has ended, and nobody has asked how
}

stopped() { ! running "$1"; }

end() { # end PID_FILE: TERM, and KILL when that does not help in time
  if running "$1"; then
    kill "$(cat "$1")"
    wait_for 60 stopped "$1" || { kill -KILL "$(cat "$1")" && wait_for 60 stopped "$1"; } || true
  fi
  rm -f "$1"
}

free_ports() { # free_ports COUNT: the first of so many free ports in a row; the same ones at every start
  local first port
  while [ ! -s "$dir/port" ]; do
    first=$((20000 + RANDOM % 12000))
    for ((port = first; port < first + $1; port++)); do
      ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || continue 2
    done
    echo "$first" >"$dir/port"
  done
  cat "$dir/port"
}

certify() { # certify FOLDER: in it a certificate for localhost with its key, server.pem, and the authority's, ca.pem
  [ ! -s "$1/server.pem" ] || return 0
  openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj '/CN=an authority of the tests' \
    -keyout "$1/ca.key" -out "$1/ca.pem" 2>/dev/null
  openssl req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout "$1/server.key" -out "$1/server.csr" 2>/dev/null
  openssl x509 -req -in "$1/server.csr" -CA "$1/ca.pem" -CAkey "$1/ca.key" -CAcreateserial -days 3650 \
    -extfile <(echo 'subjectAltName=DNS:localhost') -out "$1/server.crt" 2>/dev/null
  cat "$1/server.crt" "$1/server.key" >"$1/server.pem"
}
