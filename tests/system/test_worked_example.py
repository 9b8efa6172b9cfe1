"""recipes/wrap-your-own-cli.md, done as it is written."""

import re
import subprocess
import sys
from pathlib import Path

DOCUMENT = Path(__file__).parents[2] / "recipes" / "wrap-your-own-cli.md"


def test_the_worked_example_ends_with_a_completed_flow_run(server, tmp_path):
    blocks = re.findall(r"^```console\n(.*?)^```$", DOCUMENT.read_text(), flags=re.MULTILINE | re.DOTALL)
    script = "\n".join(["set -euo pipefail", "trap 'kill $(jobs -p) 2>/dev/null || true' EXIT", *blocks])
    env = {**server.env, "HOME": str(tmp_path), "PATH": f"{Path(sys.executable).parent}:{server.env['PATH']}"}
    place = tmp_path / "launcher"
    place.mkdir()

    done = subprocess.run(
        ["bash", "-c", script], cwd=place, env=env, capture_output=True, text=True, check=False, timeout=240
    )

    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[:3] == ["accepted 1", "1,active,,my-first-job", "1,done,3,my-first-job"]
    assert "launcher.yaml: OK, it has no examples." in lines
    assert len(blocks) == 6
    last = max((line for line in lines if re.match(r"\d+,", line)), key=lambda line: int(line.split(",")[0]))
    assert re.fullmatch(r"\d+,done,0,pf-\w+-\w+", last)
