"""Parameters that many routes share."""

from __future__ import annotations

from typing import Annotated

from litestar.params import PathParameter, QueryParameter

PageLimit = Annotated[int, QueryParameter(ge=1, le=200, description="Maximum number of items to return")]
PeerPath = Annotated[int, PathParameter(ge=1, le=2**53 - 1, description="ID of the user")]
