"""The page of all cells has all of them, and what it names exists."""

import re

import throughtime as tt
from pages import ROOT, broken_links
from throughtime.cells import ALL_CELLS
from throughtime.unroll import Stepwise

PAGE = ROOT / "docs" / "cells.md"
TEXT = PAGE.read_text(encoding="utf-8")


def test_every_cell_is_in_the_table_and_in_the_picture() -> None:
    layers = {name for name, value in vars(tt).items() if isinstance(value, type) and issubclass(value, Stepwise)}
    names = {type(cell).__name__ for cell in ALL_CELLS} | layers | {"RNN, relu"}
    assert set(re.findall(r"^\| `([^`]+)` \|", TEXT, flags=re.MULTILINE)) == names | {
        f"{function}" for function in vars(tt.init) if function.endswith("_") and not function.startswith("_")
    }
    picture = (ROOT / "docs" / "cells.svg").read_text(encoding="utf-8")
    assert all(name in picture for name in names)


def test_what_it_names_exists() -> None:
    assert broken_links(PAGE) == []
