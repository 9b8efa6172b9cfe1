"""Work pools and flow runs in Prefect's UI, as Debian's Chromium shows them.

GENERIC_WORKER_SCREENSHOTS=DIR puts there what README.md shows of it.
"""

import contextlib
import copy
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import TimeoutError as PlaywrightTimeoutError
from playwright.sync_api import expect, sync_playwright
from prefect.blocks.core import Block
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
from pydantic import SecretStr

from generic_worker.library.loading import found_recipes, load
from generic_worker.library.template import base_job_template

SECONDS = 60
UI = "/v2"
OLDER_UI = ""  # where the link leads that `prefect work-pool create` prints
FIELD = "div:has(> fieldset)"
OLDER_FIELD = ".schema-form-property"
OPTIONS = (
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # a page also wants logos and the like from elsewhere
)
SCREENSHOTS = os.environ.get("GENERIC_WORKER_SCREENSHOTS")


class LauncherLogin(Block):
    """A login with a secret part."""

    _block_type_slug = "launcher-login"
    user: str
    password: SecretStr


@pytest.fixture(scope="session")
def chromium(backends):
    """The path of Chromium."""
    return backends("chromium")["GENERIC_WORKER_TEST_CHROMIUM"]


@pytest.fixture(scope="session")
def look(chromium, server):
    """Open a page of the UI: `with look(path, ui) as page`.

    Each page has a browser of its own, since no asyncio.run() works in a thread where Playwright has one open.
    """
    origin = server.env["PREFECT_API_URL"].removesuffix("/api")

    @contextlib.contextmanager
    def opened(path, ui=UI):
        expect.set_options(timeout=SECONDS * 1000)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=OPTIONS, timeout=SECONDS * 1000)
            page = browser.new_page(base_url=origin, viewport={"width": 1200, "height": 900})
            page.set_default_timeout(SECONDS * 1000)
            page.goto(f"{ui}{path}", wait_until="commit")
            try:
                yield page
            finally:
                browser.close()

    return opened


@pytest.fixture(scope="module")
def slurm_pool(server, existing_pool, tmp_path_factory):
    """A pool that was made on the command line, as README.md says."""
    folder = tmp_path_factory.mktemp("slurm-pool")
    for command in (
        "generic_worker.cli template slurm > slurm.json",
        "prefect work-pool create cluster-in-ui --type generic --base-job-template slurm.json",
    ):
        shell = ["/bin/sh", "-c", f"{sys.executable} -m {command}"]
        subprocess.run(shell, env=server.env, cwd=folder, check=True, capture_output=True)
    return existing_pool("cluster-in-ui")


@pytest.fixture(scope="module")
def launcher_pool(make_pool):
    """A pool of a recipe whose jobs say who waits in which queue, and end with the exit code that they are told."""
    LauncherLogin.register_type_and_schema()
    LauncherLogin(user="ada", password="not-for-your-eyes").save("mine", overwrite=True)
    recipe = copy.deepcopy(load("process").data)
    recipe["name"] = "launcher"
    recipe["variables"] |= {
        "queue": {"type": "string", "enum": ["short", "long"], "default": "short", "title": "Queue"},
        "exit_code": {"type": "integer", "minimum": 0, "default": 0, "title": "Exit code"},
        "login": {"block": "launcher-login", "title": "Login"},
    }
    recipe["env"] = {"LAUNCHER_USER": "${login.user | default('nobody')}"}
    recipe["script"]["before"] = 'echo "$LAUNCHER_USER waits in the queue $queue"\nexit "$exit_code"\n'
    return make_pool("launcher-in-ui", recipe)


@pytest.fixture(scope="module")
def worker(launcher_pool, start_worker):
    """A worker of the launcher's pool."""
    with start_worker(launcher_pool.name) as process:
        yield process


def form(pool):
    """The page on which a pool is edited."""
    return f"/work-pools/work-pool/{pool}/edit"


def titles(schema):
    """The titles of a form's fields, in their order."""
    required = set(schema["required"])
    return [
        variable["title"] + ("" if name in required else " (Optional)")
        for name, variable in schema["properties"].items()
    ]


