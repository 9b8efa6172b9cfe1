"""`generic-worker check` for programs; what it says to people is in `test_app.py`."""

import json


def test_problems_are_data_for_programs(folder, call):
    text = (folder / "sample.yaml").read_text()
    (folder / "wrong.yaml").write_text(text.replace("name: sample", "name: Wrong"))
    (folder / "doubtful.yaml").write_text(text.replace("'--tag=${tags}', ", ""))
    code, out, err = call("check", "--json", "sample.yaml", "wrong.yaml", "doubtful.yaml", "none.yaml")
    wrong, doubtful, none = json.loads(out)

    assert (code, err) == (2, "")
    assert (wrong["file"], wrong["line"], wrong["column"], wrong["key"]) == ("wrong.yaml", 2, 1, "name")
    assert wrong["severity"] == "error"
    assert doubtful == {
        "file": "doubtful.yaml", "line": 9, "column": 3, "key": "variables.tags",
        "message": "No command uses this variable.", "severity": "warning",
    }  # fmt: skip
    assert none == {
        "file": "none.yaml", "line": 0, "column": 0, "key": "", "message": "There is no such file.",
        "severity": "error",
    }  # fmt: skip
    assert call("check", "--json", "sample.yaml") == (0, "[]\n", "")
