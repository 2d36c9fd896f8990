"""The explainer: the chain rule through time on a sentence of one's own, and how far it lets a network learn."""

from throughtime.story.numbers import Chain as Chain
from throughtime.story.numbers import Story as Story
from throughtime.story.page import to_html as to_html
from throughtime.story.page import write_html as write_html
from throughtime.story.telling import tell as tell
from throughtime.story.terminal import COLUMNS as COLUMNS
from throughtime.story.terminal import render as render
