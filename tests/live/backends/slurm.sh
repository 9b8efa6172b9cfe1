#!/bin/bash
# A real Slurm on one Debian host, as root and without systemd: munge, slurmctld, two slurmd; and, unless
# SLURM_TEST_DBD=0, accounting with slurmdbd and a MariaDB of its own.
# All of it is in $SLURM_TEST_DIR, with a munge key, ports and a slurm.conf of its own, so that it can run beside another.
# It may be run again: what is up stays up. SLURM_TEST_PORT and the four ports after it are used, on loopback.
#
#   tests/live/backends/slurm.sh              start; then: . "$SLURM_TEST_DIR/env.sh"
#   tests/live/backends/slurm.sh stop         stop
set -euo pipefail
D=${SLURM_TEST_DIR:-/tmp/slurm-test}; P=${SLURM_TEST_PORT:-26817}; DBD=${SLURM_TEST_DBD:-1}; MINJOBAGE=${SLURM_TEST_MINJOBAGE:-300}
CPUS=${SLURM_TEST_CPUS:-32}
alive() { local p; p=$(cat "$1" 2>/dev/null) && [ -n "$p" ] && kill -0 "$p" 2>/dev/null; }
if [ "${1:-start}" = stop ]; then
  for f in slurmd-n1 slurmd-n2 slurmctld slurmdbd mariadbd munged; do
    if alive $D/run/$f.pid; then p=$(cat $D/run/$f.pid); kill "$p"; for i in $(seq 200); do kill -0 "$p" 2>/dev/null || break; sleep 0.1; done; fi
    rm -f $D/run/$f.pid
  done; exit 0
