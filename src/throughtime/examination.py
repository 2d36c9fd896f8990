"""The result of an examination: plain labelled arrays, saved and loaded without running anything."""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import xarray as xr

from throughtime import report
from throughtime.findings import Finding, finding_of
from throughtime.measures.reach import reach
from throughtime.notation import WINDOW

SCHEMA = "throughtime.examination/1"


@dataclass(frozen=True)
class Record:
    """Everything measured on one recurrence.

    Args:
        measures: One Dataset with `gradient_map`, `sample_map`, `lag_profile`, `decay_rate`, `truncation_error`, ...
        weight_terms: By weight name, a Dataset with `ln_norm` and `norm_by_lag`; empty without a loss.
        causes: A Dataset with `nats`, `nats_by_lag`, `share` and `gain`.
    """

    measures: xr.Dataset
    weight_terms: Mapping[str, xr.Dataset]
    causes: xr.Dataset


class Examination:
    """What `throughtime.examine` found: per recurrence its measures, weight terms and causes, and the findings.

    Args:
        records: By name of the recurrence, in the order of execution.
        findings: The verdicts.
        tokens: One label per step of the first sample (characters, words), where the data has any.
        notes: What else a reader must know: what was left out and why.
    """

    def __init__(
        self,
        records: Mapping[str, Record],
        findings: tuple[Finding, ...] = (),
        tokens: tuple[str, ...] | None = None,
        notes: tuple[str, ...] = (),
    ) -> None:
        self._records = dict(records)
        self.findings = list(findings)
        self.tokens = tokens
        self.notes = notes

    @property
    def recurrences(self) -> list[str]:
        """The names of all recurrences that were followed, in the order of execution."""
        return list(self._records)

    def __getitem__(self, recurrence: str) -> xr.Dataset:
        """The measures of one recurrence."""
        return self._record(recurrence).measures

    def __iter__(self) -> Iterator[str]:
        return iter(self._records)

    def __len__(self) -> int:
        return len(self._records)

    def weight_terms(self, recurrence: str, weight: str) -> xr.Dataset:
        """The split of dL/dW over loss steps and state steps.

        Args:
            recurrence: Its name.
            weight: A name among `relative_errors`: of a layer "weight_ih", "weight_hh", "bias_ih", "bias_hh", and what
                else its cell has; of a loop, that of the parameter.

        Returns:
            `norm` (loss_step, state_step): Frobenius norm of weight term (t, i), summed over the batch; `ln_norm`: its
            logarithm, also where `norm` is too small for a float; `norm_by_lag` (lag): norm of the sum of all terms
            of one lag. Attribute `relative_error`: all terms summed, against `.grad`. Where a weight is made of a
            parameter (`Cell.made`, a parametrization), these are the terms of what is made, which enters the equations,
            and it is compared with the gradient of that; so is the reach.

        Raises:
            KeyError: No such recurrence or weight, or no loss was followed, as from a checkpoint without code.
        """
        terms = self._record(recurrence).weight_terms
        if not terms:
            followed = "gradient_share" in self[recurrence]
            why = "its weights were not found" if followed else f"no loss was followed for {recurrence!r}"
            raise KeyError(f"weight: {recurrence!r} has no weight terms: {why}")
        if weight not in terms:
            raise KeyError(f"weight: {recurrence!r} has {sorted(terms)}, found {weight!r}")
        # Kept is the logarithm alone: the map of a long sequence is large.
        found = terms[weight]
        return found.assign(norm=(found["ln_norm"].dims, np.exp(found["ln_norm"].values)))

    def relative_errors(self, recurrence: str) -> dict[str, float]:
        """By name, every weight of a recurrence that has weight terms, with all of them summed, against `.grad`.

        Empty where no loss was followed.

        Raises:
            KeyError: No such recurrence.
        """
        terms = self._record(recurrence).weight_terms
        return {weight: float(found.attrs["relative_error"]) for weight, found in terms.items()}

    def causes(self, recurrence: str) -> xr.Dataset:
        """What changed the norm of the adjoint of the carried state, step by step.

        Returns:
            `nats` (cause, loss_step, state_step): the contribution of a cause to ln |dl_t/ds_{i-1}| - ln |dl_t/ds_i|,
            labelled by i; `nats_by_lag` (cause, lag): its mean over the loss steps; `share` (path, loss_step,
            state_step): the part of what arrives at i - 1 that came along a path, adding up to 1; `gain` (path, factor,
            loss_step, state_step): ln of the factor by which the activation slopes, and then the weights, change the
            norm along a path that runs through a gate.

        Raises:
            KeyError: No such recurrence.
        """
        return self._record(recurrence).causes

    def reach(self, fraction: float = 0.99) -> dict[str, int]:
        """How far back each recurrence learns: the BPTT window that suffices.

        The smallest window K, in steps, from which on the gradient truncated to lags below K stays within
        1 - `fraction` of the full one, in relative norm over all weights of the recurrence. It is one of the windows of
        `truncation_error`: all there are in a short sequence or a small network, otherwise those of a logarithmic grid,
        so that the window before it on the grid does not suffice. 0 where no gradient arrives at all. A recurrence for
        which no loss was followed, as from a checkpoint without code, has none and is left out.

        Raises:
            ValueError: `fraction` is not above 0 and below 1.
        """
        found = {name: reach(*windows, 1 - fraction) for name, windows in self._windows("truncation_error", fraction)}
        return {name: window if self._learns(name) else 0 for name, window in found.items()}

    def reach_interval(self, fraction: float = 0.99) -> dict[str, tuple[int, int] | None]:
        """The 95 % interval of `reach`: what all losses of many more samples of the same kind would give.

        It ends at the windows at which the bounds of the truncation error, `truncation_error_interval`, stay within
        1 - `fraction`. Where there is a single sample, it is about what all losses of that sample would give. With a
        `max_lag` no window beyond it is told apart: an end there is at least that. None where nothing can be said:
        there is a single sample and every loss is followed, or one loss, or a recurrence is followed as a loop.

        Raises:
            ValueError: `fraction` is not above 0 and below 1.
        """
        found: dict[str, tuple[int, int] | None] = {}
        for name, (windows, bounds) in self._windows("truncation_error_interval", fraction):
            low, high = (reach(windows, bound, 1 - fraction) for bound in bounds.T)
            found[name] = None if np.isnan(bounds).any() else (low, high)
        return found

    def _learns(self, name: str) -> bool:
        """Whether any gradient arrives, and any of it in the weights, where there are any."""
        record = self._records[name]
        arrives = bool((record.measures["gradient_map"] > -np.inf).any())
        terms = record.weight_terms.values()
        return arrives and (not terms or any(bool((one["ln_norm"] > -np.inf).any()) for one in terms))

    def _windows(self, measure: str, fraction: float) -> Iterator[tuple[str, tuple[np.ndarray, np.ndarray]]]:
        """By recurrence, the windows and what is known of each."""
        if not 0 < fraction < 1:
            raise ValueError(f"fraction: expected a number above 0 and below 1, found {fraction}")
        for name, record in self._records.items():
            if measure in record.measures:
                values = record.measures[measure]
                yield name, (values[WINDOW].values, values.values)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything to one netCDF file, whole or not at all.

        Raises:
            OSError: `path` cannot be written.
        """
        tree = {}
        for index, (name, record) in enumerate(self._records.items()):
            tree[f"/{index}"] = xr.Dataset(attrs={"name": name})
            tree[f"/{index}/measures"] = record.measures
            tree[f"/{index}/causes"] = record.causes
            for number, (weight, terms) in enumerate(record.weight_terms.items()):
                # Not by its name, which may have a slash in it.
                tree[f"/{index}/weight_terms/{number}"] = terms.assign_attrs(name=weight)
        attributes = {
            "schema": SCHEMA,
            "findings": json.dumps([asdict(finding) for finding in self.findings]),
            "tokens": json.dumps(self.tokens),
            "notes": json.dumps(self.notes),
        }
        tree["/"] = xr.Dataset(attrs=attributes)
        with report.written_whole(path) as temporary:
            xr.DataTree.from_dict(tree).to_netcdf(temporary, engine="h5netcdf")

    @property
    def plot(self) -> report.Plots:
        """The pictures of the report, one by one: `exam.plot.gradient_map("encoder.l0")` is a Plotly figure."""
        return report.Plots(self)

    def to_json(self) -> str:
        """Verdicts, reach, decay rates and profiles as JSON; see `throughtime.report.json`."""
        return report.to_json(self)

    def to_html(self, path: str | os.PathLike[str]) -> None:
        """Write the report, one self-contained HTML file, whole or not at all.

        Raises:
            OSError: `path` cannot be written.
        """
        report.write_html({"": self}, path)

    def __rich__(self) -> Any:
        return report.verdicts({"": self})

    def _repr_html_(self) -> str:
        return report.to_html({"": self}, notebook=True)

    def __repr__(self) -> str:
        return f"Examination({', '.join(f'{finding.recurrence}: {finding.verdict}' for finding in self.findings)})"

    def _record(self, recurrence: str) -> Record:
        if recurrence not in self._records:
            raise KeyError(f"recurrence: expected one of {self.recurrences}, found {recurrence!r}")
        return self._records[recurrence]


def _named(key: str, terms: xr.Dataset) -> tuple[str, xr.Dataset]:
    """Under the name that was saved with it."""
    return terms.attrs.pop("name", key), terms


def load(path: str | os.PathLike[str]) -> Examination:
    """An examination written by `Examination.save`. Nothing in the file is executed.

    Raises:
        OSError: `path` cannot be read, or is damaged.
        ValueError: The file holds no examination.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"path: there is no file {os.fspath(path)!r}")
    foreign = f"path: {os.fspath(path)!r} is not an examination saved by this version ({SCHEMA})"
    if not h5py.is_hdf5(path):
        raise ValueError(foreign)
    try:
        with h5py.File(path) as file:
            schema = file.attrs.get("schema")
    except OSError as error:
        raise OSError(f"path: {os.fspath(path)!r} is damaged ({error}); write it again") from None
    if schema != SCHEMA:
        raise ValueError(foreign)
    with xr.open_datatree(path, engine="h5netcdf") as tree:
        records = {}
        for index in sorted(tree.children, key=int):
            node = tree[index]
            weights = node.children["weight_terms"].children if "weight_terms" in node.children else {}
            terms = dict(_named(key, child.to_dataset().load()) for key, child in weights.items())
            measures, causes = (node[part].to_dataset().load() for part in ("measures", "causes"))
            records[node.attrs["name"]] = Record(measures, terms, causes)
        findings, tokens, notes = (json.loads(tree.attrs[part]) for part in ("findings", "tokens", "notes"))
    return Examination(
        records,
        tuple(finding_of(finding) for finding in findings),
        None if tokens is None else tuple(tokens),
        tuple(notes),
    )
