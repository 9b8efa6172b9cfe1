"""A scheduler that is a directory: a job is a file with its word, and what else is known of it. The tests write it."""


def board(*, waits: str, cancelled: str, columns: list, states: dict) -> dict:
    """Its recipe: what is written of a job that waits, or is cancelled; how that is read, and what the words mean."""
    return {
        "recipe": 1,
        "name": "board",
        "variables": {"place": {"type": "string"}},
        "required": ["place"],
        "submit": {
            "run": f'echo "{waits}" >"$place/$job_key" && echo "$job_key"',
            "output": {"regex": r"^(?P<id>pf-\S+)$"},
        },
        "find": {"run": 'ls "$place"', "output": {"regex": r"^(?P<id>(?P<key>pf-\S+))$"}},
        "status": {
            "run": 'cd "$place" && grep . /dev/null pf-* | tr : "|"',
            "output": {"columns": columns, "separator": "|"},
        },
        "states": states,
        "cancel": {"run": f'echo "{cancelled}" >"$place/$job_id"'},
        "policy": {"poll": 1, "visible_after": 1},
    }