fi
need="slurmctld slurmd slurm-client slurm-wlm-basic-plugins munge"; [ $DBD = 1 ] && need="$need slurmdbd mariadb-server"
missing=$(for p in $need; do dpkg-query -W -f '${Status}' $p 2>/dev/null | grep -q 'ok installed' || echo $p; done)
if [ -n "$missing" ]; then
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=300 $missing >/dev/null
fi
H=$(hostname -s)
mkdir -p $D/run $D/log $D/state $D/spool-n1 $D/spool-n2 $D/munge
chmod 755 $D; chown munge: $D/munge; chown slurm: $D/run $D/log $D/state; chmod 755 $D/run $D/munge
# --- munge: own key and socket
[ -s $D/munge/munge.key ] || head -c 1024 /dev/urandom > $D/munge/munge.key
chown munge: $D/munge/munge.key; chmod 400 $D/munge/munge.key
touch $D/log/munged.log; chown munge: $D/log/munged.log
alive $D/run/munged.pid || { rm -f $D/munge/munge.pid $D/munge/*.lock; setpriv --reuid=munge --regid=munge --init-groups \
  munged --force --socket=$D/munge/munge.socket --key-file=$D/munge/munge.key --pid-file=$D/munge/munge.pid \
         --log-file=$D/munge/munged.log --seed-file=$D/munge/munged.seed >/dev/null 2>&1
  for i in $(seq 50); do [ -s $D/munge/munge.pid ] && break; sleep 0.1; done; cp $D/munge/munge.pid $D/run/munged.pid; }
# --- configuration
acct="AccountingStorageType=accounting_storage/none"
[ $DBD = 1 ] && acct="AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort=$((P+3))
AccountingStoragePass=$D/munge/munge.socket
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=2"
cat > $D/slurm.conf <<C
ClusterName=test
SlurmctldHost=$H(127.0.0.1)
SlurmUser=slurm
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket=$D/munge/munge.socket
SlurmctldPort=$P
StateSaveLocation=$D/state
SlurmdSpoolDir=$D/spool-%n
SlurmctldPidFile=$D/run/slurmctld.pid
SlurmdPidFile=$D/run/slurmd-%n.pid
SlurmctldLogFile=$D/log/slurmctld.log
SlurmdLogFile=$D/log/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_min_interval=100000,bf_interval=2
ReturnToService=2
MinJobAge=$MINJOBAGE
KillWait=2
OverTimeLimit=0
SlurmdParameters=config_overrides
JobCompType=jobcomp/filetxt
JobCompLoc=$D/log/jobcomp.log
$acct
NodeName=n1 NodeHostname=$H NodeAddr=127.0.0.1 Port=$((P+1)) CPUs=$CPUS RealMemory=4000 State=UNKNOWN
NodeName=n2 NodeHostname=$H NodeAddr=127.0.0.1 Port=$((P+2)) CPUs=$CPUS RealMemory=4000 State=UNKNOWN
PartitionName=debug Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
PartitionName=small Nodes=n1 MaxTime=2 State=UP
C
printf 'export SLURM_CONF=%s/slurm.conf\n' $D > $D/env.sh; export SLURM_CONF=$D/slurm.conf
[ -f /etc/slurm/cgroup.conf ] || true   # no cgroups used
# --- accounting: private mariadb over a unix socket, then slurmdbd
if [ $DBD = 1 ]; then
  mkdir -p $D/db; chown mysql: $D/db
  [ -d $D/db/mysql ] || mariadb-install-db --no-defaults --user=mysql --datadir=$D/db --auth-root-authentication-method=socket --skip-test-db >$D/log/mariadb-install.log 2>&1
  alive $D/run/mariadbd.pid || { rm -f $D/db/m.sock; setsid mariadbd --no-defaults --user=mysql --datadir=$D/db --socket=$D/db/m.sock --skip-networking \
      --pid-file=$D/db/mariadbd.pid --innodb-buffer-pool-size=128M --innodb-flush-log-at-trx-commit=0 --innodb-lock-wait-timeout=900 >$D/log/mariadbd.log 2>&1 </dev/null & }
  for i in $(seq 150); do mariadb-admin --no-defaults -S $D/db/m.sock ping >/dev/null 2>&1 && break; sleep 0.2; done
  cp $D/db/mariadbd.pid $D/run/mariadbd.pid
  mariadb --no-defaults -S $D/db/m.sock -e "create database if not exists slurm_acct_db; create user if not exists slurm@localhost identified via unix_socket; grant all on slurm_acct_db.* to slurm@localhost;"
  cat > $D/slurmdbd.conf <<C
AuthType=auth/munge
AuthInfo=socket=$D/munge/munge.socket
DbdHost=localhost
DbdPort=$((P+3))
SlurmUser=slurm
LogFile=$D/log/slurmdbd.log
PidFile=$D/run/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=slurm
StorageLoc=slurm_acct_db
C
  chown slurm: $D/slurmdbd.conf; chmod 600 $D/slurmdbd.conf; chmod 711 $D/db
  export MYSQL_UNIX_PORT=$D/db/m.sock          # libmariadb takes the socket path from here (slurmdbd.conf has no key for it)
  alive $D/run/slurmdbd.pid || (cd $D && setpriv --reuid=slurm --regid=slurm --init-groups slurmdbd)
  for i in $(seq 100); do sacctmgr -n -P show cluster >/dev/null 2>&1 && break; sleep 0.2; done
  sacctmgr -n -P show cluster format=cluster 2>/dev/null | grep -qx test || sacctmgr -i add cluster test >/dev/null
fi
# --- controller and two compute daemons on this one host
alive $D/run/slurmctld.pid || slurmctld
for n in n1 n2; do alive $D/run/slurmd-$n.pid || slurmd -N $n; done
for i in $(seq 150); do [ "$(sinfo -h -N -p debug -o %t 2>/dev/null | grep -cE '^(idle|mix|alloc)$')" = 2 ] && break; sleep 0.2; done
sinfo -N -p debug -o '%N %t'; [ "$(sinfo -h -N -p debug -o %t | grep -cE '^(idle|mix|alloc)$')" = 2 ]
