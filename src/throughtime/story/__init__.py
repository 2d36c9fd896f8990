"""The explainer: the chain rule through time on a sentence of one's own, and how far it lets a network learn."""

from throughtime.story.numbers import Chain as Chain
from throughtime.story.numbers import Story as Story
from throughtime.story.terminal import render as render
from throughtime.story.telling import tell as tell
