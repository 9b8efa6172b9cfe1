"""What others have written is shown by `generic-worker jobs`, and no terminal obeys it."""

import os
import pty
import subprocess

from prefect.states import Pending

EVIL = "\x1b]0;evil\x07\x1b[2J"
SHOWN = r"\x1b]0;evil\x07\x1b[2J"


def on_a_terminal(env, *words):
    """What a command shows on a terminal of 250 columns."""
    ours, its = pty.openpty()
    env = {**env, "COLUMNS": "250", "TERM": "xterm", "NO_COLOR": "1"}
    with subprocess.Popen(words, env=env, stdin=its, stdout=its, stderr=its, start_new_session=True) as process:
        os.close(its)
        shown = b""
        try:
            while piece := os.read(ours, 65536):
                shown += piece
        except OSError:  # nobody holds the other end any more
            pass
        process.wait(60)
    os.close(ours)
    return shown.decode()


def test_no_name_nor_reason_is_obeyed_by_a_terminal(make_pool, server, jobs_command):
    recipe = {
        "recipe": 1,
        "name": "telling",
        "submit": {"run": ["true"], "output": {"id": "${job_key}"}},
        "find": {"run": ["true"], "output": {"columns": ["id", "key"]}},
        "status": {
            "run": r"printf '%s|\033]0;evil\007\033[2J|why \033]0;evil\007\033[2J\n' $job_ids; printf '\033[2J' >&2",
            "output": {"columns": ["id", "state", "reason"], "separator": "|"},
            "trouble": r"\x1b\[2J",
        },
        "cancel": {"run": ["true"]},
        "states": {"running": ["*"], "finished": ["done"]},
    }
    pool = make_pool("terminal", recipe)
    run = pool.run()
    pool.set_state(run, Pending())
    pool.update_run(run, name=f"run{EVIL}", infrastructure_pid=f"telling:///pf-{run.hex}-0?key=pf-{run.hex}-0")

    shown = on_a_terminal(server.env, *jobs_command(), "--pool", pool.name)

    assert f"run{SHOWN}" in shown
    assert f"why {SHOWN}" in shown
    assert not {"\x07", "\x9b"} & set(shown)
    assert "\x1b]" not in shown
    assert "\x1b[2J" not in shown
