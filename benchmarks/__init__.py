"""How fast, against what: every speed stands beside an alternative measured in the same run, after both have agreed."""