def field(page, title):
    """The part of a form that is about one variable."""
    return page.locator(FIELD).filter(has=page.get_by_text(re.compile(rf"^{re.escape(title)}( \(Optional\))?$")))


def expect_default(shown, schema):
    """A default is in the field, in the widget that suits its variable's type."""
    default = schema["default"]
    if "enum" in schema:
        expect(shown.get_by_role("button", name=f"Select {schema['title']}")).to_have_text(default)
    elif schema["type"] == "boolean":
        expect(shown.get_by_role("switch")).to_be_checked(checked=default)
    elif schema["type"] == "object":
        expect(shown.get_by_role("textbox")).to_have_text(json.dumps(default))
    elif schema["type"] == "array":
        expect(shown.get_by_role("textbox")).to_have_count(len(default))
        for number, item in enumerate(default):
            expect(shown.get_by_role("textbox").nth(number)).to_have_value(item)
    else:
        role = "textbox" if schema["type"] == "string" else "spinbutton"
        expect(shown.get_by_role(role)).to_have_value(str(default))


def write_json(field, value, until):
    """Write into an editor of JSON, and again if that came before the editor was ready, which would keep both texts."""
    editor, text = field.get_by_role("textbox"), json.dumps(value)

    def written():
        editor.fill(text)
        expect(editor).to_have_text(text, timeout=10_000)
        return True

    expect(editor).to_have_text("{}")
    until(written, 2 * SECONDS)


def send(page, button, kind, until):
    """Send a form with a button until the page of a kind of object is there instead: a busy server may not take it."""
    shown = page.get_by_role("button", name=button)

    def sent():
        with contextlib.suppress(PlaywrightTimeoutError):  # it was taken after all, and its page is gone
            shown.click(timeout=10_000)
        expect(page).to_have_url(re.compile(rf"/{kind}/[^/]+$"), timeout=20_000)
        return True

    until(sent, 3 * SECONDS)


def save(page, until):
    """Save the form of a work pool."""
    send(page, "Save", "work-pool", until)


def with_defaults(template, **defaults):
    """A template with other defaults."""
    changed = copy.deepcopy(template)
    for name, default in defaults.items():
        changed["variables"]["properties"][name]["default"] = default
    return changed


def expect_log(page, *lines):
    """The log of a flow run ends with these lines, and what Prefect says of them."""
    expect(page.get_by_role("log").get_by_role("listitem").filter(has_text=lines[-1])).to_be_visible()
    shown = page.get_by_role("log").get_by_role("listitem").locator("div:nth-child(1) > div:nth-child(2) > span")
    messages = shown.all_inner_texts()
    end = messages.index(lines[-1]) + 1

    assert messages[end - len(lines) : end] == list(lines)


def screenshot(name, page, first, last):
    """Keep what is to be seen from one element to another, and a little around it."""
    if SCREENSHOTS:
        page.evaluate("scrollTo(0, 0), document.activeElement.blur()")
        column, top, bottom = (shown.bounding_box() for shown in (page.get_by_role("main"), first, last))
        height = bottom["y"] + bottom["height"] - top["y"] + 16
        clip = {"x": column["x"], "y": top["y"] - 8, "width": column["width"], "height": height}
        page.screenshot(path=Path(SCREENSHOTS, name), clip=clip, full_page=True, animations="disabled")


@pytest.mark.timeout(900)  # a page for each
def test_the_form_of_every_recipe_shows_what_the_recipe_says_of_its_variables(look, make_pool):
    forms = {
        make_pool(f"{name}-in-ui", template=template).name: template["variables"]
        for name, template in ((name, base_job_template(load(name))) for name in found_recipes())
    }
    with look("/work-pools") as page:
        for pool, schema in forms.items():
            page.goto(f"{UI}{form(pool)}", wait_until="commit")
            variables = schema["properties"].values()
            expect(page.locator(f"{FIELD} label")).to_have_text(titles(schema))
            expect(page.locator(f"{FIELD} label + p")).to_have_text([variable["description"] for variable in variables])
            for variable in variables:
                if "default" in variable:
                    expect_default(field(page, variable["title"]), variable)
            expect(page.locator(FIELD).get_by_role("tab")).to_have_count(0)  # they would stand for a choice of types


