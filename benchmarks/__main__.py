"""`make bench`: all benchmarks, one table after the other, and the page that shows them.

`python -m benchmarks --device cuda` measures on a GPU. Where there is no browser, `--into FILE` keeps what was found,
of which `python -m benchmarks.page FILE ...` makes the page elsewhere.
"""

import argparse
import json
from pathlib import Path

from plotly.utils import PlotlyJSONEncoder
from rich.console import Console

from benchmarks import full_map, growth, layers, long, machine, memory, page, roofline, ways, whole

BENCHMARKS = {
    "full_map": full_map,
    "growth": growth,
    "roofline": roofline,
    "ways": ways,
    "whole": whole,
    "long": long,
    "memory": memory,
    "layers": layers,
}
# The memory of a process says nothing of a GPU's; there the Jacobians of many steps are formed at once, which leaves no
# choice of ways; and to compile JAX for all sizes takes longer than all the rest.
ON_CPU = ("growth", "ways", "long", "memory")


def main() -> None:
    """Print every table as soon as it is measured."""
    parser = argparse.ArgumentParser(prog="benchmarks")
    parser.add_argument("which", nargs="*", help="of " + ", ".join(BENCHMARKS), default=[])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--into", type=Path, help="a file for what was measured, instead of the page")
    asked = parser.parse_args()
    if unknown := [name for name in asked.which if name not in BENCHMARKS]:
        parser.error(f"which: found {', '.join(unknown)}, expected some of {', '.join(BENCHMARKS)}")
    if asked.which and asked.into is None:
        parser.error("which: the page is of all benchmarks; of some, --into FILE keeps what was measured")
    machine.use(asked.device)
    console, sections = Console(), []
    console.print(machine.named(), highlight=False)
    for name in asked.which or [name for name in BENCHMARKS if asked.device == "cpu" or name not in ON_CPU]:
        sections.append(BENCHMARKS[name].measured())
        console.print(sections[-1].table())
    if asked.into is None:
        page.write(sections, asked.device, machine.named())
        return
    measured = {"device": asked.device, "machine": machine.named(), "sections": [one.to_json() for one in sections]}
    asked.into.write_text(json.dumps(measured, cls=PlotlyJSONEncoder), encoding="utf-8")


if __name__ == "__main__":
    main()
