"""A story in the terminal."""

from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Group
from rich.padding import Padding
from rich.panel import Panel
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from throughtime.story.claim import claim
from throughtime.story.numbers import Chain, Story, Term
from throughtime.story.writing import (
    at,
    belief,
    first_word,
    number,
    percent,
    plural,
    product,
    sentence,
    size,
    unknown,
    why_it_fades,
)

# What the tables take; with fewer, numbers are cut.
COLUMNS = 80
# Rows shown at either end of a long sentence.
ROWS = 6
# Columns of a full bar, and of a word.
BAR, WORD = 18, 14


def render(story: Story) -> Group:
    """The story, to be printed by Rich."""
    t = len(story.words)
    return Group(
        _opening(story),
        *_section("1", f"The chain rule: {at('l', t)} asks the recurrent weights", _factors(story)),
        *_section("2", f"d{at('h', t)}/dW is a sum over {plural(t, 'word')}", _terms(story)),
        *_section("3", "What stands in front of the first word", _jacobians(story)),
        *_section("4", "The gated layer on the same sentence", _gated(story)),
        *_section("5", "Was or were? Five networks at growing distance", claim(story.agreement)),
    )


def _section(number: str, title: str, parts: Iterator[Any]) -> list[Any]:
    rule = Rule(Text(f"{number}  {title}", "bold"), align="left", style="dim")
    return [Text(), rule, *(Padding(part, (1, 0, 0, 2)) for part in parts)]


def _opening(story: Story) -> Panel:
    lines = [
        Text(sentence(story), "bold"),
        Text.assemble("What should come next: ", (f"“{story.target}”", "bold"), f", {story.reason}."),
        Text.assemble(("RNN", "bold"), f" {belief(story, story.rnn)}."),
        Text.assemble(("Gated", "bold"), f" {belief(story, story.gated)}."),
    ]
    if story.unknown:
        lines.append(Text(f"Not in the networks' vocabulary, read as <unk>: {unknown(story)}.", "yellow"))
    last = len(story.words)
    title = f"[bold]The chain rule through time[/], from {at('l', last)} back to {at('h', 1)}"
    return Panel(Group(*lines), title=title, padding=(1, 2))


def _factors(story: Story) -> Iterator[Any]:
    t, chain = len(story.words), story.rnn
    hidden, output, loss = at("h", t), at("y", t), at("l", t)
    yield Text("hₜ = tanh(W_hx xₜ + W_hh hₜ₋₁ + b)     yₜ = softmax(W_oh hₜ + b_h)\nlₜ = −ln yₜ[next word]")
    yield Text(f"d{loss}/dW = d{loss}/d{output} · d{output}/d{hidden} · d{hidden}/dW", "bold cyan")
    table = _table(("factor", "left"), ("shape", "right"), ("norm", "right"))
    words, units = chain.output_shape
    table.add_row(f"d{loss}/d{output}", str(words), number(chain.loss_by_output))
    table.add_row(f"d{output}/d{hidden}", f"{words} × {units}", number(chain.output_by_hidden))
    for weight, gradient in chain.gradients.items():
        table.add_row(f"d{hidden}/d{weight}", " × ".join(map(str, gradient.shape)), number(gradient.factor))
    table.add_row()
    for weight, gradient in chain.gradients.items():
        shape = " × ".join(map(str, gradient.shape[1:]))
        table.add_row(Text(f"d{loss}/d{weight}", "bold"), shape, Text(number(gradient.norm), "bold"))
    yield table
    if t > 1:
        before = f"{at('h', t - 1)}, which depends on W too, and so on back to {at('h', 1)}"
        yield Text(f"The first two factors are immediate. The third is not: {hidden} depends on {before}.")


def _terms(story: Story) -> Iterator[Any]:
    t, chain = len(story.words), story.rnn
    yield Text(
        f"Jₖ = dhₖ/dhₖ₋₁.  δ({t},i) = d{at('l', t)}/d{at('h', t)} · the J in front."
        f"  Term i = δ({t},i) · immediate derivative of hᵢ.",
        "dim",
    )
    right = [(head, "right") for head in (f"|δ({t},i)|", "|W_hx term|", "share", "|W_hh term|", "share")]
    table = _table(("i", "right"), ("word", "left"), ("in front", "left"), *right)
    table.columns[1].min_width, table.columns[2].no_wrap = 10, True
    for term in _ends(chain.terms):
        table.add_row(*(_term_row(story, term) if term else ["⋮"] * 8))
    table.add_row()
    for label, values in (
        ("sum", [number(gradient.norm) for gradient in chain.gradients.values()]),
        ("autograd", [number(gradient.autograd) for gradient in chain.gradients.values()]),
        ("difference", [number(gradient.relative_error, 2) for gradient in chain.gradients.values()]),
    ):
        table.add_row("", Text(label, "bold"), "", "", values[0], "", values[1], "")
    yield table
    yield from _left_out(len(chain.terms), "term")
    yield Text(first_word(story, chain))
    yield Text(
        f"{at('h', 0)} is zero, so the first word's own term of W_hh is zero. The difference is relative.", "dim"
    )


