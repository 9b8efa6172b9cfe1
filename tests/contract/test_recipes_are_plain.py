"""What keeps the bundled recipes small, and their captures complete.

A recipe has a length that a person reads at once, a feature of the language has more than one user or a reason, and
a recipe that was tried live has recorded each answer that it can get.
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from generic_worker.language.filters import FILTERS
from generic_worker.language.operations import Cancel, Explain, Find, JsonField, Operation, Output, Status, Submit
from generic_worker.language.recipe import Policy, Recipe, Script, Via
from generic_worker.library.loading import load

if TYPE_CHECKING:
    from collections.abc import Iterator

TESTS = Path(__file__).parent.parent
RECIPES = sorted(path.stem for path in (TESTS.parent / "recipes").glob("*.yaml"))
LONGEST = 210
"""Lines of a recipe without its examples: an API of a cloud has more to be said than a command of a scheduler."""

FEW_USERS = {
    "field.default": "a Job without any condition waits for its pod, in Kubernetes",
    "filter.k8s_labels": "what Kubernetes takes as a label: others take any text",
    "filter.slug": "the name of a Job in Kubernetes; others have a name for people beside the key",
    "filter.together": "labels of others beside our own in a structure: with options ours come last",
    "output.id_": "a tool that knows its jobs by our key alone",
    "own.empty": "a tool that calls an empty list an error",
    "policy.absent": "a tool that forgets its jobs at their end",
    "output.from_": "systemd-run and at print the id on standard error",
    "policy.commands": "a site's choice",
    "policy.find_for": "a site's choice",
    "policy.lost_polls": "a site's choice",
    "policy.pending_for": "a site's choice",
    "policy.resubmit": "a site's choice",
    "policy.retry_for": "a site's choice",
    "recipe.extends": "a site's own recipe, as in recipes/examples",
    "recipe.via": "a login node, as in recipes/examples",
    "via.quote": "the same",
    "via.run": "the same",
    "via.unreachable": "the same",
}
"""Features that fewer than two of the bundled recipes use, with the reason for which they stay."""


def text_of(name: str) -> str:
    return (TESTS.parent / "recipes" / f"{name}.yaml").read_text()


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_without_its_examples_is_short(name: str) -> None:
    lines = text_of(name).split("\nexamples:")[0].splitlines()

    assert len(lines) <= LONGEST


def features_of(name: str) -> Iterator[str]:
    """The keys and filters that a recipe uses."""
    recipe = load(name).recipe
    yield from (f"recipe.{key}" for key in recipe.model_fields_set)
    yield from (f"script.{key}" for key in recipe.script.model_fields_set)
    yield from (f"policy.{key}" for key in recipe.policy.model_fields_set)
    yield from (f"via.{key}" for key in (recipe.via.model_fields_set if recipe.via else ()))
    for _, operation in recipe.operations():
        own = operation.model_fields_set
        yield from (f"operation.{key}" if key in Operation.model_fields else f"own.{key}" for key in own)
        output: Output | None = getattr(operation, "output", None)
        yield from (f"output.{key}" for key in (output.model_fields_set if output else ()))
        for field in ((output.fields or {}) if output else {}).values():
            yield "field.list" if isinstance(field, list) else "field"
            for one in field if isinstance(field, list) else [field]:
                yield from (f"field.{key}" for key in (one.model_fields_set if isinstance(one, JsonField) else ()))
    yield from (f"filter.{name}" for name in re.findall(rf"(?<![|\w'])\| ?({'|'.join(FILTERS)})\b", text_of(name)))


LANGUAGE = {
    *(f"recipe.{key}" for key in Recipe.model_fields),
    *(f"script.{key}" for key in Script.model_fields),
    *(f"policy.{key}" for key in Policy.model_fields),
    *(f"via.{key}" for key in Via.model_fields),
    *(f"operation.{key}" for key in Operation.model_fields),
    *(
        f"own.{key}"
        for kind in (Submit, Find, Status, Explain, Cancel)
        for key in kind.model_fields
        if key not in Operation.model_fields
    ),
    *(f"output.{key}" for key in Output.model_fields),
    *(f"field.{key}" for key in JsonField.model_fields),
    "field.list",
    *(f"filter.{name}" for name in FILTERS if name != "tojson"),
}


def test_no_feature_of_the_language_is_used_by_one_recipe_only() -> None:
    users = defaultdict(set)
    for name in RECIPES:
        for feature in features_of(name):
            users[feature].add(name)

    few = {feature: sorted(users[feature]) for feature in LANGUAGE if len(users[feature]) < 2}
    assert set(few) == set(FEW_USERS), few


def cases(name: str, verb: str) -> list[dict[str, Any]]:
    return [yaml.safe_load(path.read_text()) for path in (TESTS / "captures" / name / verb).glob("*.yaml")]


LIVE = [name for name in RECIPES if load(name).recipe.verified.get("by") in {"live", "real CLI"}]


@pytest.mark.parametrize("name", LIVE)
def test_a_recipe_that_was_tried_live_has_a_capture_of_every_answer(name: str) -> None:
    recipe = load(name).recipe
    states = set(recipe.states) - {"finished", "elsewhere"} | (
        {"succeeded", "failed"} if "finished" in recipe.states else set()
    )
    answers = {answer for case in cases(name, "status") for answer in case["expect"].values()}
    outcomes = {"submitted" if isinstance(c["expect"], dict) else c["expect"] for c in cases(name, "submit")}
    found = {"found" if isinstance(a, dict) else a for c in cases(name, "find") for a in c["expect"].values()}

    assert sorted((states | {"absent", "unknown"}) - answers) == []
    assert "submitted" in outcomes
    assert outcomes & {"refused", "ambiguous"}
    assert {"found", None} <= found
    assert {"ok"} <= {case["expect"] for case in cases(name, "cancel")}
