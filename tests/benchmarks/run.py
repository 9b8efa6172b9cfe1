"""All benchmarks, or those that are named: `run.py [NAME...] [--json FILE]`. It prints one table.

`run.py --publish FILE` measures nothing: it makes the tables and the picture of the project's READMEs of such a file.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import publish
from figures import Figure, show

HERE = Path(__file__).parent
NAMES = ("overhead", "watching", "detection", "commands", "startup", "peers")


def run(name: str, folder: Path) -> tuple[list[Figure], float]:
    """Run one benchmark in a process of its own; what it says on its way goes to stderr."""
    file, begin = folder / f"{name}.json", time.monotonic()
    print(f"{name} ...", file=sys.stderr, flush=True)
    done = subprocess.run([sys.executable, HERE / f"{name}.py", "--json", file], stdout=subprocess.DEVNULL, check=False)
    seconds = time.monotonic() - begin
    print(f"{name}: {seconds:.0f} s", file=sys.stderr, flush=True)
    if done.returncode:
        return [Figure(name, "it failed, see above", met=False)], seconds
    return [Figure(**one) for one in json.loads(file.read_text())], seconds


def write(results: Path) -> int:
    """Write the documents that are made of results; those that change are named."""
    try:
        documents = publish.documents(results)
    except ValueError as error:
        sys.exit(f"{results}: {error}")
    for path, text in documents.items():
        if not path.is_file() or path.read_text() != text:
            path.write_text(text)
            print(path)
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; all when left out")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there, too")
    parser.add_argument("--publish", type=Path, metavar="FILE", help="write what is made of the results in FILE")
    options = parser.parse_args()
    if unknown := set(options.names) - set(NAMES):
        parser.error(f"no benchmark is called {', '.join(sorted(unknown))}")
    if options.publish:
        return write(options.publish)
    with tempfile.TemporaryDirectory() as folder:
        found = {name: run(name, Path(folder)) for name in options.names or NAMES}
    print(show([figure for figures, _ in found.values() for figure in figures]))
    if options.json:
        report = {
            "date": time.strftime("%Y-%m-%d"),
            "machine": f"{platform.freedesktop_os_release()['PRETTY_NAME']}, {platform.machine()}",
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            **{name: version(name) for name in ("prefect", "sh")},
            "seconds": {name: round(seconds) for name, (_, seconds) in found.items()},
            "figures": {name: [vars(one) for one in figures] for name, (figures, _) in found.items()},
        }
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    return any(one.ours.startswith("it failed") for figures, _ in found.values() for one in figures)


if __name__ == "__main__":
    sys.exit(main())
