#!/bin/bash
# A real `systemd --user` manager where PID 1 is not systemd. It insists on /run/systemd/system and a cgroup2 tree: it gets
# them in a mount namespace of its own. Its sockets are in the folder, where clients outside can reach them.
#
#   tests/live/backends/systemd-user.sh [start|stop]
. "$(dirname "$0")/common.sh" systemd-user "${1:-start}"

if [ "${1:-start}" = stop ]; then
  end "$dir/pid" # a user manager that gets TERM stops its units first
  exit 0
fi

need systemd dbus util-linux
mkdir -p "$dir"/{home,run,units}
chmod 700 "$dir/run"
printf '[Unit]\nDescription=The manager and its bus\nRequires=dbus.socket\nAfter=dbus.socket\n' >"$dir/units/only.target"
printf '[Socket]\nListenStream=%%t/bus\n' >"$dir/units/dbus.socket"
cat >"$dir/units/dbus.service" <<CONF
[Unit]
Requires=dbus.socket
[Service]
Type=notify
NotifyAccess=main
ExecStart=/usr/bin/dbus-daemon --session --address=systemd: --nofork --nopidfile --systemd-activation --syslog-only
Slice=session.slice
CONF
cat >"$dir/inside.sh" <<CONF
set -e
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/system /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir -p /sys/fs/cgroup/generic-worker-test
echo \$\$ >/sys/fs/cgroup/generic-worker-test/cgroup.procs
unset XDG_CONFIG_HOME XDG_DATA_HOME
export HOME=$dir/home XDG_RUNTIME_DIR=$dir/run DBUS_SESSION_BUS_ADDRESS=unix:path=$dir/run/bus
export SYSTEMD_UNIT_PATH=$dir/units:/usr/lib/systemd/user
echo \$\$ >$dir/pid
exec /lib/systemd/systemd --user --unit=only.target --log-target=console --log-level=notice
CONF
running "$dir/pid" || {
  rm -rf "$dir/run/systemd"
  setsid unshare -m --propagation private bash "$dir/inside.sh" >"$dir/log" 2>&1 </dev/null &
}
settings="export XDG_RUNTIME_DIR=$dir/run DBUS_SESSION_BUS_ADDRESS=unix:path=$dir/run/bus"
eval "$settings"
wait_for 120 systemctl --user show -p Version
echo "$settings" >"$dir/env.sh"
systemctl --user show -p Version
