"""`make bench`: all benchmarks, one table after the other, and the page that shows them."""

from rich.console import Console

from benchmarks import full_map, growth, layers, long, machine, page, roofline, ways, whole


def main() -> None:
    """Print every table as soon as it is measured."""
    console, sections = Console(), []
    console.print(machine.named(), highlight=False)
    for benchmark in (full_map, growth, roofline, ways, whole, long, layers):
        sections.append(benchmark.measured())
        console.print(sections[-1].table())
    page.write(sections, machine.named())


if __name__ == "__main__":
    main()
