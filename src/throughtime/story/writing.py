"""How a story writes numbers and derivatives in plain text."""

import math

from throughtime.story.numbers import Chain, Story

SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
SUPERSCRIPTS = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")
# Sizes between these powers of ten are written out.
LOWEST_PLAIN, HIGHEST_PLAIN = -3, 4
# Below this a share is called about zero.
SMALLEST_SHARE = 0.00005
# Below this ratio of two probabilities a network has no opinion worth the name.
UNDECIDED = 1.5
# Words named at either end of a long list.
WORDS = 12


def at(symbol: str, step: int) -> str:
    """A symbol with its step, such as h₄."""
    return f"{symbol}{str(step).translate(SUBSCRIPTS)}"


def size(ln_norm: float, digits: int = 3) -> str:
    """A size that may be too small for a float, given as its logarithm in nats."""
    if ln_norm == -math.inf:
        return "0"
    power = math.floor(ln_norm / math.log(10))
    mantissa = f"{math.exp(ln_norm - power * math.log(10)):.{digits - 1}f}"
    if mantissa.startswith("10"):
        power, mantissa = power + 1, f"{1:.{digits - 1}f}"
    if LOWEST_PLAIN <= power < HIGHEST_PLAIN:
        return f"{math.exp(ln_norm):.{max(0, digits - 1 - power)}f}"
    return f"{mantissa}·10{str(power).translate(SUPERSCRIPTS)}"


def number(value: float, digits: int = 3) -> str:
    """A size of at least 0."""
    return size(math.log(value) if value else -math.inf, digits)


def percent(share: float) -> str:
    """A part of a whole that may point against it."""
    if abs(share) < SMALLEST_SHARE:
        return "≈\u00a00\u00a0%" if share else "0\u00a0%"
    text = f"{100 * share:.2f}" if abs(share) < 0.01 else f"{100 * share:.1f}"
    return f"{text.replace('-', '−')}\u00a0%"


def product(last: int, step: int) -> str:
    """The step Jacobians in front of the immediate derivative of h_i, J_k = dh_k/dh_{k-1}."""
    factors = [at("J", k) for k in range(last, step, -1)]
    return (
        " ".join(factors) if len(factors) <= 3 and last < 10 else "…".join(dict.fromkeys([*factors[:1], *factors[-1:]]))
    )


def sentence(story: Story) -> str:
    """The words with their positions; of a long sentence the first and the last."""
    numbered = [at(word, step) for step, word in enumerate(story.words, start=1)]
    if len(numbered) <= 2 * WORDS:
        return " ".join(numbered)
    return " ".join([*numbered[:WORDS], f"… {len(numbered) - 2 * WORDS} more words …", *numbered[-WORDS:]])


def unknown(story: Story) -> str:
    """Those words that the networks read as "<unk>", "" if there are none."""
    named = [f"“{word}”" for word in story.unknown[:WORDS]]
    more = len(story.unknown) - len(named)
    named += [f"{more} more"] if more else []
    return ", ".join(named)


def belief(story: Story, chain: Chain) -> str:
    """What a network makes of the word that should come next."""
    was, were = chain.probabilities["was"], chain.probabilities["were"]
    if story.target not in ("was", "were"):
        return f"gives “{story.target}” a probability of {number(chain.probabilities[story.target])}"
    likelier, other = ("were", "was") if were > was else ("was", "were")
    if not min(was, were):
        return f"finds “{likelier}” certain beside “{other}”"
    ratio = max(was, were) / min(was, were)
    if ratio < UNDECIDED:
        return f"cannot tell: “was” {percent(was)}, “were” {percent(were)}"
    return f"finds “{likelier}” {number(ratio, 2)} times as likely as “{other}”"


def first_word(story: Story, chain: Chain) -> str:
    """What the first word has to say in dl_t/dW_hx."""
    last, first = chain.terms[0], chain.terms[-1]
    if len(chain.terms) == 1:
        return "One word, one term: no step Jacobian stands in front of it."
    word, share = story.words[0], percent(first.share["W_hx"])
    return (
        f"On the way back to “{word}” the gradient is multiplied by {plural(len(chain.jacobians), 'step Jacobian')} "
        f"and changes its norm by a factor of {size(first.ln_adjoint - last.ln_adjoint)}. "
        f"The share of “{word}” in the whole gradient: {share}."
    )


def why_it_fades(story: Story) -> str:
    """The two factors of the tanh network's step Jacobians, before training and after it."""
    before, after = story.untrained, story.rnn
    grown = after.weight_norm["h"] > before.weight_norm["h"] and _mean_slope(after) < _mean_slope(before)
    grown = grown and after.terms[-1].ln_product < before.terms[-1].ln_product < 0
    moral = " Small weights shrink the gradient at first; once grown, they saturate tanh, and its slopes shrink it."
    return f"Before training {_two_factors(before)}. After training {_two_factors(after)}.{moral if grown else ''}"


def _two_factors(chain: Chain) -> str:
    stretch, slope = number(chain.weight_norm["h"]), number(_mean_slope(chain))
    reached = size(chain.terms[-1].ln_product)
    return f"the weights stretch by at most {stretch}, the slopes are {slope} on average, and the product is {reached}"


def _mean_slope(chain: Chain) -> float:
    slopes = [jacobian.slopes[0] for jacobian in chain.jacobians if jacobian.slopes]
    return sum(slopes) / len(slopes)


def plural(count: int, noun: str) -> str:
    """A count with its noun."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
