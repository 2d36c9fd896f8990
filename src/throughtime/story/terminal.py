"""A story in the terminal."""

from collections.abc import Sequence
from typing import Any

from rich.console import Group
from rich.padding import Padding
from rich.panel import Panel
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from throughtime.notation import UPDATE_PATHS
from throughtime.story.claim import claim
from throughtime.story.numbers import Chain, Story, Term
from throughtime.story.writing import at, belief, first_word, number, percent, plural, product, sentence, size

# Rows shown at either end of a long sentence.
ROWS = 6
BAR = 16  # columns


def render(story: Story) -> Group:
    """The story, to be printed by Rich."""
    return Group(
        _opening(story),
        *_section("1", "The chain rule", _factors(story)),
        *_section("2", f"dh_t/dW is a sum over {plural(len(story.words), 'word')}", _terms(story)),
        *_section("3", "What stands in front of the first word", _jacobians(story)),
        *_section("4", "The gated layer on the same sentence", _gated(story)),
        *_section("5", "Was or were? Five networks, growing distance", _agreement(story)),
    )


def _section(number: str, title: str, parts: Sequence[Any]) -> list[Any]:
    rule = Rule(Text(f"{number}  {title}", "bold"), align="left", style="dim")
    return [Text(), rule, *(Padding(part, (1, 0, 0, 2)) for part in parts)]


def _opening(story: Story) -> Panel:
    t = len(story.words)
    lines = [
        Text(sentence(story), "bold"),
        Text.assemble("What should come next: ", (f"“{story.target}”", "bold"), f", {story.reason}."),
        Text(f"RNN: {belief(story.rnn)}."),
        Text(f"Gated: {belief(story.gated)}."),
    ]
    if story.unknown:
        named = ", ".join(f"“{word}”" for word in story.unknown)
        lines.append(Text(f"Not in the networks' vocabulary and read as <unk>: {named}.", "yellow"))
    title = f"[bold]The chain rule through time[/], from {at('l', t)} back to {at('h', 1)}"
    return Panel(Group(*lines), title=title, padding=(1, 2))


def _factors(story: Story) -> list[Any]:
    t, chain = len(story.words), story.rnn
    h, y, loss = at("h", t), at("y", t), at("l", t)
    table = _table("factor", "shape", "norm")
    for column in table.columns[1:]:
        column.justify = "right"
    output = f"{chain.output_shape[0]} × {chain.output_shape[1]}"
    table.add_row(f"d{loss}/d{y}", f"{chain.output_shape[0]}", number(chain.loss_by_output))
    table.add_row(f"d{y}/d{h}", output, number(chain.output_by_hidden))
    for weight, gradient in chain.gradients.items():
        table.add_row(f"d{h}/d{weight}", " × ".join(map(str, gradient.shape)), number(gradient.factor))
    table.add_section()
    for weight, gradient in chain.gradients.items():
        shape = " × ".join(map(str, gradient.shape[1:]))
        table.add_row(Text(f"d{loss}/d{weight}, their product", "bold"), shape, Text(number(gradient.norm), "bold"))
    return [
        Text(f"h_t = tanh(W_hx x_t + W_hh h_t-1 + b)    y_t = softmax(W_oh h_t + b_h)\n"
             f"l_t = −ln y_t[next word]; here {at('l', t)} = {number(chain.loss)} nats"),
        Text(f"d{loss}/dW = d{loss}/d{y} · d{y}/d{h} · d{h}/dW", "bold cyan"),
        table,
        Text("The first two factors are immediate. The third is not: "
             f"{h} depends on {at('h', t - 1)}, which depends on W too." if t > 1 else
             "All three factors are immediate: there is no word before the first."),
    ]  # fmt: skip


def _terms(story: Story) -> list[Any]:
    t, chain = len(story.words), story.rnn
    table = _table("i", "word", "in front", "norm", f"|δ({t},i)|", "W_hx term", "share", "W_hh term", "share")
    for index in (0, *range(3, 9)):
        table.columns[index].justify = "right"
    table.columns[1].max_width = 14
    for term in _ends(chain.terms):
        table.add_row(*(_term_row(story, term) if term else ["⋮"] * 9))
    table.add_section()
    gradients = [chain.gradients[weight] for weight in ("W_hx", "W_hh")]
    for label, values in (
        ("the sum of all terms", [number(gradient.norm) for gradient in gradients]),
        ("autograd", [number(gradient.autograd) for gradient in gradients]),
        ("relative difference", [number(gradient.relative_error, 2) for gradient in gradients]),
    ):
        table.add_row("", Text(label, "bold", no_wrap=True, overflow="ignore"), "", "", "", values[0], "", values[1], "")
    notes = [Text("J_k = dh_k/dh_k-1 = diag(tanh′) W_hh.  Term i = δ(t,i) · immediate derivative of h_i;  "
                  "δ(t,i) = dl_t/dh_t · the J in front.", "dim")]  # fmt: skip
    return [*notes, table, *_hidden(len(chain.terms), "terms"), Text(first_word(story, chain)), _initial_state(story)]
