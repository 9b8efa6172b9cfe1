"""A recipe of which a test changes a part or two: one line for each, from the third line of the text on."""

PARTS = {
    "variables": "variables: {queue: {type: string, pattern: '^[a-z]'}, more: {type: array}}",
    "env": "env: {}",
    "submit": "submit: {run: [launch, '${queue}', '${more | json}'], output: {columns: [id, host]}}",
    "find": "find: {run: [list], output: {columns: [id, key]}}",
    "status": "status: {run: [list], output: {columns: [id, state]}}",
    "cancel": "cancel: {run: [stop, '${job_id}']}",
    "states": "states: {finished: [done]}",
    "other": "policy: {}",
}


def text(**changed: str) -> str:
    """The recipe's text, with other parts in the place of some."""
    return "recipe: 1\nname: sample\n" + "\n".join((PARTS | changed).values()) + "\n"
