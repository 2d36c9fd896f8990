"""How a story writes numbers and derivatives in plain text."""

import math

from throughtime.story.numbers import Chain, Story

SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
SUPERSCRIPTS = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")
# Sizes between these powers of ten are written out.
LOWEST_PLAIN, HIGHEST_PLAIN = -3, 4


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
    if share == 0:
        return "0 %"
    if abs(share) < 0.00005:
        return "<0.01 %" if share > 0 else ">−0.01 %"
    text = f"{100 * share:.2f}" if abs(share) < 0.01 else f"{100 * share:.1f}"
    return f"{text.replace('-', '−')} %"


def product(last: int, step: int) -> str:
    """The step Jacobians in front of the immediate derivative of h_i, J_k = dh_k/dh_{k-1}."""
    factors = [at("J", k) for k in range(last, step, -1)]
    return " ".join(factors) if len(factors) <= 3 else f"{factors[0]} … {factors[-1]}"


def sentence(story: Story) -> str:
    """The words with their positions."""
    return " ".join(at(word, step) for step, word in enumerate(story.words, start=1))


def belief(chain: Chain) -> str:
    """What a network makes of the two verbs."""
    was, were = chain.probabilities["was"], chain.probabilities["were"]
    likelier, other = ("were", "was") if were >= was else ("was", "were")
    ratio = chain.probabilities[likelier] / chain.probabilities[other]
    if ratio < UNDECIDED:
        return f"“was” and “were” about equally likely ({percent(was)} and {percent(were)})"
    return f"“{likelier}” {ratio:.3g} times as likely as “{other}” ({percent(max(was, were))} and {percent(min(was, were))})"


# Below this ratio of probabilities a network has no opinion worth the name.
UNDECIDED = 1.5


def first_word(story: Story, chain: Chain) -> str:
    """What the first word has to say in dl_t/dW_hx."""
    last, first = chain.terms[0], chain.terms[-1]
    if len(chain.terms) == 1:
        return "One word, one term: no step Jacobian stands in front of it."
    fading = size(first.ln_adjoint - last.ln_adjoint)
    return (
        f"On the way back to “{story.words[0]}” the gradient is multiplied by {len(chain.jacobians)} step Jacobians "
        f"and changes its norm by a factor of {fading}. Its share of the whole gradient: {percent(first.share['W_hx'])}."
    )


def plural(count: int, noun: str) -> str:
    """A count with its noun."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
