"""The references of the comparison: a hand-written ceiling, the baseline, the floors of the machine."""
