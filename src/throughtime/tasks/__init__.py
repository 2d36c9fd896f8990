"""Data with a known dependency length, and real text."""

from throughtime.tasks.text import Corpus as Corpus
from throughtime.tasks.text import corpus as corpus
from throughtime.tasks.text import python_documentation as python_documentation
from throughtime.tasks.text import read_text as read_text
