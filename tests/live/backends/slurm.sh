#!/bin/bash
# A real Slurm: munge, slurmctld, two slurmd; and accounting, with slurmdbd and a MariaDB, unless SLURM_TEST_DBD=0.
# It has a munge key, ports and a slurm.conf of its own, so that it can run beside another.
# It is the host's, or that of Debian 13: then it is called slurm-24.11.
#
#   tests/live/backends/slurm.sh [start|stop]       SLURM_TEST_DBD=1  SLURM_TEST_MINJOBAGE=300  SLURM_TEST_CPUS=32
#   tests/live/backends/slurm-24.11.sh [start|stop]
. "$(dirname "$0")/common.sh" "$(basename "$0" .sh)" "${1:-start}"
newer=$([ "$(basename "$0")" = slurm.sh ] || echo yes)
accounting=${SLURM_TEST_DBD:-1}
database="$dir/db/mariadbd.sock"

if [ "${1:-start}" = stop ]; then
  for daemon in slurmd-n1 slurmd-n2 slurmctld slurmdbd mariadbd munged; do
    end "$dir/run/$daemon.pid"
  done
  exit 0
fi

as() { # as USER COMMAND...
  setpriv --reuid="$1" --regid="$1" --init-groups "${@:2}"
}

start_munge() {
  mkdir -p "$dir/munge"
  [ -s "$dir/munge/key" ] || head -c 1024 /dev/urandom >"$dir/munge/key"
  chown -R munge: "$dir/munge"
  chmod 400 "$dir/munge/key"
  ! running "$dir/run/munged.pid" || return 0
  rm -f "$dir/munge/pid" "$dir"/munge/*.lock
  as munge munged --force --socket="$dir/munge/socket" --key-file="$dir/munge/key" --pid-file="$dir/munge/pid" \
    --log-file="$dir/munge/log" --seed-file="$dir/munge/seed" 2>/dev/null
  wait_for 60 test -s "$dir/munge/pid"
  cp "$dir/munge/pid" "$dir/run/munged.pid"
}

write_configuration() {
  # slurmd listens on the address of the host's name, or everywhere: the nodes' addresses are loopback
  local listen=NoCtldInAddrAny
  ! getent ahostsv4 "$host" | sed -n 1p | grep -q '^127\.0\.0\.1 ' || listen=$listen,NoInAddrAny
  local storage="AccountingStorageType=accounting_storage/none"
  if [ "$accounting" = 1 ]; then
    storage="AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort=$((port + 3))
AccountingStoragePass=$dir/munge/socket
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=2"
  fi
  cat >"$dir/slurm.conf" <<CONF
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmUser=slurm
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket=$dir/munge/socket
CommunicationParameters=$listen
SlurmctldPort=$port
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool-%n
SlurmctldPidFile=$dir/run/slurmctld.pid
SlurmdPidFile=$dir/run/slurmd-%n.pid
SlurmctldLogFile=$dir/log/slurmctld.log
SlurmdLogFile=$dir/log/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_min_interval=100000,bf_interval=2
ReturnToService=2
MinJobAge=${SLURM_TEST_MINJOBAGE:-300}
KillWait=5
OverTimeLimit=0
SlurmdParameters=config_overrides
JobCompType=jobcomp/filetxt
JobCompLoc=$dir/log/jobcomp.log
$storage
${newer:+PluginDir=$libraries/slurm-wlm}
NodeName=n1 NodeHostname=$host NodeAddr=127.0.0.1 Port=$((port + 1)) CPUs=${SLURM_TEST_CPUS:-32} RealMemory=4000 State=UNKNOWN
NodeName=n2 NodeHostname=$host NodeAddr=127.0.0.1 Port=$((port + 2)) CPUs=${SLURM_TEST_CPUS:-32} RealMemory=4000 State=UNKNOWN
PartitionName=debug Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
PartitionName=small Nodes=n1 MaxTime=2 State=UP
CONF
  [ -z "$newer" ] || echo CgroupPlugin=disabled >"$dir/cgroup.conf"
}

sql() { mariadb --no-defaults -S "$database" -e "$1"; }

start_database() {
  mkdir -p "$dir/db"
  chown mysql: "$dir/db"
  [ -d "$dir/db/mysql" ] || mariadb-install-db --no-defaults --user=mysql --datadir="$dir/db" \
    --auth-root-authentication-method=socket --skip-test-db >"$dir/log/mariadb-install.log" 2>&1
  chmod 711 "$dir/db"
  ! running "$dir/run/mariadbd.pid" || return 0
  rm -f "$database"
  setsid mariadbd --no-defaults --user=mysql --datadir="$dir/db" --socket="$database" --skip-networking \
    --pid-file="$dir/db/pid" --innodb-buffer-pool-size=128M --innodb-flush-log-at-trx-commit=0 \
    --innodb-lock-wait-timeout=900 >"$dir/log/mariadbd.log" 2>&1 </dev/null &
  wait_for 180 sql 'select 1'
  cp "$dir/db/pid" "$dir/run/mariadbd.pid"
  sql "create database if not exists slurm_acct_db;
    create user if not exists slurm@localhost identified via unix_socket;
    grant all on slurm_acct_db.* to slurm@localhost;"
}

start_accounting() {
  start_database
  cat >"$dir/slurmdbd.conf" <<CONF
AuthType=auth/munge
AuthInfo=socket=$dir/munge/socket
DbdHost=localhost
DbdPort=$((port + 3))
SlurmUser=slurm
LogFile=$dir/log/slurmdbd.log
PidFile=$dir/run/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=slurm
StorageLoc=slurm_acct_db
${newer:+PluginDir=$libraries/slurm-wlm}
CONF
  chown slurm: "$dir/slurmdbd.conf"
  chmod 600 "$dir/slurmdbd.conf"
  # slurmdbd.conf has no word for a socket's path: libmariadb takes it from here
  running "$dir/run/slurmdbd.pid" || (cd "$dir" && MYSQL_UNIX_PORT=$database as slurm slurmdbd)
  wait_for 180 sacctmgr -n -P show cluster
  sacctmgr -n -P show cluster format=cluster | grep -qx test || sacctmgr -i add cluster test >/dev/null
}

both_nodes_are_up() { [ "$(sinfo -h -N -p debug -o %t | grep -cE '^(idle|mix|alloc)$')" = 2 ]; }

[ "$accounting" != 1 ] || need mariadb-server
settings=
if [ "$newer" ]; then
  . "$(dirname "$0")/debian-13.sh"
  for user in slurm munge; do
    id -u $user >/dev/null 2>&1 || useradd --system --user-group --no-create-home --home-dir /nonexistent $user
  done
  mkdir -p "$dir/bin"
  ln -sf "$debian"/usr/bin/s{acct,acctmgr,batch,cancel,control,info,queue,run} "$debian"/usr/sbin/{slurm,munge}* "$dir/bin"
  settings="export PATH=$dir/bin:\$PATH; "
else
  need slurmctld slurmd slurm-client slurm-wlm-basic-plugins munge
  [ "$accounting" != 1 ] || need slurmdbd
fi
settings="${settings}export SLURM_CONF=$dir/slurm.conf"
host=$(hostname -s)
port=$(free_ports 4)
mkdir -p "$dir"/{run,log,state,spool-n1,spool-n2}
chown slurm: "$dir"/{run,log,state}
eval "$settings"
start_munge
write_configuration
[ "$accounting" != 1 ] || start_accounting
running "$dir/run/slurmctld.pid" || slurmctld
for node in n1 n2; do
  running "$dir/run/slurmd-$node.pid" || slurmd -N "$node" ${newer:+-d "$debian/usr/sbin/slurmstepd"}
done
wait_for 180 both_nodes_are_up
echo "$settings" >"$dir/env.sh"
sinfo --version
