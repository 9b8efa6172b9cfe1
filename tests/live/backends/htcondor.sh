#!/bin/bash
# A real HTCondor: the daemons of a pool of one machine, as root, and jobs as a user of their own, as HTCondor wants it.
# A slot's CPUs and memory are made up. Jobs may read and write whatever root may: the tests' files belong to root.
#
#   tests/live/backends/htcondor.sh [start|stop]       HTCONDOR_TEST_CPUS=32
. "$(dirname "$0")/common.sh" htcondor "${1:-start}"
pid=$dir/run/master.pid

if [ "${1:-start}" = stop ]; then
  ! running "$pid" || kill -QUIT "$(cat "$pid")" # fast: jobs are ended, the queue is kept
  wait_for 60 stopped "$pid" || true
  end "$pid"
  exit 0
fi

. "$(dirname "$0")/debian-13.sh"
# what lets a user of no right read and write root's files: two capabilities, and that access(2) counts them too
as_root=(--securebits=+no_setuid_fixup --inh-caps=+dac_override,+dac_read_search --ambient-caps=+dac_override,+dac_read_search)
for user in condor condor-jobs; do
  id -u $user >/dev/null 2>&1 || useradd --system --user-group --no-create-home --home-dir /nonexistent $user
done
port=$(free_ports 1)
mkdir -p "$dir"/{bin,run,log,lock,spool,execute,cred}
chown condor: "$dir"/{run,log,lock,spool,execute}

cat >"$dir/condor_config" <<CONF
RELEASE_DIR = $debian/usr
BIN = $debian/usr/bin
SBIN = $debian/usr/sbin
LIB = $debian/usr/lib/condor
LIBEXEC = $debian/usr/libexec/condor
SHARE = $debian/usr/share/condor
LOCAL_DIR = $dir
LOG = $dir/log
RUN = $dir/run
LOCK = $dir/lock
SPOOL = $dir/spool
EXECUTE = $dir/execute
ETC = $dir
SEC_PASSWORD_DIRECTORY = $dir/cred
SEC_TOKEN_SYSTEM_DIRECTORY = $dir/cred
LOCAL_CONFIG_DIR =
CONDOR_IDS = $(id -u condor).$(id -g condor)
use security:recommended_v9_0
use ROLE: CentralManager
use ROLE: Submit
use ROLE: Execute
CONDOR_HOST = 127.0.0.1
NETWORK_INTERFACE = 127.0.0.1
BIND_ALL_INTERFACES = False
COLLECTOR_HOST = 127.0.0.1:$port
SHARED_PORT_PORT = $port
DAEMON_SOCKET_DIR = $dir/lock/sockets
UID_DOMAIN = test
FILESYSTEM_DOMAIN = test
TRUST_UID_DOMAIN = True
ALLOW_DAEMON = condor@test
ALLOW_NEGOTIATOR = condor@test
ALLOW_ADMINISTRATOR = root@test, condor@test
ALLOW_WRITE = *
ALLOW_READ = *
NUM_CPUS = ${HTCONDOR_TEST_CPUS:-32}
MEMORY = 64000
MOUNT_UNDER_SCRATCH =
SCHEDD_INTERVAL = 2
PERIODIC_EXPR_INTERVAL = 2
NEGOTIATOR_INTERVAL = 2
NEGOTIATOR_CYCLE_DELAY = 2
NEGOTIATOR_MIN_INTERVAL = 1
STARTER_UPDATE_INTERVAL = 2
SHADOW_QUEUE_UPDATE_INTERVAL = 2
UPDATE_INTERVAL = 2
use POLICY: HOLD_IF_MEMORY_EXCEEDED
RUNBENCHMARKS = 0
CONF

for program in condor_{submit,q,history,rm,hold,release,vacate_job}; do
  printf '#!/bin/sh\nexec setpriv --reuid=condor-jobs --regid=condor-jobs --clear-groups %s "$@"\n' \
    "${as_root[*]} $debian/usr/bin/$program" >"$dir/bin/$program"
  chmod 755 "$dir/bin/$program"
done
settings="export CONDOR_CONFIG=$dir/condor_config PATH=$dir/bin:\$PATH"
eval "$settings"
running "$pid" ||
  setpriv "${as_root[@]}" "$debian/usr/sbin/condor_master" -pidfile "$pid" >"$dir/log/start" 2>&1 </dev/null

machine_is_up() { "$debian/usr/bin/condor_status" -af Cpus | grep -qx "${HTCONDOR_TEST_CPUS:-32}" && condor_q; }

wait_for 180 machine_is_up
echo "$settings" >"$dir/env.sh"
"$debian/usr/bin/condor_version" | sed -n 1p
