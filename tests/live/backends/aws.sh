#!/bin/bash
# The real AWS CLI, and a fake of ECS, Batch and CloudWatch Logs on loopback, which plays containers as local processes and
# faults on request; moto, beside it, plays more of AWS and no faults. `bin` has the CLI's first generation, `second` Debian 13's
# of the second, and `old` Debian 12's.
#
#   tests/live/backends/aws.sh [start|stop]
. "$(dirname "$0")/common.sh" aws "${1:-start}"

if [ "${1:-start}" = stop ]; then
  end "$dir/pid"
  exit 0
fi

. "$(dirname "$0")/debian-13.sh"
fakes=$(cd "$(dirname "$0")/fakes" && pwd)
port=$(free_ports 1)
answers() { curl -sf "http://127.0.0.1:$port/_/state"; }

need python3 python3-venv curl awscli
[ -x "$dir/venv/bin/aws" ] || {
  python3 -m venv "$dir/venv"
  "$dir/venv/bin/pip" install -q --disable-pip-version-check awscli
}
mkdir -p "$dir"/{bin,old,second,home}
cat >"$dir/second/aws" <<CONF
#!/bin/sh
export PYTHONHOME="$debian/usr" PYTHONPATH="$debian/usr/lib/python3/dist-packages"
exec "$libraries/ld-linux-x86-64.so.2" --library-path "$libraries" "$debian/usr/bin/python3.13" "$debian/usr/bin/aws" "\$@"
CONF
chmod +x "$dir/second/aws"
ln -sfn "$dir/venv/bin/aws" "$dir/bin/aws"
ln -sfn /usr/bin/aws "$dir/old/aws"
running "$dir/pid" || {
  setsid python3 "$fakes/aws_api.py" "$port" >"$dir/log" 2>&1 </dev/null &
  echo $! >"$dir/pid"
}
wait_for 120 answers
cat >"$dir/env.sh" <<CONF
export PATH="$dir/bin:\$PATH" HOME="$dir/home" GENERIC_WORKER_TEST_OLD_AWS="$dir/old" GENERIC_WORKER_TEST_AWS_2="$dir/second"
export AWS_ENDPOINT_URL=http://127.0.0.1:$port GENERIC_WORKER_TEST_FAKE=http://127.0.0.1:$port
export AWS_ACCESS_KEY_ID=testing AWS_SECRET_ACCESS_KEY=testing AWS_DEFAULT_REGION=us-east-1
CONF
"$dir/bin/aws" --version
"$dir/old/aws" --version
"$dir/second/aws" --version
