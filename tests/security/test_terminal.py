"""Names are other people's, and a terminal obeys what is in them: they are shown, and do nothing."""

import subprocess
import sys


def test_escapes_in_names_are_shown_by_jobs_and_not_obeyed(make_pool, server):
    pool = make_pool("terminal")
    evil = "\x1b]0;evil\x07\x1b[2J\x9bname"
    run = pool.run(command="true")
    pool._call(lambda client: client.update_flow_run(run, name=evil))
    found = subprocess.run(
        [sys.executable, "-m", "generic_worker.cli", "jobs", pool.name],
        env={**server.env, "COLUMNS": "250"},
        capture_output=True,
        check=False,
        text=True,
    ).stdout

    assert r"\x1b]0;evil\x07\x1b[2J\x9bname" in found
    assert not {"\x1b", "\x07", "\x9b"} & set(found)
