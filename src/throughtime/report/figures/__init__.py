"""The pictures of the report, one a file: the function that draws it from readings, and its words on the page."""

from throughtime.report.figures.cause_split import cause_split as cause_split
from throughtime.report.figures.causes_by_lag import CAUSES_BY_LAG as CAUSES_BY_LAG
from throughtime.report.figures.direct_derivative import DIRECT_DERIVATIVE as DIRECT_DERIVATIVE
from throughtime.report.figures.elasticity import ELASTICITY as ELASTICITY
from throughtime.report.figures.forward_memory import FORWARD_MEMORY as FORWARD_MEMORY
from throughtime.report.figures.gate_range import GATE_RANGE as GATE_RANGE
from throughtime.report.figures.gates import GATES as GATES
from throughtime.report.figures.gradient_map import GRADIENT_MAP as GRADIENT_MAP
from throughtime.report.figures.gradient_map import map_of as map_of
from throughtime.report.figures.gradient_share import GRADIENT_SHARE as GRADIENT_SHARE
from throughtime.report.figures.lag_profile import LAG_PROFILE as LAG_PROFILE
from throughtime.report.figures.lyapunov import LYAPUNOV as LYAPUNOV
from throughtime.report.figures.mean_causes import MEAN_CAUSES as MEAN_CAUSES
from throughtime.report.figures.mean_causes import causes_drawn as causes_drawn
from throughtime.report.figures.overview import OVERVIEW as OVERVIEW
from throughtime.report.figures.padding import PADDING as PADDING
from throughtime.report.figures.rates import RATES as RATES
from throughtime.report.figures.sample_profile import SAMPLE_PROFILE as SAMPLE_PROFILE
from throughtime.report.figures.signal_to_noise import SIGNAL_TO_NOISE as SIGNAL_TO_NOISE
from throughtime.report.figures.singular_values import SINGULAR_VALUES as SINGULAR_VALUES
from throughtime.report.figures.step_jacobian import STEP_JACOBIAN as STEP_JACOBIAN
from throughtime.report.figures.time_constants import TIME_CONSTANTS as TIME_CONSTANTS
from throughtime.report.figures.truncation_error import TRUNCATION_ERROR as TRUNCATION_ERROR
