"""Credentials from a real block on a real server: resolved, usable in expressions, and kept from view."""

import copy

import pytest
from prefect.blocks.core import Block
from pydantic import SecretStr

from generic_worker.library.loading import load

PASSWORD = "correct-horse-battery-staple"


class GatewayLogin(Block):
    """A login with a secret part."""

    _block_type_slug = "gateway-login"
    user: str
    password: SecretStr


@pytest.fixture(scope="module")
def pool(make_pool):
    """A pool of a recipe that logs in with a block, and shows too much when it is refused."""
    recipe = copy.deepcopy(load("process").data)
    recipe["name"] = "gateway"
    recipe["variables"]["login"] = {"block": "gateway-login", "description": "Login of the gateway."}
    recipe["required"] = ["login"]
    recipe["env"] = {"GATEWAY_USER": "${login.user}", "GATEWAY_PASSWORD": "${login.password}"}
    recipe["submit"] = {
        "run": 'echo "user $GATEWAY_USER may not log in with $GATEWAY_PASSWORD" >&2; exit 1',
        "output": {"regex": "^(?P<id>.+)$"},
    }
    return make_pool("gateway", recipe)


@pytest.fixture(scope="module")
def block(server):
    """The id of a saved block."""
    GatewayLogin.register_type_and_schema()
    return GatewayLogin(user="ada", password=PASSWORD).save("mine", overwrite=True)


def test_the_pools_form_has_a_block_picker(pool, server):
    template = pool.read_pool().base_job_template
    form = template["variables"]

    (reference,) = form["properties"]["login"]["allOf"]
    assert form["definitions"][reference["$ref"].rsplit("/", 1)[1]]["block_type_slug"] == "gateway-login"


def test_a_block_reaches_the_recipes_commands_and_its_secrets_nothing_else(pool, block, start_worker, until):
    with start_worker(pool.name) as worker:
        run = pool.run(login={"$ref": {"block_document_id": str(block)}}, command="true")
        message = pool.ended(run).message
        words = ("may not log in", "Failed to submit flow run")
        until(lambda: all(word in pool.logs(run) for word in words), 60)
        told, shown = pool.logs(run), message + pool.logs(run) + worker.log.read_text()

    assert "user ada may not log in with ********" in message
    assert PASSWORD not in shown
    assert told.count("Failed to submit flow run") == 1
    assert "Traceback" not in told
