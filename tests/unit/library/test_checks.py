from __future__ import annotations

import pytest
from recipe_parts import PARTS, text

from generic_worker.errors import RecipeError
from generic_worker.library.checks import parse
from generic_worker.syntax.yaml_text import read_text

LINES = {name: number for number, name in enumerate(PARTS, 3)}


def problems(**changed: str) -> list[str]:
    try:
        parse(read_text(text(**changed), "x"))
    except RecipeError as error:
        return [str(problem).removeprefix("x:") for problem in error.problems]
    return []


def script(body: str, operation: str = "status") -> str:
    indented = body.replace("\n", "\n    ")
    return f"{operation}:\n  run: |\n    {indented}\n  output: {{columns: [id, state]}}"


def test_a_good_recipe_has_no_problems() -> None:
    assert problems() == []


@pytest.mark.parametrize(
    "changed",
    [
        {"status": script('echo "${queue}" "${job_host:-}" ${job_ids}')},
        {"status": script("x=1; echo ${x}; read -r a b; echo ${a} ${HOME} ${1} ${http_proxy}")},
        {"status": script("echo ${from_env}"), "env": "env: {from_env: x}"},
        {"status": script("echo '\\${nothing}'")},
        {"status": script("# ${queue}\necho $unknown")},
        {"submit": "submit: {run: [launch, '${env | env_decoder}', '${env.TZ}'], output: {columns: [id]}}"},
        {
            "submit": "submit: {run: [launch], stdin: '${env | json}', output: {columns: [id]}}",
            "env": "env: {A: '${env.API_KEY}'}",
        },
        {"status": "status: {run: [ps, '--format={{json .State}}{{print .ID}}'], output: {columns: [id, state]}}"},
        {"status": "status: {run: [show, '${job_id}'], output: {columns: [state]}, absent: gone}"},
        {"status": "status: {run: [show, '${job_host}'], output: {columns: [key, state]}}"},
        {"status": "status: {run: [show], output: {columns: [id, state]}, absent: 'no (?P<id>.)'}"},
        {"find": "find: {run: [list, '${job_key}'], output: {columns: [id]}}"},
        {"other": "logs: {run: [logs, '${job_id}', '${job_host}', '${job_key}']}"},
        {"other": "cleanup: {run: [rm, '${job_ids}']}"},
        {"other": "explain: {run: 'why $job_ids', output: {columns: [id, reason]}}"},
        {"other": "scope: '${worker_host}-${queue}'"},
        {"other": "check: {run: [ping, '${worker_bin}', '${jobs_dir}']}\nvia: {run: [ssh, '${queue}']}"},
        {"other": "via: {run: [ssh, '${job_key}']}"},
        {"other": "files: {a: {b: '${job_script}'}}"},
        {"other": "script: {before: 'cd ${queue}; load $more'}"},
        {"states": "states: {succeeded: [a], failed: [b, 'c*'], running: [0777, no]}"},
    ],
)
def test_what_is_allowed(changed: dict[str, str]) -> None:
    assert problems(**changed) == []


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        (
            {"status": script('launch "${queu}"')},
            "8:3: status.run: ${queu} names nothing. Did you mean 'queue'?",
        ),
        (
            {"other": "script: {before: 'cd ${wd}'}"},
            "10:10: script.before: ${wd} names nothing. Known here: command, deployment_name, env, flow_name, "
            "flow_run_id, flow_run_name, job_dir, job_key, job_name, job_script, jobs_dir, labels, more, queue, "
            "work_pool_name, worker_bin, worker_host, worker_user.",
        ),
        (
            {"other": "script: {before: 'cd ${job_id}'}"},
            "10:10: script.before: ${job_id} has no value here: the job is not submitted yet.",
        ),
        (
            {"submit": script("echo ${job_state}", "submit")},
            "6:3: submit.run: ${job_state} has no value here: the job is not submitted yet.",
        ),
        (
            {"other": "logs: {run: [cat, '${job_ids}']}"},
            "10:19: logs.run[1]: ${job_ids} has no value here: only status, explain and cleanup can be about several "
            "jobs.",
        ),
        (
            {"other": "check: {run: [ping, '${job_key}']}"},
            "10:21: check.run[1]: ${job_key} has no value here: check is about no job.",
        ),
        (
            {"other": "check: {run: [ping]}\nvia: {run: [ssh, '${job_key}']}"},
            "11:18: via.run[1]: ${job_key} has no value here: it stands before check too, which has no job.",
        ),
        (
            {"other": "via: {run: [ssh, '${job_host}']}"},
            "10:18: via.run[1]: ${job_host} has no value here: it stands before submit too.",
        ),
        (
            {"other": "scope: ${flow_name}"},
            "10:1: scope: ${flow_name} has no value here: scope is about no job.",
        ),
        (
            {"status": script("echo ${job_ids | join(',')}")},
            "8:3: status.run: ${job_ids | join(',')} is no expression here: the shell reads it. "
            'Write "$job_ids", or make run a list.',
        ),
        (
            {"env": "env: {A: '${job_script}'}"},
            "4:7: env.A: ${job_script} has no value in an environment. Pass it through stdin or files.",
        ),
        (
            {"other": "via: {run: [hop, '${env | json}']}"},
            "10:18: via.run[1]: ${env | json} would put secrets on a command line, for every user of the host to see. "
            "Pass it through stdin, files or env.",
        ),
        (
            {"status": "status: {run: [x], output: {columns: [id, state]}, absent: gone}"},
            "7:52: status.absent: The command asks about many jobs, and this names none of them. "
            "Name its group: (?P<id>...).",
        ),
        (
            {"status": script("# job_id\nlist").replace("[id, state]", "[state]")},
            "11:12: status.output.columns: Nothing yields the field id, and the command asks about many jobs. "
            "Add id to columns.",
        ),
        (
            {"submit": "submit: {run: [x], output: {json: $, fields: {id: a, script: b}}}"},
            "5:38: submit.output.fields: The field 'script' would be job_script, which has a meaning of its own. "
            "Choose another name.",
        ),
        (
            {"other": "description: 'uses {{ my.name }}'"},
            "10:1: description: Prefect takes {{ my.name }} for a placeholder of its own. Write ${my.name}.",
        ),
        (
            {"other": "examples: [{of: submit, stdout: '{{.State}}', expect: {id: 1}}]"},
            "10:25: examples[0].stdout: Prefect takes {{.State}} for a placeholder of its own. "
            "Write {{print .State}} or {{json .State}}.",
        ),
        (
            {"other": "verified: {'{{x}}': y}"},
            "10:12: verified.{{x}}: Prefect takes {{x}} for a placeholder of its own. Write ${x}.",
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_place(changed: dict[str, str], expected: str) -> None:
    assert problems(**changed) == [expected]


def test_everything_that_is_wrong_is_told_at_once_and_nothing_that_only_follows() -> None:
    assert problems(
        variables="variables: {Queue: {}, more: {type: strng}}",
        submit="submit: {run: [launch, '${queue}', '${Queue}', '${mor}'], output: {columns: id}, time: 1}",
        cancel="cancel: {run: [stop, '${job_host}', '${job_di}', '${x']}",
        states="states: {done: [done], running: [a, a]}",
    ) == [
        "3:13: variables.Queue: A name is lower case letters, digits and underscores, a letter first.",
        "3:31: variables.more.type: Not JSON Schema: 'strng' is not valid under any of the given schemas. "
        "Did you mean 'string'?",
        "5:24: submit.run[1]: ${queue} names nothing. Known here: command, deployment_name, env, flow_name, "
        "flow_run_id, flow_run_name, job_dir, job_key, job_name, job_script, jobs_dir, labels, more, work_pool_name, "
        "worker_bin, worker_host, worker_user.",
        "5:48: submit.run[3]: ${mor} names nothing. Did you mean 'more'?",
        "5:68: submit.output.columns: Expected a list, found 'id'. Write [id].",
        "5:82: submit.time: Unknown key. Did you mean 'timeout'?",
        "8:50: cancel.run[3]: '${x' has no closing brace. Write $${ for a literal ${.",
        "9:10: states.done: Expected 'pending', 'running', 'succeeded', 'failed', 'cancelled', 'finished' "
        "or 'elsewhere', found 'done'.",
        "9:37: states.running[1]: 'a' is already listed under running. Keep one.",
    ]