def test_a_select_offers_the_values_of_an_enum_and_a_block_picker_is_of_the_blocks_type(look, make_pool, until):
    pool = make_pool("ecs-in-ui", "aws-ecs")
    before = pool.read_pool().base_job_template
    with look(form(pool.name)) as page:
        field(page, "Launch type").get_by_role("button", name="Select Launch type").click()
        expect(page.get_by_role("option")).to_have_text(["FARGATE", "EC2", "EXTERNAL"])
        page.get_by_role("option", name="EC2").click()
        credentials = field(page, "AWS credentials")
        expect(credentials.get_by_alt_text("AWS Credentials")).to_have_count(1)
        expect(credentials.get_by_role("button", name="Add")).to_be_visible()
        save(page, until)

    assert pool.read_pool().base_job_template == with_defaults(before, launch_type="EC2")


def test_what_is_edited_is_saved_and_serves_the_next_run(look, launcher_pool, worker, until):
    before = launcher_pool.read_pool().base_job_template
    with look(form(launcher_pool.name)) as page:
        field(page, "Queue").get_by_role("button", name="Select Queue").click()
        page.get_by_role("option", name="long").click()
        field(page, "Exit code").get_by_role("spinbutton").fill("4")
        field(page, "Login").get_by_role("button", name="Select a block").click()
        page.get_by_role("option", name="mine").click()
        write_json(field(page, "Environment variables"), {"GREETING": "hello"}, until)
        save(page, until)
    after = launcher_pool.read_pool().base_job_template
    login = {"$ref": {"block_document_id": str(LauncherLogin.load("mine")._block_document_id)}}
    run = launcher_pool.run()
    state = launcher_pool.ended(run)

    assert after == with_defaults(before, queue="long", exit_code=4, login=login, env={"GREETING": "hello"})
    assert load(after["job_configuration"]["recipe"]).recipe == load(before["job_configuration"]["recipe"]).recipe
    assert state.message == f"The launcher job {launcher_pool.job(run).id} ended as finished, exit code 4."
    until(lambda: "ada waits in the queue long" in launcher_pool.logs(run), SECONDS)


def test_the_older_form_saves_too(look, slurm_pool, until):
    before = slurm_pool.read_pool().base_job_template
    with look(form(slurm_pool.name), OLDER_UI) as page:
        expect(page.locator(f"{OLDER_FIELD} label")).to_have_text(titles(before["variables"]))
        account = page.locator(OLDER_FIELD).filter(has=page.get_by_text("Account (Optional)", exact=True))
        account.get_by_role("textbox").fill("physics")
        save(page, until)

    assert slurm_pool.read_pool().base_job_template == with_defaults(before, account="physics")


def test_a_pool_made_on_the_command_line_has_a_form(look, slurm_pool, until):
    before = slurm_pool.read_pool().base_job_template
    with look(form(slurm_pool.name)) as page:
        field(page, "Partition").get_by_role("textbox").fill("long")
        field(page, "Time limit").get_by_role("textbox").fill("1-00:00:00")
        field(page, "CPUs").get_by_role("spinbutton").fill("8")
        field(page, "Set-up").get_by_role("textbox").fill("module load python")
        screenshot("work-pool-form.png", page, field(page, "Partition"), page.get_by_role("button", name="Save"))
        save(page, until)
    edited = {"partition": "long", "time_limit": "1-00:00:00", "cpus": 8, "setup": "module load python"}

    assert slurm_pool.read_pool().base_job_template == with_defaults(before, **edited)


