"""The baseline: FastAPI, a session that looks the user up and stamps them, and another one that `merge`s them.

It does what ours does for five endpoints, as one writes it with an ORM who has not measured anything.
"""

from _yardsticks.baseline.application import app

__all__ = ["app"]
