"""How processes notify each other of new events: one module for each transport."""
