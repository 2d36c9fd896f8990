"""`make bench`: all benchmarks, one table after the other."""

import platform

import torch
from rich.console import Console

from benchmarks import floor, peers, whole


def main() -> None:
    """Print every table as soon as it is measured."""
    console = Console()
    console.print(
        f"torch {torch.__version__}, {torch.get_num_threads()} threads, {platform.machine()}", highlight=False
    )
    for benchmark in (floor, peers, whole):
        console.print(benchmark.table())


if __name__ == "__main__":
    main()
