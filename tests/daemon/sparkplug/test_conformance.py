"""Every testable statement of the specification is held by a test that is there, or said not to be ours."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import pytest
from ruamel.yaml import YAML

HERE = Path(__file__).parent
STATEMENTS = 299  # marked as testable in the text of Sparkplug 3.0


@pytest.fixture(scope="module")
def groups():
    """conformance.yaml."""
    return YAML(typ="safe").load((HERE / "conformance.yaml").read_text())


def test_every_statement_is_listed_once(groups):
    ids = Counter(each for group in groups for each in group["ids"])
    assert [each for each, count in ids.items() if count > 1] == []
    assert len(ids) == STATEMENTS


def test_each_is_held_by_tests_or_not_ours(groups):
    assert groups
    assert [group["what"] for group in groups if ("tests" in group) == ("not_ours" in group)] == []


def test_every_test_named_is_there(groups):
    named = {each for group in groups for each in group.get("tests", ())}
    assert len(named) > 15
    assert [
        each for each in sorted(named) if each.partition("::")[2] not in _tests(each.partition("::")[0])
    ] == []


def _tests(file: str) -> set[str]:
    found = set()
    for node in ast.parse((HERE / file).read_text()).body:
        if isinstance(node, ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found.add(node.targets[0].id)
    return found
