"""The film of a loop whose graph was left whole: autograd itself gives the total derivatives of its states."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeGuard

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from throughtime.adjoint.scaled import Scaled, or_zero
from throughtime.adjoint.segments import InputAdjoint, batched_vjp
from throughtime.adjoint.sweep import Frame
from throughtime.capture import AdjointNotFinite, Loop
from throughtime.cells import Named
from throughtime.notation import turned

# Sources whose vector-Jacobian products are taken in one call.
SOURCES_AT_ONCE = 32


@dataclass(frozen=True)
class LoopFrame(Frame):
    """A frame of a loop.

    Args:
        immediate: By weight, dl_t/dW through this step alone, (active, *weight), on the scale `log_scale`; for step 1
            and later.
        log_scale: (active,), nats.
        film: The film it belongs to.
    """

    immediate: Named
    log_scale: Float[Tensor, " active"]
    film: LoopFilm

    def through_step(self, rows: Tensor) -> Scaled:
        """What reaches s_{i-1} of the adjoint of s_i, by whatever way leads from one to the other.

        Args:
            rows: Which of the active sources.
        """
        return self.film.through_step(self.step, self.adjoint[rows])


class LoopFilm:
    """Plays a loop.

    Args:
        loop: The loop.
        losses: One loss per step.
        ends: The tensors from which opened runs start: what else the loop may feed.
    """

    def __init__(self, loop: Loop, losses: Float[Tensor, " source"], ends: Sequence[Tensor]) -> None:
        self.loop, self._losses = loop, losses
        self._starts: list[Tensor] = [
            value for values in loop.visited.values() for value in values if _has_graph(value)
        ]
        self._starts += [copy for steps in loop.copies.values() for step in steps for copy in step]
        # A tensor may be two states at once.
        self._starts = list({id(start): start for start in self._starts}.values())
        # By end, which of the starts it depends on.
        self._reached = {id(end): found for end in (losses, *ends) if (found := self._reaching(end))}

    def reached_from(self, ends: set[int]) -> bool:
        """Whether the losses depend on the loop, directly or through one of the given ends."""
        return any(end in self._reached for end in (id(self._losses), *ends))

    def feeds(self, end: Tensor) -> bool:
        """Whether a tensor depends on the loop."""
        return id(end) in self._reached

    @property
    def bytes_per_source(self) -> int:
        """What its derivatives take for one source."""
        return sum(2 * start.nbytes for start in self._starts)

    def last_reached(self, sources: Int[Tensor, " source"]) -> Int[Tensor, " source"]:
        """For every source the last step whose state its loss depends on; -1 where there is none."""
        values = next(iter(self.loop.visited.values()))
        last = torch.full_like(sources, -1)
        for step in range(self.loop.steps, 0, -1):
            value = values[step]
            if not (last < 0).any():
                break
            if value is None or not _has_graph(value):
                continue
            open_ones = (last < 0).nonzero().squeeze(-1)
            rows = self._one_hot(sources[open_ones])
            found = torch.autograd.grad(self._losses, value, rows.sum(0), retain_graph=True, allow_unused=True)[0]
            if found is None:
                continue
            gradients = batched_vjp(self._losses, [value], rows)[0]
            reached = (gradients != 0).flatten(1).any(dim=1).cpu()
            last[open_ones[reached]] = step
        return last

    def out_of_step(self) -> Int[Tensor, " source"] | None:
        """For every loss, the last step whose state it depends on, where that is not its own step.

        So it is where a sequence was turned around by hand, or all losses read the loop at its end only. None
        otherwise: a loss depends on earlier steps in any case, so that other orders cannot be told.
        """
        first, last = torch.zeros(1, dtype=torch.long), next(iter(self.loop.visited.values()))[-1]
        if len(self._losses) < 2 or last is None or not _has_graph(last):
            return None
        row = self._one_hot(first)[0]
        (found,) = torch.autograd.grad(self._losses, last, row, retain_graph=True, allow_unused=True)
        if found is None or not found.any():
            return None
        labels = torch.arange(1, len(self._losses) + 1)
        if self._read_at_the_end_only():
            return torch.full_like(labels, self.loop.steps)
        read = self.last_reached(labels - 1)
        return read if (read == turned(labels, self.loop.steps, True))[read > 0].all() else None

    def _read_at_the_end_only(self) -> bool:
        """Whether all that the losses send to the last state but one comes by way of the last one."""
        last, before = (
            [one for values in self.loop.visited.values() if (one := values[step]) is not None and _has_graph(one)]
            for step in (-1, -2)
        )
        weights = torch.rand(len(self._losses), generator=torch.Generator().manual_seed(0)).to(self._losses) + 0.5
        if not before or any(end != id(self._losses) for end in self._reached):
            return False

        def pulled(ends: Sequence[Tensor], of: Sequence[Tensor], given: Sequence[Tensor]) -> list[Tensor]:
            found = torch.autograd.grad(ends, of, given, retain_graph=True, allow_unused=True)
            return [torch.zeros_like(one) if value is None else value for one, value in zip(of, found, strict=True)]

        whole = pulled([self._losses], before, [weights])
        through = pulled(last, before, pulled([self._losses], last, [weights]))
        return all(torch.allclose(one, other, rtol=1e-4) for one, other in zip(whole, through, strict=True))

    def last_read_by_sample(self) -> Int[Tensor, " batch"]:
        """The last step whose state the only loss depends on, of every sample; 0 for a sample that has none.

        The last step of all where it depends on the loop through opened runs as well.
        """
        last = torch.zeros(self.loop.batch, dtype=torch.long)
        if any(end != id(self._losses) for end in self._reached):
            return torch.full_like(last, self.loop.steps)
        starts = self._reached.get(id(self._losses), [])
        found = torch.autograd.grad(self._losses.sum(), starts, retain_graph=True) if starts else ()
        gradients = {id(start): gradient for start, gradient in zip(starts, found, strict=True)}
        for state, visited in self.loop.visited.items():
            for step, value in enumerate(visited[1:], start=1):
                if id(value) in gradients:
                    rows = self.loop.rows(state, gradients[id(value)].unsqueeze(0))[0]
                    read = (rows != 0).any(dim=-1).cpu()
                    last = torch.where(read, torch.maximum(last, torch.tensor(step)), last)
        return last

    def play(
        self,
        sources: Int[Tensor, " source"],
        above: Sequence[InputAdjoint],
        last_step: Int[Tensor, " source"],
    ) -> tuple[Iterator[LoopFrame], Bool[Tensor, "source batch"]]:
        """The film, from the last state to the first; and whether a source reads a sample at all.

        Args:
            sources: Indices into the losses.
            above: The adjoints of everything that opened runs started from.
            last_step: The smallest step to which each source is followed.
        """
        total, scale = self._total(sources, above)
        read = torch.zeros(len(sources), self.loop.batch, dtype=torch.bool)
        for state, visited in self.loop.visited.items():
            for value in visited:
                if id(value) in total:
                    read |= (self.loop.rows(state, total[id(value)]) != 0).any(dim=-1).cpu()
        return self._frames(total, scale, last_step), read

    def _frames(
        self, total: Mapping[int, Tensor], scale: Float[Tensor, " source"], last_step: Int[Tensor, " source"]
    ) -> Iterator[LoopFrame]:
        started = torch.zeros(len(scale), dtype=torch.bool)
        for step in range(self.loop.steps, -1, -1):
            values = {}
            for state, visited in self.loop.visited.items():
                found = total.get(id(visited[step]))
                values[state] = self._nothing(state, len(scale)) if found is None else self.loop.rows(state, found)
            terms = {} if step == 0 else self._immediate(step, total)
            # A loss may reach the weights of a step past its states, through what else the step puts out.
            for value in (*values.values(), *terms.values()):
                started = started | (value != 0).reshape(len(value), -1).any(1).cpu()
            active = (started & (last_step <= step)).nonzero().squeeze(-1)
            if not len(active):
                continue
            adjoint = Scaled(
                {state: value[active].contiguous() for state, value in values.items()},
                scale[active].unsqueeze(1).expand(-1, self.loop.batch).clone(),
            )
            try:
                adjoint = adjoint.normalised_()
            except AdjointNotFinite as error:
                raise error.changed(step=step, sources=active[error.sources]) from None
            immediate = {name: value[active] for name, value in terms.items()}
            yield LoopFrame(step, active, adjoint, immediate, scale[active], self)

    def through_step(self, step: int, adjoint: Scaled) -> Scaled:
        """See `LoopFrame.through_step`."""
        loop, visited = self.loop, self.loop.visited
        # Samples may be mixed, so that all of a source need one scale.
        scale = or_zero(adjoint.log_scale.max(dim=-1, keepdim=True).values)
        factor = (adjoint.log_scale - scale).exp().unsqueeze(-1)
        here = {state: value for state, values in visited.items() if _has_graph(value := values[step])}
        there = {state: value for state, values in visited.items() if _has_graph(value := values[step - 1])}
        arrived = {state: self._nothing(state, len(scale)) for state in loop.states}
        if here and there:
            whole = [
                loop.shaped(state, adjoint.values[state] * factor.to(loop.dtype), value)
                for state, value in here.items()
            ]
            outputs, alone = list(here.values()), whole
            # A state that another is computed from has the other's part in its adjoint; the deepest has all of them.
            for _ in outputs[1:]:
                among = _vjp(outputs, outputs, alone)
                alone = [one + all_ - part for one, all_, part in zip(alone, whole, among, strict=True)]
            for state, part in zip(there, _vjp(outputs, list(there.values()), alone), strict=True):
                arrived[state] = loop.rows(state, part)
        return Scaled(arrived, scale.expand_as(adjoint.log_scale))

    def outside(self, sources: Int[Tensor, " source"]) -> Named:
        """By weight, the gradient of the sources' losses that comes from elsewhere than the loop's steps."""
        ones = self._one_hot(sources).sum(0)
        found = {}
        for name, uses in self.loop.outside.items():
            gradients = torch.autograd.grad(self._losses, list(uses), ones, retain_graph=True, allow_unused=True)
            found[name] = sum((one.detach() for one in gradients if one is not None), torch.zeros_like(uses[0])).cpu()
        return found

    def _reaching(self, end: Tensor) -> list[Tensor]:
        if not end.requires_grad or not self._starts:
            return []
        found = torch.autograd.grad(end.sum(), self._starts, retain_graph=True, allow_unused=True)
        return [start for start, gradient in zip(self._starts, found, strict=True) if gradient is not None]

    def _total(self, sources: Tensor, above: Sequence[InputAdjoint]) -> tuple[dict[int, Tensor], Tensor]:
        """By start, the total derivative (source, *start), and the scale that all of them stand on."""
        scale = self._losses.new_zeros(len(sources), dtype=torch.float64)
        parts = [(self._losses, self._one_hot(sources), scale)]
        for adjoint in above:
            if id(adjoint.end) in self._reached:
                largest = adjoint.log_scale.flatten(1).max(dim=1).values
                shape = (-1, *[1] * (adjoint.log_scale.dim() - 1))
                factor = (adjoint.log_scale - or_zero(largest).reshape(shape)).exp().unsqueeze(-1)
                parts.append((adjoint.end, adjoint.values * factor.to(adjoint.values.dtype), largest))
                scale = torch.maximum(scale, largest)
        total: dict[int, Tensor] = {}
        for end, gradients, own_scale in parts:
            starts = self._reached.get(id(end), [])
            if not starts:
                continue
            chunks = [batched_vjp(end, starts, some) for some in gradients.split(SOURCES_AT_ONCE)]
            for start, columns in zip(starts, zip(*chunks, strict=True), strict=True):
                found = torch.cat(columns)
                weight = (own_scale - scale).exp().to(found.dtype)
                found = found * weight.reshape(-1, *[1] * (found.dim() - 1))
                total[id(start)] = total[id(start)] + found if id(start) in total else found
        return total, scale

    def _one_hot(self, sources: Tensor) -> Tensor:
        return torch.nn.functional.one_hot(sources, len(self._losses)).to(self._losses)

    def _nothing(self, state: str, rows: int) -> Tensor:
        return self._losses.new_zeros(rows, self.loop.batch, self._widths[state], dtype=self.loop.dtype)

    @cached_property
    def _widths(self) -> dict[str, int]:
        return {
            state: self.loop.rows(state, next(v for v in values if v is not None).unsqueeze(0)).shape[-1]
            for state, values in self.loop.visited.items()
        }

    def _immediate(self, step: int, total: Mapping[int, Tensor]) -> Named:
        found: Named = {}
        for name, steps in self.loop.copies.items():
            parts = [total[id(copy)] for copy in steps[step - 1] if id(copy) in total]
            if parts:
                found[name] = torch.stack(parts).sum(0) if len(parts) > 1 else parts[0]
        return found


def _vjp(outputs: Sequence[Tensor], starts: Sequence[Tensor], gradients: Sequence[Tensor]) -> list[Tensor]:
    """Vector-Jacobian products of several outputs at once, zeros for what is not reached."""
    ones = [torch.ones_like(one) for one in outputs]
    probe = torch.autograd.grad(outputs, starts, ones, retain_graph=True, allow_unused=True)
    reached = [start for start, gradient in zip(starts, probe, strict=True) if gradient is not None]
    rows = len(gradients[0])
    found = iter(batched_vjp(outputs, reached, gradients) if reached else ())
    return [
        next(found) if gradient is not None else start.new_zeros(rows, *start.shape)
        for start, gradient in zip(starts, probe, strict=True)
    ]


def _has_graph(value: Tensor | None) -> TypeGuard[Tensor]:
    return value is not None and value.requires_grad