def test_a_run_that_is_started_in_the_ui_gets_the_variables_that_are_set_there(look, launcher_pool, worker, until):
    def runs():
        of_it = DeploymentFilter(id=DeploymentFilterId(any_=[launcher_pool._deployment]))
        found = launcher_pool._call(lambda client: client.read_flow_runs(deployment_filter=of_it))
        return {run.id for run in found}

    before = runs()
    with look(f"/deployments/deployment/{launcher_pool._deployment}") as page:
        page.get_by_role("button", name="Run", exact=True).click()
        page.get_by_role("menuitem", name="Custom run").click()
        page.get_by_role("button", name="Additional Options").click()
        label = page.get_by_text("Job Variables (Optional)", exact=True)
        write_json(page.locator("div:has(> label)").filter(has=label), {"exit_code": 7, "queue": "short"}, until)
        send(page, "Submit", "deployment", until)
    run = max(runs() - before)
    reason = f"The launcher job {launcher_pool.job(run).id} ended as finished, exit code 7."

    assert launcher_pool.ended(run).message == reason
    until(lambda: reason in launcher_pool.logs(run), SECONDS)
    with look(f"/runs/flow-run/{run}") as page:
        expect(page.get_by_role("main")).to_contain_text("Crashed")
        expect(page.get_by_role("log")).to_contain_text("waits in the queue short")
        expect(page.get_by_role("log")).to_contain_text(reason)


def test_the_log_of_a_run_that_crashed_on_slurm_ends_with_its_jobs_last_lines_and_the_reason(
    look, slurm, make_pool, start_worker, tmp_path, until
):
    pool = make_pool("hpc", "slurm")
    command = "/usr/bin/python3 -IS -m prefect flow-run execute"  # a Python without Prefect, as on many a compute node
    with start_worker(pool.name, name="login-node", env={**slurm, "PATH": os.environ["PATH"]}):
        run = pool.run(command=command, working_dir=str(tmp_path))
        reason = f"The slurm job {pool.job(run, 120).id} ended as FAILED (NonZeroExitCode), exit code 1."

        assert pool.ended(run, 180).message == reason
        until(lambda: reason in pool.logs(run), SECONDS)
    with look(f"/runs/flow-run/{run}") as page:
        expect(page.get_by_role("main")).to_contain_text("Crashed")
        expect_log(page, "The last lines of the job's output:\n/usr/bin/python3: No module named prefect", reason)
        expect(page.get_by_text("This flow run did not generate any task or subflow runs")).to_be_visible()
        screenshot(
            "crashed-flow-run.png", page, page.get_by_role("navigation", name="breadcrumb"), page.get_by_role("log")
        )


def test_what_was_edited_in_the_form_stays_when_the_recipe_is_applied_and_what_is_fixed_is_gone(
    look, server, existing_pool, tmp_path, until
):
    def apply(*options):
        command = [sys.executable, "-m", "generic_worker.cli", "pool", "apply", "applied-in-ui", "slurm.yaml", *options]
        done = subprocess.run(command, cwd=tmp_path, env=server.env, check=True, capture_output=True, text=True)
        return done.stdout.splitlines()[1:]

    recipe = copy.deepcopy(load("slurm").data)
    (tmp_path / "slurm.yaml").write_text(json.dumps(recipe))
    apply()
    pool = existing_pool("applied-in-ui")
    with look(form(pool.name)) as page:
        field(page, "Time limit").get_by_role("textbox").fill("1-00:00:00")
        save(page, until)
    recipe["variables"]["reservation"] = {
        "type": "string",
        "title": "Reservation",
        "description": "Nodes kept for you.",
    }
    (tmp_path / "slurm.yaml").write_text(json.dumps(recipe))

    assert apply("--fix", "partition=debug") == [
        '  = time_limit: your default "1-00:00:00" stays',
        "  + reservation: string, no default: Nodes kept for you.",
        '  ~ partition: it is fixed to "debug", and not in the form any more',
    ]
    fields = titles(pool.read_pool().base_job_template["variables"])
    with look(form(pool.name)) as page:
        expect(page.locator(f"{FIELD} label")).to_have_text(fields)
        expect(field(page, "Reservation")).to_have_count(1)
        expect(field(page, "Partition")).to_have_count(0)
        expect(field(page, "Time limit").get_by_role("textbox")).to_have_value("1-00:00:00")
        field(page, "Time limit").get_by_role("textbox").fill("12:00:00")
        save(page, until)

    assert apply() == ['  = time_limit: your default "12:00:00" stays', '  = partition: it stays fixed to "debug"']
