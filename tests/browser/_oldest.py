"""A Chromium without the APIs that the demo's oldest browsers (`docs/demo.md`) lack."""

from __future__ import annotations

import json
from pathlib import Path

NEWER = [
    line
    for line in (Path(__file__).parent / "newer_apis.txt").read_text().splitlines()
    if line and not line.startswith("# ")
]
"""Scripts: `Interface` or `Interface.member`. Styles: `property:`, `:pseudo-class`, `@rule`."""

USED_BY_PLAYWRIGHT = {"URL.parse"}
"""Its stand-in for WebSocket runs in the page and needs these; the demo's sources must not name them."""

_SCRIPTS = [name for name in NEWER if name[0].isalpha() and not name.endswith(":") and name not in USED_BY_PLAYWRIGHT]
_REMOVE = """for (const [owner, member] of NAMES.map((name) => name.split("."))) {
  if (member === undefined) delete globalThis[owner];
  else if (owner === "Window") delete globalThis[member];
  else {
    const holder = owner === "TypedArray" ? Object.getPrototypeOf(Uint8Array) : globalThis[owner];
    if (holder) delete holder[member];
    if (holder?.prototype) delete holder.prototype[member];
  }
}
"""
AS_OLDEST_BROWSER = "(() => {" + _REMOVE.replace("NAMES", json.dumps(_SCRIPTS)) + "})();"
"""Runs before the page's first script, so that the removed APIs fail as they would in those browsers."""
