"""The recurrences inside somebody else's model."""

from throughtime.capture.errors import AdjointNotFinite as AdjointNotFinite
from throughtime.capture.errors import ExaminationError as ExaminationError
from throughtime.capture.errors import NotFiniteError as NotFiniteError
from throughtime.capture.preserved import preserved as preserved
from throughtime.capture.recurrence import Loop as Loop
from throughtime.capture.recurrence import Opened as Opened
from throughtime.capture.recurrence import Recurrence as Recurrence
from throughtime.capture.recurrence import Run as Run
