"""The recurrences inside somebody else's model."""

from throughtime.capture.capture import Captured as Captured
from throughtime.capture.capture import capture as capture
from throughtime.capture.errors import ExaminationError as ExaminationError
from throughtime.capture.plan import Plan as Plan
from throughtime.capture.plan import plan as plan
from throughtime.capture.preserved import preserved as preserved
from throughtime.capture.preserved import same_attributes as same_attributes
from throughtime.capture.preserved import same_randomness as same_randomness
from throughtime.capture.recurrence import Loop as Loop
from throughtime.capture.recurrence import Opened as Opened
from throughtime.capture.recurrence import Recurrence as Recurrence
from throughtime.capture.recurrence import Run as Run
