"""recipes/python.md, done as it is written."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "recipes" / "python.md").read_text()


def blocks(language, text=PAGE):
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def test_the_example_prints_what_came_back_from_its_job(server, tmp_path):
    (make,), (example, _, rest) = blocks("console"), blocks("python")
    (tmp_path / "example.py").write_text(example)
    (tmp_path / "rest.py").write_text(f"{rest}\nprint(sorted(template))\n")
    script = f"set -eu\n{make}\npython example.py\npython rest.py"
    env = {**server.env, "HOME": str(tmp_path), "PATH": f"{Path(sys.executable).parent}:{server.env['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True, check=False, timeout=240
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "The work pool mine is made from the recipe process.",
        f"  ~ storage: flows without a deployment go through {tmp_path}/flows",
        "42",
        "['job_configuration', 'variables']",
    ]
    assert (tmp_path / "flows").is_dir()


def test_readme_has_the_same_example():
    readme = (ROOT / "README.md").read_text()

    assert blocks("python")[0] in blocks("python", readme)
    assert blocks("console")[0] in blocks("console", readme)
