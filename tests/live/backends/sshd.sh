#!/bin/bash
# A real OpenSSH server with a host key, a user key and a configuration of its own. What a client needs is in one file:
#   ssh -F "$GENERIC_WORKER_TEST_SSH_CONFIG" testhost COMMAND
#
#   tests/live/backends/sshd.sh [start|stop]
. "$(dirname "$0")/common.sh" sshd "${1:-start}"

if [ "${1:-start}" = stop ]; then
  end "$dir/sshd.pid"
  exit 0
fi

need openssh-server openssh-client
port=$(free_ports 1)
chmod 700 "$dir"
mkdir -p /run/sshd # sshd's own demand
chmod 755 /run/sshd
for key in host_key user_key; do
  [ -s "$dir/$key" ] || ssh-keygen -q -t ed25519 -N '' -C test -f "$dir/$key"
done
install -m 600 "$dir/user_key.pub" "$dir/authorized_keys"
echo "[127.0.0.1]:$port $(cut -d' ' -f1,2 "$dir/host_key.pub")" >"$dir/known_hosts"
cat >"$dir/sshd_config" <<CONF
Port $port
ListenAddress 127.0.0.1
HostKey $dir/host_key
PidFile $dir/sshd.pid
AuthorizedKeysFile $dir/authorized_keys
StrictModes no
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
MaxStartups 200:30:400
MaxSessions 100
CONF
cat >"$dir/ssh_config" <<CONF
Host testhost
  HostName 127.0.0.1
  Port $port
  User $(id -un)
  IdentityFile $dir/user_key
  IdentitiesOnly yes
  UserKnownHostsFile $dir/known_hosts
  StrictHostKeyChecking yes
  BatchMode yes
  ConnectTimeout 60
  LogLevel ERROR
CONF
running "$dir/sshd.pid" || /usr/sbin/sshd -f "$dir/sshd_config" -E "$dir/log"
wait_for 60 ssh -F "$dir/ssh_config" testhost true
echo "export GENERIC_WORKER_TEST_SSH_CONFIG=$dir/ssh_config" >"$dir/env.sh"
ssh -V 2>&1
