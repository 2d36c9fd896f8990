"""Products of a sequence with weights, some steps at a time, for compiled loops over it.

All steps at once would leave a product as large as the sequence in memory, far from where the loop reads it; a single
step would bring the weights from memory for the few rows of a batch. Some steps lie in the caches, and are enough rows.
"""

from typing import Any

import numpy as np

from throughtime.compiled.fast import fast
from throughtime.compiled.product import add_product

# Rows, of one step after the other, that are multiplied at a time: as many as bring the weights from memory seldom
# enough; for the weights' own gradients, which are brought and written back, more.
ROWS_AHEAD = 128
ROWS_BEHIND = 256
# Numbers between two rows whose columns are read too: were they a power of 2 apart, few of a column would fit a cache.
BETWEEN = 16


@fast
def room(together: int, rows: int, columns: int, like: Any) -> Any:
    """Memory for as many steps as have so many rows together, one at least.

    Args:
        together: How many rows these are.
        rows: Of a step, one at least.
        columns: Of a row.
        like: What has the type of the numbers.
    """
    return np.empty((max(1, together // rows) * rows, columns), like.dtype)


@fast
def numbered(rows: int) -> Any:
    """The numbers 0 .. rows - 1, for loops over rows whose inner loop, over units, is to run in vector registers.

    LLVM tests beforehand whether arrays overlap. Of a range of rows it would test all at once, which fails where gates
    lie side by side in a row, and go on without vectors; of numbers in memory it can test one row at a time only.
    """
    return np.arange(rows)


@fast
def lay_down(read: Any, place: int, sequence: Any, t: int, first: int, end: int) -> None:
    """A step of a sequence, some of its samples, as rows of what lies one after the other.

    Args:
        read: (rows of some steps, m)
        place: The first of its rows.
        sequence: (time, batch, m)
        t: The step.
        first: Of the samples.
        end: Behind the last sample.
    """
    for sample in range(first, end):
        for column in range(sequence.shape[2]):
            read[place + sample - first, column] = sequence[t, sample, column]


@fast
def multiply_ahead(
    out: Any, read: Any, sequence: Any, weight: Any, bias: Any, number: int, reverse: bool, first: int, end: int
) -> None:
    """sequence @ weight + bias, of as many of the next steps as there is room for, in the order in which they are read.

    Args:
        out: (rows of these steps, n)
        read: (rows of these steps, m), in which the rows are laid one after the other.
        sequence: (time, batch, m)
        weight: (m, n)
        bias: (n,)
        number: How many steps have been read.
        reverse: Whether they are read from the last one.
        first: Of the samples.
        end: Behind the last sample.
    """
    rows, steps = end - first, len(sequence)
    count = min(len(out) // rows, steps - number)
    for step in range(number, number + count):
        t = steps - 1 - step if reverse else step
        lay_down(read, (step - number) * rows, sequence, t, first, end)
    for row in range(count * rows):
        for column in range(len(bias)):
            out[row, column] = bias[column]
    add_product(out[: count * rows], read[: count * rows], weight)


@fast
def add_gradients(of_weight: Any, of_bias: Any, grad: Any, read: Any) -> None:
    """What some steps add to the gradients of a weight and of its bias.

    Args:
        of_weight: (n, m)
        of_bias: (n,)
        grad: At the products of these steps, (rows of these steps, n or more); what is beyond n is not read.
        read: What was multiplied, (rows of these steps, m).
    """
    add_product(of_weight, grad.T, read)
    # First by themselves, so that the many numbers of a long sum are added up in parts, which keeps rounding small.
    of_steps = np.zeros_like(of_bias)
    for row in range(len(grad)):
        for column in range(len(of_bias)):
            of_steps[column] += grad[row, column]
    for column in range(len(of_bias)):
        of_bias[column] += of_steps[column]


@fast
def give_back(out: Any, grad: Any, weight: Any, read: Any, number: int, reverse: bool, first: int, end: int) -> None:
    """The gradients at the sequence of the steps that have just been gone back through.

    Args:
        out: (time, batch, m), or of no steps, where nobody asks.
        grad: At the products of these steps, (rows of these steps, n or more); what is beyond n is not read.
        weight: (n, m)
        read: (rows of these steps or more, m), which is written over.
        number: How many steps had been gone back through before.
        reverse: Whether the sequence was read from its last step, and gone back through from its first.
        first: Of the samples.
        end: Behind the last sample.
    """
    if len(out) == 0:
        return
    rows, steps = end - first, len(out)
    for row in range(len(grad)):
        for column in range(out.shape[2]):
            read[row, column] = 0
    add_product(read[: len(grad)], grad, weight)
    for step in range(number, number + len(grad) // rows):
        t, place = (step if reverse else steps - 1 - step), (step - number) * rows
        for row in range(rows):
            for column in range(out.shape[2]):
                out[t, first + row, column] = read[place + row, column]
