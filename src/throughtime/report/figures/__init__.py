"""The pictures of the report, one a file. Each function takes readings and returns a Plotly figure."""

from throughtime.report.figures.causes_by_lag import causes_by_lag as causes_by_lag
from throughtime.report.figures.gradient_map import gradient_map as gradient_map
from throughtime.report.figures.gradient_share import gradient_share as gradient_share
from throughtime.report.figures.lag_profile import lag_profile as lag_profile
from throughtime.report.figures.mean_causes import causes_drawn as causes_drawn
from throughtime.report.figures.mean_causes import mean_causes as mean_causes
from throughtime.report.figures.step_jacobian import step_jacobian as step_jacobian
from throughtime.report.figures.time_constants import time_constants as time_constants
