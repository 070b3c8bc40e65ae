"""What we are measured against: a hand-written ceiling, the baseline, the floors of the machine."""
