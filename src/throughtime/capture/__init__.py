"""The recurrences inside somebody else's model."""

from throughtime.capture.capture import Captured as Captured
from throughtime.capture.capture import capture as capture
from throughtime.capture.capture import recurrent_modules as recurrent_modules
from throughtime.capture.errors import ExaminationError as ExaminationError
from throughtime.capture.preserved import preserved as preserved
from throughtime.capture.preserved import same_attributes as same_attributes
from throughtime.capture.preserved import same_randomness as same_randomness
from throughtime.capture.recurrence import Recurrence as Recurrence
