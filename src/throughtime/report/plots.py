"""The pictures of the report, one by one, in Python: `exam.plot`."""

import plotly.graph_objects as go

from throughtime.notation import STATE
from throughtime.report.figures import map_of
from throughtime.report.figures.drawing import text
from throughtime.report.pictures import PICTURES
from throughtime.report.readings import Examined, Reading, readings


class Plots:
    """The pictures of an examination as Plotly figures, which a notebook shows.

    Every method draws what the report draws. A picture of several recurrences takes their names, none for all of them.
    `figure.write_html("map.html")` and, with the package kaleido, `figure.write_image("map.svg")` write one to a file.

    All raise a KeyError for a recurrence that is not there, and a ValueError where nothing was measured to be drawn.

    Args:
        examination: What they are of.
    """

    def __init__(self, examination: Examined) -> None:
        self._examination = examination

    def overview(self, *recurrences: str) -> go.Figure:
        """A row of colours for every recurrence: ln of the gradient's norm in nats over the lag in steps."""
        return self._drawn("overview", recurrences)

    def gradient_map(self, recurrence: str, state: str | None = None) -> go.Figure:
        """ln |dl_t/ds_i| in nats over loss steps and state steps.

        Args:
            recurrence: Its name.
            state: "h", or "c" of an LSTM; the carried one where none is named.
        """
        (reading,) = self._readings((recurrence,))
        states = [str(name) for name in reading.measures[STATE].values]
        state = state or reading.carried
        if state not in states:
            raise KeyError(f"state: {recurrence!r} has {states}, found {state!r}")
        of = text(f"{reading.label}, {'dl' if reading.has_loss else 'v·dh'}/d{state}")
        return _titled(map_of(reading, state), f"{PICTURES['gradient_map'].title}: {of}")

    def causes(self, recurrence: str) -> go.Figure:
        """What shrank the gradient, added up from the last step back to the first, in nats.

        Args:
            recurrence: Its name.
        """
        return self._drawn("causes", (recurrence,))

    def lag_profile(self, *recurrences: str) -> go.Figure:
        """ln of the gradient's norm in nats against the lag in steps, with its interval over the samples."""
        return self._drawn("lag_profile", recurrences)

    def sample_profile(self, recurrence: str) -> go.Figure:
        """The lag profile of every sample, in nats against the lag in steps.

        Args:
            recurrence: Its name.
        """
        return self._drawn("sample_profile", (recurrence,))

    def padding(self, *recurrences: str) -> go.Figure:
        """What part of the steps is padding, and what part of the gradient arrives there, in percent."""
        return self._drawn("padding", recurrences)

    def gradient_share(self, *recurrences: str) -> go.Figure:
        """The part of dL/dW that comes from each lag, in percent."""
        return self._drawn("gradient_share", recurrences)

    def truncation_error(self, *recurrences: str) -> go.Figure:
        """The relative error of the gradient in percent against the BPTT window in steps."""
        return self._drawn("truncation_error", recurrences)

    def signal_to_noise(self, *recurrences: str) -> go.Figure:
        """How much of what the weights learn from each lag is the same in all samples, in percent."""
        return self._drawn("signal_to_noise", recurrences)

    def mean_causes(self, *recurrences: str) -> go.Figure:
        """What changes the gradient's norm at a step on average, by cause, in nats per step."""
        return self._drawn("mean_causes", recurrences)

    def forward_memory(self, *recurrences: str) -> go.Figure:
        """How far an input moves later states, above how far a gradient comes back, both in nats from lag 0."""
        return self._drawn("forward_memory", recurrences)

    def direct_derivative(self, *recurrences: str) -> go.Figure:
        """ln of the derivative along the readout alone, and of the total one, in nats over the steps."""
        return self._drawn("direct_derivative", recurrences)

    def elasticity(self, *recurrences: str) -> go.Figure:
        """ln of the part of itself by which a loss would change with its state, in nats over the losses."""
        return self._drawn("elasticity", recurrences)

    def gates(self, recurrence: str) -> go.Figure:
        """The values of every gate of a cell and the saturated part of them, in percent.

        Args:
            recurrence: Its name.
        """
        return self._drawn("gates", (recurrence,))

    def gate_range(self, recurrence: str) -> go.Figure:
        """What every unit keeps, writes and reads at least and at most, over all steps.

        Args:
            recurrence: Its name.
        """
        return self._drawn("gate_range", (recurrence,))

    def time_constants(self, *recurrences: str) -> go.Figure:
        """How many units of a gated cell hold what they carry for how many steps."""
        return self._drawn("time_constants", recurrences)

    def step_jacobian(self, *recurrences: str) -> go.Figure:
        """ln of the largest singular value of every step's Jacobian, in nats."""
        return self._drawn("step_jacobian", recurrences)

    def singular_values(self, recurrence: str) -> go.Figure:
        """ln of the singular values of products of k step Jacobians, in nats, and their stable rank.

        Args:
            recurrence: Its name.
        """
        return self._drawn("singular_values", (recurrence,))

    def lyapunov(self, *recurrences: str) -> go.Figure:
        """The leading Lyapunov exponents with their errors, in nats per step."""
        return self._drawn("lyapunov", recurrences)

    def rates(self, *recurrences: str) -> go.Figure:
        """Three estimates of the decay and what makes them differ, in nats per step."""
        return self._drawn("rates", recurrences)

    def _readings(self, recurrences: tuple[str, ...]) -> list[Reading]:
        there = {reading.recurrence: reading for reading in readings({"": self._examination})}
        for name in recurrences:
            if name not in there:
                raise KeyError(f"recurrence: expected one of {list(there)}, found {name!r}")
        return [there[name] for name in recurrences or there]

    def _drawn(self, name: str, recurrences: tuple[str, ...]) -> go.Figure:
        asked, picture = self._readings(recurrences), PICTURES[name]
        if not any(picture.shows(reading) for reading in asked):
            labels = ", ".join(reading.label for reading in asked)
            raise ValueError(f"{name}: nothing of it was measured of {labels}; see the variables of exam[recurrence]")
        alone = f": {text(asked[0].label)}" if len(asked) == 1 else ""
        return _titled(picture.draw(asked), picture.title + alone)


def _titled(figure: go.Figure, title: str) -> go.Figure:
    room = 44  # pixels above the picture
    place = {"x": 0, "xref": "paper", "xanchor": "left", "y": 0.985, "yref": "container", "yanchor": "top"}
    return figure.update_layout(
        title={"text": title, **place},
        margin_t=room,
        height=figure.layout.height - figure.layout.margin.t + room,
        paper_bgcolor="white",
        legend={"orientation": "v", "x": 1.02, "y": 1, "yanchor": "top"},
    )
