"""What we are measured against: a hand-written ceiling, the seed's way, the floors of the machine."""
