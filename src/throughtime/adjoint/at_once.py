"""How much is worked on together."""

from typing import NamedTuple


class AtOnce(NamedTuple):
    """How many numbers are worked on together.

    Args:
        on_cpu: As many as its caches hold.
        elsewhere: On a GPU, so many that a pass over them takes longer than to call it.
    """

    on_cpu: int
    elsewhere: int

    def where(self, is_cpu: bool) -> int:
        """On the CPU, or elsewhere."""
        return self.on_cpu if is_cpu else self.elsewhere