def _term_row(story: Story, term: Term) -> list[Any]:
    row: list[Any] = [
        str(term.step),
        _word(story, term.step),
        product(len(story.words), term.step),
        size(term.ln_adjoint),
    ]
    for weight, ln_norm in term.ln_norm.items():
        row += [size(ln_norm), percent(term.share[weight])]
    return row


def _jacobians(story: Story) -> Iterator[Any]:
    if len(story.words) == 1:
        yield Text("Nothing: the first word is the last.")
        return
    yield Text("Jₖ = diag(tanh′) W_hh; |·| is the largest factor by which a matrix stretches a vector.", "dim")
    heads = ("mean tanh′", "largest", "|W_hh|", "|Jₖ|", "|product|", "untrained |Jₖ|", "|product|")
    table = _table(("", "left"), *((head, "right") for head in heads))
    weight, rows = story.rnn.weight_norm["h"], list(zip(_steps(story.rnn), _steps(story.untrained), strict=True))
    for row in _ends(rows):
        if row is None:
            table.add_row(*["⋮"] * 8)
            continue
        (jacobian, reached), (before, reached_before) = row
        assert jacobian.slopes is not None, "the tanh network has no gate"
        mean, largest = jacobian.slopes
        values = [number(mean), number(largest), number(weight), number(jacobian.norm), size(reached)]
        table.add_row(at("J", jacobian.step), *values, number(before.norm), size(reached_before))
    yield table
    yield from _left_out(len(rows), "step Jacobian")
    yield Text(why_it_fades(story))


def _gated(story: Story) -> Iterator[Any]:
    chain = story.gated
    yield Text("hₜ = keepₜ * hₜ₋₁ + writeₜ * candidateₜ", "bold cyan")
    if chain.jacobians:
        paths = list(chain.jacobians[0].paths)
        table = _table(("", "left"), *((head, "right") for head in (*paths, "|Jₖ|, their sum", "|product|")))
        rows = list(_steps(chain))
        for row in _ends(rows):
            if row is None:
                table.add_row(*["⋮"] * (len(paths) + 3))
                continue
            jacobian, reached = row
            norms = [number(norm) for norm in jacobian.paths.values()]
            table.add_row(at("J", jacobian.step), *norms, number(jacobian.norm), size(reached))
        yield table
        yield from _left_out(len(rows), "step Jacobian")
    yield Text(first_word(story, chain))
    errors = " and ".join(number(gradient.relative_error, 2) for gradient in chain.gradients.values())
    yield Text(f"Its terms, too, add up to autograd's values: relative differences {errors}.", "dim")
    yield _shares(story)


def _shares(story: Story) -> Table:
    """Who takes part in dl_t/dW_hx, in both networks."""
    gradient = f"d{at('l', len(story.words))}/dW_hx"
    heads = (("i", "right"), ("word", "left"), ("RNN", "right"), (f"share of {gradient}", "left"))
    table = _table(*heads, ("Gated", "right"), (f"share of {gradient}", "left"))
    for row in _ends(list(zip(story.rnn.terms, story.gated.terms, strict=True))):
        if row is None:
            table.add_row(*["⋮"] * 6)
            continue
        shares = [term.share["W_hx"] for term in row]
        cells: list[Any] = [str(row[0].step), _word(story, row[0].step)]
        for share, colour in zip(shares, ("red", "green"), strict=True):
            cells += [percent(share), Text("█" * round(BAR * min(1.0, max(0.0, share))), colour)]
        table.add_row(*cells)
    return table


def _steps(chain: Chain) -> Iterator[Any]:
    """Every step Jacobian with ln of the norm of the product down to it."""
    return zip(chain.jacobians, (term.ln_product for term in chain.terms[1:]), strict=True)


def _ends(rows: Sequence[Any]) -> list[Any]:
    """All rows, or the first and the last with None between them."""
    return list(rows) if len(rows) <= 2 * ROWS + 1 else [*rows[:ROWS], None, *rows[-ROWS:]]


def _left_out(rows: int, noun: str) -> Iterator[Text]:
    if rows > 2 * ROWS + 1:
        yield Text(f"… {plural(rows - 2 * ROWS, f'more {noun}')}, all in --out story.html", "yellow")


def _word(story: Story, step: int) -> Text:
    text = Text(story.words[step - 1], no_wrap=True)
    text.truncate(WORD, overflow="ellipsis")
    return text


def _table(*heads: tuple[str, Any]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    for head, justify in heads:
        table.add_column(head, justify=justify)
    return table
