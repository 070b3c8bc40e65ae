"""The parts of `benchmarks/realtime.py`: a cheap client, traffic, people by the thousand, a module for each case."""
