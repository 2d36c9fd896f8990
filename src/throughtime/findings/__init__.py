"""Verdicts: what the measures of one recurrence mean, and what to do about it. One verdict a file."""

from throughtime.findings.diagnosis import ILLNESSES as ILLNESSES
from throughtime.findings.diagnosis import VERDICTS as VERDICTS
from throughtime.findings.diagnosis import findings as findings
from throughtime.findings.finding import Finding as Finding
from throughtime.findings.finding import Number as Number
from throughtime.findings.finding import finding_of as finding_of
