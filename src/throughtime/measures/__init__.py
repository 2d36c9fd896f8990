"""The audience of the film: one quantity a file, and none knows another."""

from throughtime.measures.film import Film as Film
from throughtime.measures.film import Measure as Measure
from throughtime.measures.gradient_map import GradientMap as GradientMap
from throughtime.measures.lag_bands import LagBands as LagBands
from throughtime.measures.lag_profile import LagProfile as LagProfile
from throughtime.measures.step_jacobian import StepJacobians as StepJacobians
from throughtime.measures.step_jacobian import step_jacobian as step_jacobian
from throughtime.measures.step_jacobian import step_jacobians as step_jacobians
from throughtime.measures.step_terms import StepTerms as StepTerms
from throughtime.measures.time_constants import time_constants as time_constants
from throughtime.measures.truncation import truncation as truncation
from throughtime.measures.truncation import truncation_of_states as truncation_of_states
from throughtime.measures.weight_terms import WeightTerms as WeightTerms
