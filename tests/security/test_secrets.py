"""No secret of a job is in anything that is told of it: states, logs, events, the worker's own log."""

import base64

import httpx

PASSWORD = "s3cret-0123456789-abcdefghijklmnopqrstuvwxyz"
ENV = {"BACKUP_BEARER": f"Bearer {PASSWORD}", "PREFECT_CLIENT_CUSTOM_HEADERS": f'{{"X-Gate": "{PASSWORD[::-1]}"}}'}
BASIC = base64.b64encode(f"admin:{PASSWORD}".encode()).decode()
OUTPUT = "${directory:-$jobs_dir}/$job_key/output"
RECIPE = {
    "extends": "process",
    "name": "telling",
    "explain": {
        "run": f'tail -n 1 "{OUTPUT}"',
        "output": {"columns": ["exit_code", "reason"], "separator": "|"},
    },
    "cleanup": {"run": f'cat "{OUTPUT}" >&2; exit 1'},
}


def test_what_a_job_prints_of_its_secrets_is_nowhere(make_pool, start_worker, server, until):
    pool = make_pool("secrets", RECIPE)
    lines = [f"{PASSWORD} and more", PASSWORD[::-1], BASIC, "z" * 1900 + PASSWORD, f"3|cannot log in with {PASSWORD}"]

    with start_worker(pool.name) as worker:
        run = pool.run(
            command='sh -c \'printf "%s\\n" ' + " ".join(f'"{line}"' for line in lines) + "; exit 3'", env=ENV
        )
        state = pool.ended(run)
        until(lambda: "Cleaning up" in pool.logs(run), 60)
        until(lambda: "cannot log in" in pool.logs(run), 60)

        assert state.message.endswith(" ended as finished (cannot log in with ********), exit code 3.")
        wanted = {"related": {"id": [f"prefect.flow-run.{run}"]}}
        of_run, url = {"filter": wanted, "limit": 50}, f"{server.env['PREFECT_API_URL']}/events/filter"
        events = httpx.post(url, json=of_run, timeout=60).text
        told = {"state": state.message, "log": pool.logs(run), "events": events, "worker": worker.log.read_text()}
        for where, text in told.items():
            hidden = (PASSWORD, PASSWORD[::-1], BASIC[12:])
            assert not [secret for secret in hidden if secret[:12] in text or secret[-12:] in text], where
