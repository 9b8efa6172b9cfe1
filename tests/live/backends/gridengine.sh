#!/bin/bash
# A real (Son of) Grid Engine: sge_qmaster and sge_execd, queue all.q, with an SGE_ROOT and ports of its own.
# Its daemons cannot be told to listen on loopback only.
#
#   tests/live/backends/gridengine.sh [start|stop]       SGE_TEST_SLOTS=32
. "$(dirname "$0")/common.sh" gridengine "${1:-start}"
share=/usr/share/gridengine
tools=/usr/lib/gridengine
qmaster=$dir/spool/qmaster/qmaster.pid

execd() { # the folder is called what 127.0.0.1 resolves to
  local found=("$dir"/spool/execd/*/execd.pid)
  echo "${found[0]}"
}

if [ "${1:-start}" = stop ]; then
  end "$(execd)"
  end "$qmaster"
  exit 0
fi

dpkg-query -W -f '${Status}' gridengine-master 2>/dev/null | grep -q 'ok installed' ||
  echo 'gridengine-master shared/gridengineconfig boolean false' | debconf-set-selections # no cell of the host's
need gridengine-master gridengine-exec gridengine-client

host=$(hostname)
port=$(free_ports 2)
mkdir -p "$dir"/default/common "$dir"/spool/{qmaster/job_scripts,database,execd} "$dir"/{bin,utilbin,lib}
for folder in bin utilbin lib; do
  ln -sfn $tools "$dir/$folder/lx-amd64"
done
ln -sfn $share/util "$dir/util"
cat >"$dir/default/common/bootstrap" <<CONF
admin_user              sgeadmin
default_domain          none
ignore_fqdn             false
spooling_method         berkeleydb
spooling_lib            libspoolb
spooling_params         $dir/spool/database
binary_path             /usr/sbin
qmaster_spool_dir       $dir/spool/qmaster
security_mode           none
listener_threads        2
worker_threads          2
scheduler_threads       1
CONF
echo "$host" >"$dir/default/common/act_qmaster"
[ "$host" = localhost ] || echo "$host localhost" >"$dir/default/common/host_aliases" # 127.0.0.1 may be called localhost
chown -R sgeadmin: "$dir/default" "$dir/spool"
settings="export SGE_ROOT=$dir SGE_CELL=default SGE_QMASTER_PORT=$port SGE_EXECD_PORT=$((port + 1)) SGE_SINGLE_LINE=1"
eval "$settings"

change() { sed -E "$(printf 's|^(%s) .*|\\1 %s|;' "$@")"; } # change KEY VALUE [KEY VALUE]...

fill_database() {
  # root may submit; load and accounts are told at once
  change execd_spool_dir "$dir/spool/execd" min_uid 0 min_gid 0 shell_start_mode unix_behavior load_report_time 00:00:02 \
    max_unheard 00:00:30 finished_jobs 1000 <$share/default-configuration |
    sed 's/flush_time=00:00:15/flush_time=00:00:01/' >"$dir/configuration"
  local as_admin=(setpriv --reuid=sgeadmin --regid=sgeadmin --init-groups)
  "${as_admin[@]}" $tools/spoolinit berkeleydb libspoolb "$dir/spool/database" init
  "${as_admin[@]}" $tools/spooldefaults configuration "$dir/configuration"
  "${as_admin[@]}" $tools/spooldefaults complexes $share/util/resources/centry
  "${as_admin[@]}" $tools/spooldefaults usersets $share/util/resources/usersets
  "${as_admin[@]}" $tools/spooldefaults managers sgeadmin
  "${as_admin[@]}" $tools/spooldefaults managers root
}

add_queue() {
  printf 'group_name @allhosts\nhostlist %s\n' "$host" >"$dir/hosts"
  qconf -Ahgrp "$dir/hosts"
  qconf -sq | change qname all.q hostlist @allhosts slots "${SGE_TEST_SLOTS:-32}" load_thresholds NONE shell /bin/sh \
    shell_start_mode unix_behavior notify 00:00:02 pe_list NONE >"$dir/queue"
  qconf -Aq "$dir/queue"
  qconf -ssconf | change schedule_interval 0:0:1 flush_submit_sec 1 flush_finish_sec 1 >"$dir/scheduler"
  qconf -Msconf "$dir/scheduler"
}

queue_is_up() { qstat -f | grep -qE '^all\.q@.* [0-9.]+ +lx-amd64 *$'; }

execd_is_up() { running "$(execd)"; } # its pid file comes a little after its start

[ -e "$dir/spool/database/sge" ] || fill_database >"$dir/log" 2>&1
running "$qmaster" || sge_qmaster </dev/null >>"$dir/log" 2>&1
wait_for 120 qconf -sh
qconf -sh | grep -qx "$host" || qconf -ah "$host" >/dev/null
qconf -ss 2>/dev/null | grep -qx "$host" || qconf -as "$host" >/dev/null
qconf -sql 2>/dev/null | grep -qx all.q || add_queue >>"$dir/log" 2>&1
execd_is_up || sge_execd </dev/null >>"$dir/log" 2>&1
wait_for 120 queue_is_up
wait_for 60 execd_is_up
echo "$settings" >"$dir/env.sh"
qstat -help | sed -n 1p
