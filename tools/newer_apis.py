"""Write tests/browser/newer_apis.txt: the APIs that current browsers have, but not the oldest ones of the demo.

    npm pack @mdn/browser-compat-data && tar xzf mdn-browser-compat-data-*.tgz
    .venv/bin/python tools/newer_apis.py package/data.json

The data is MDN's (CC0-1.0). The oldest browsers are listed in `docs/demo.md`.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "tests" / "browser" / "newer_apis.txt"
ENGINES = {
    "Chrome": ("chrome", "chrome_android"),
    "Firefox": ("firefox", "firefox_android"),
    "Safari": ("safari", "safari_ios"),
}
NEVER = float("inf")
MEMBER = re.compile(r"^[A-Za-z]\w*$")
# Children that describe behaviour instead of naming an API (`serializable_object`, `error_event`).
BEHAVIOUR = re.compile(r"_(?!static$)")

Feature = dict[str, Any]


def oldest(page: str) -> dict[str, float]:
    """The oldest supported version of each browser, from the table in `docs/demo.md`."""
    return {name: float(version) for name, version in re.findall(r"^\| (\w+).* \| ([\d.]+) \|$", page, re.MULTILINE)}


def since(feature: Feature, browser: str) -> float:
    """The first version that supports it without a flag or prefix."""
    support = feature["__compat"]["support"].get(browser) or []
    entries = support if isinstance(support, list) else [support]
    plain = [entry for entry in entries if not {"flags", "prefix", "alternative_name"} & set(entry)]
    return min((version(entry["version_added"]) for entry in plain), default=NEVER)


def version(added: object) -> float:
    if isinstance(added, str) and added != "preview":
        return float(added.lstrip("≤"))
    return NEVER


def is_newer(feature: Feature, baseline: dict[str, float]) -> bool:
    return any(since(feature, name) > baseline[engine] for engine, names in ENGINES.items() for name in names)


def newer(features: Feature, baseline: dict[str, float], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Newer interfaces and members; of a completely newer interface only its name."""
    for name, feature in features.items():
        if name == "__compat":
            continue
        if "__compat" in feature and is_newer(feature, baseline):
            if since(feature, "chrome") < NEVER:
                yield (*path, name)
        elif len(path) < 2:
            yield from newer(feature, baseline, (*path, name))


def script_names(data: Feature, baseline: dict[str, float]) -> Iterator[str]:
    for group in (data["javascript"]["builtins"], data["api"]):
        for path in newer(group, baseline):
            is_constructor = len(path) > 1 and path[0] == path[1]
            if all(MEMBER.match(name) for name in path) and not BEHAVIOUR.search(path[-1]) and not is_constructor:
                yield ".".join(path).removesuffix("_static")


def style_names(data: Feature, baseline: dict[str, float]) -> Iterator[str]:
    for kind, form in (("properties", "{}:"), ("selectors", ":{}"), ("at-rules", "@{}")):
        for name, feature in data["css"][kind].items():
            if "__compat" in feature and is_newer(feature, baseline) and since(feature, "chrome") < NEVER:
                yield form.format(name)


def main() -> None:
    data = json.loads(Path(sys.argv[1]).read_text())
    baseline = oldest((ROOT / "docs" / "demo.md").read_text())
    names = sorted({*script_names(data, baseline), *style_names(data, baseline)})
    edition = f"# By tools/newer_apis.py from MDN's browser-compat-data {data['__meta']['version']} (CC0-1.0)."
    TARGET.write_text("\n".join([edition, *names, ""]))
    sys.stdout.write(f"{TARGET}: {len(names)} names\n")


if __name__ == "__main__":
    main()
