"""Cells side by side on one task."""

from throughtime.compare.next_character import NETWORKS as NETWORKS
from throughtime.compare.next_character import Advance as Advance
from throughtime.compare.next_character import next_character as next_character
