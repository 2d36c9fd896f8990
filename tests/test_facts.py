"""The table of facts: every row has the test that it names, and the test says whose it is."""

import ast
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
ROWS = re.findall(r"^\| (\d+) \|.*\[(test_\w+)\]\((.+?)\) \|$", (DOCS / "facts.md").read_text(), flags=re.MULTILINE)


@pytest.mark.parametrize(("number", "name", "path"), ROWS, ids=[f"{number} {name}" for number, name, _ in ROWS])
def test_a_fact_has_its_test(number: str, name: str, path: str) -> None:
    module = ast.parse((DOCS / path).read_text())
    found = next(node for node in module.body if isinstance(node, ast.FunctionDef) and node.name == name)
    assert (ast.get_docstring(found) or "").startswith(f"Fact {number}: ")


def test_no_fact_is_left_out() -> None:
    assert sorted({int(number) for number, _, _ in ROWS}) == list(range(1, 17))
