"""All attacks that are measured."""

from __future__ import annotations

from tests.attacks._bodies import BODIES
from tests.attacks._frames import FRAMES
from tests.attacks._requests import REQUESTS
from tests.attacks._uploads import UPLOADS

ATTACKS = (*REQUESTS, *BODIES, *FRAMES, *UPLOADS)
