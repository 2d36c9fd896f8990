"""Every planted network gets the verdicts that were planted in it, and no others."""

import pytest
from faults.judged import Judged, Score, asked, rivals, throughtimes
from faults.planted import Planted
from faults.rivals import OutputHook, ParameterNorms, SpectralRadius
from faults.suite import HEALTHY, SUITE

from throughtime.findings import ILLNESSES


def network(name):
    return next(one for one in SUITE if one.name == name)


@pytest.mark.parametrize("planted", SUITE, ids=lambda one: one.name)
def test_the_verdicts_are_the_planted_ones(planted):
    exam = planted.built().examined()
    found = {
        name: {one.verdict for one in exam.findings if one.recurrence == name and one.verdict in ILLNESSES}
        for name in exam.recurrences
    }
    assert found == {name: set(planted.expected.get(name, ())) for name in exam.recurrences}, exam.findings
    assert set(planted.expected) <= set(exam.recurrences)


def test_names_are_given_once_and_verdicts_exist():
    assert len({one.name for one in SUITE}) == len(SUITE)
    assert frozenset().union(*(verdicts for one in SUITE for verdicts in one.expected.values())) <= set(ILLNESSES)


def test_a_network_is_the_same_every_time():
    first, second = (network("GRU, torch's initialisation").built() for _ in range(2))
    assert first.losses().equal(second.losses())


@pytest.mark.parametrize(
    ("name", "rival", "says"),
    [
        ("tanh, 0.3 x orthogonal", SpectralRadius(), {"vanishing"}),
        ("ReLU, 1.2 x identity", SpectralRadius(), {"exploding"}),
        ("tanh, non-normal, first grows 19 times", SpectralRadius(), {"vanishing"}),
        # What the hook shows has not passed through the recurrence.
        ("tanh, 0.3 x orthogonal", OutputHook(), set()),
        ("tanh, 0.3 x orthogonal", ParameterNorms(), set()),
        ("readout of zeros", OutputHook(), {"dead"}),
        ("readout of zeros", ParameterNorms(), {"dead"}),
        ("ReLU, 1.2 x identity", ParameterNorms(), {"exploding"}),
        ("tanh, orthogonal", ParameterNorms(), set()),
    ],
)
def test_what_rivals_say(name, rival, says):
    case = network(name).built()
    assert rival.can_look_at(case)
    assert rival.verdicts(case) == says
    assert all(parameter.grad is None or not parameter.grad.any() for parameter in case.model.parameters())


def test_every_rival_can_be_asked_about_every_network_that_it_can_look_at():
    for planted in SUITE:
        for rival in (OutputHook(), ParameterNorms(), SpectralRadius()):
            case = planted.built()
            if rival.can_look_at(case):
                assert rival.verdicts(case) <= rival.answers


def test_a_gated_cell_has_no_spectral_radius():
    assert not SpectralRadius().can_look_at(network("LSTM, forget bias +5").built())


def test_scores_count_what_was_asked():
    def judged(planted, found, hook):
        network = Planted("", HEALTHY[0].build, {"l0": frozenset(planted)} if planted else {})
        return Judged(network, {"l0": frozenset(found)}, {OutputHook.name: frozenset(hook)})

    several = [
        judged({"vanishing"}, {"vanishing"}, ()),
        judged({"exploding"}, {"vanishing"}, {"exploding"}),
        judged({"truncated"}, {"truncated"}, {"vanishing"}),  # which the hook is not asked
        judged((), (), {"exploding"}),
        judged((), {"truncated"}, ()),
    ]
    assert throughtimes(several) == Score(ill=3, detected=2, healthy=2, alarms=1)
    assert rivals(several, OutputHook.name) == Score(ill=2, detected=1, healthy=2, alarms=1)
    assert len(asked(several, OutputHook.name)) == 4
    assert [one.wrong for one in several][1:3] == [{"l0": {"vanishing", "exploding"}}, {}]
