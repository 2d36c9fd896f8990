"""Small networks with a known illness or a known health, and what is found on them: `make faults`.

A room of its own beside the benchmarks: they ask how fast an answer comes, this asks whether it is right. It is no part
of the package, since nobody needs a planted illness to examine a network, and no part of the tests, which read it.

To plant another: one line in the file of its kind. The table and the tests take it up by themselves.
"""
