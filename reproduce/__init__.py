"""Published results, computed again: `make reproduce`. One claim a file."""
