#!/bin/bash
# moto, which plays AWS (ECS, Batch, EC2, IAM, logs) to the AWS CLI. Batch jobs run in containers where DOCKER_HOST says,
# or, with MOTO_BATCH=simple, are done at once.
#
#   tests/live/backends/moto.sh [start|stop]       MOTO_BATCH=  DOCKER_HOST=
. "$(dirname "$0")/common.sh" moto "${1:-start}"

if [ "${1:-start}" = stop ]; then
  end "$dir/pid"
  exit 0
fi

port=$(free_ports 1)
answers() { "$dir/venv/bin/python" -c "import urllib.request as u; u.urlopen('http://127.0.0.1:$port/moto-api/data.json', timeout=30)"; }

[ -x "$dir/venv/bin/moto_server" ] && [ -x "$dir/venv/bin/aws" ] || {
  need python3 python3-venv
  python3 -m venv "$dir/venv"
  "$dir/venv/bin/pip" install -q --disable-pip-version-check 'moto[server,ecs,ec2,batch]' awscli
}
mkdir -p "$dir/bin"
ln -sfn "$dir/venv/bin/aws" "$dir/bin/aws"
running "$dir/pid" || {
  export MOTO_BATCH=${MOTO_BATCH:-}
  [ -n "$MOTO_BATCH" ] || unset MOTO_BATCH
  setsid "$dir/venv/bin/moto_server" -H 127.0.0.1 -p "$port" >"$dir/log" 2>&1 </dev/null &
  echo $! >"$dir/pid"
}
wait_for 120 answers
cat >"$dir/env.sh" <<CONF
export AWS_ENDPOINT_URL=http://127.0.0.1:$port AWS_ACCESS_KEY_ID=testing AWS_SECRET_ACCESS_KEY=testing
export AWS_DEFAULT_REGION=us-east-1 AWS_PAGER= PATH="$dir/bin:\$PATH"
CONF
"$dir/venv/bin/python" -c "from importlib.metadata import version; print('moto', version('moto'))"
