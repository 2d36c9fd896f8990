"""Freed blocks, measured as what a process of its own still holds."""

import subprocess
import sys
from pathlib import Path

import pytest

HELD = """
import sys
import torch
from throughtime.giving_back import giving_back

def held():
    with open("/proc/self/statm") as told:
        return int(told.read().split()[1])

def made_and_freed():
    # What stays stands between the blocks that are freed.
    stays = []
    for _ in range(16):
        block = torch.ones(2**20)
        stays.append(torch.ones(2**14))
        blocks.append(block)
    blocks.clear()
    return stays

blocks = []
# A large block that was freed: from here on the C library keeps those that are smaller.
torch.ones(7 * 2**20)
with giving_back(sys.argv[1] == "wanted"):
    before = held()
    stays = made_and_freed()
    print(held() - before)
"""


@pytest.mark.skipif(sys.platform != "linux" or not Path("/lib64/ld-linux-x86-64.so.2").exists(), reason="of glibc")
def test_large_blocks_are_given_back_where_that_is_wanted():
    pages = {
        wanted: int(subprocess.run([sys.executable, "-c", HELD, wanted], capture_output=True, check=True).stdout)
        for wanted in ("wanted", "not")
    }
    # 16 blocks of 1024 pages, and 16 of 16 that stay.
    assert pages["wanted"] < 1024
    assert pages["not"] > 8 * 1024
