"""The audience of the film: one quantity a file, and none knows another."""

from throughtime.measures.direct_derivative import direct_derivative as direct_derivative
from throughtime.measures.film import Film as Film
from throughtime.measures.film import Measure as Measure
from throughtime.measures.forward_memory import forward_memory as forward_memory
from throughtime.measures.gates import QUANTILES as QUANTILES
from throughtime.measures.gates import GateValues as GateValues
from throughtime.measures.gates import gate_values as gate_values
from throughtime.measures.gradient_map import GradientMap as GradientMap
from throughtime.measures.lag_bands import LagBands as LagBands
from throughtime.measures.lag_profile import LagProfile as LagProfile
from throughtime.measures.lyapunov import Spectrum as Spectrum
from throughtime.measures.lyapunov import lyapunov_spectrum as lyapunov_spectrum
from throughtime.measures.lyapunov import spectrum_of as spectrum_of
from throughtime.measures.saturation import saturation as saturation
from throughtime.measures.singular_values import Transfer as Transfer
from throughtime.measures.singular_values import ln_singular_values as ln_singular_values
from throughtime.measures.singular_values import singular_values as singular_values
from throughtime.measures.singular_values import transfer as transfer
from throughtime.measures.step_jacobian import StepJacobians as StepJacobians
from throughtime.measures.step_jacobian import step_jacobians as step_jacobians
from throughtime.measures.step_terms import StepTerms as StepTerms
from throughtime.measures.time_constants import time_constants as time_constants
from throughtime.measures.total_derivative import TotalDerivative as TotalDerivative
from throughtime.measures.truncation import truncation as truncation
from throughtime.measures.truncation import truncation_of_states as truncation_of_states
from throughtime.measures.weight_terms import WeightTerms as WeightTerms
