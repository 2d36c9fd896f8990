"""Parts of a task side by side: each once, whoever runs them, and no error is lost."""

import pytest
import torch

from throughtime.compiled import threads
from throughtime.compiled.threads import side_by_side


@pytest.fixture(params=["torch's team", "threads of ours"], autouse=True)
def team(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param != "torch's team":
        monkeypatch.setattr(threads, "_team", lambda: None)
    elif threads._team() is None:
        pytest.skip("torch has no OpenMP here that can be called")


@pytest.mark.parametrize("available", [1, 2, 3])
def test_each_once(available: int) -> None:
    before, done = torch.get_num_threads(), list[int]()
    torch.set_num_threads(available)
    side_by_side([lambda number=number: done.append(number) for number in range(5)])
    torch.set_num_threads(before)
    assert sorted(done) == [0, 1, 2, 3, 4]


def test_an_error_is_raised() -> None:
    done = list[int]()
    with pytest.raises(ZeroDivisionError):
        side_by_side([lambda: done.append(1), lambda: 1 / 0, lambda: done.append(2)])
    assert sorted(done) == [1, 2]
