"""All benchmarks, one after the other, into one page and one JSON document: `make bench`, `make bench-quick`.

Each part is a command of its own; what it prints is kept as `<part>.md`, all parts together as `bench.md` and
`bench.json` in the folder.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent


class Part(NamedTuple):
    """A command, its arguments in a long run and in a quick one, and the option that says where its JSON goes."""

    name: str
    full: tuple[str, ...]
    quick: tuple[str, ...]
    json_option: str = ""


PARTS = (
    Part("compare", (), ("--quick", "--turns", "2")),
    Part("endpoints", ("--rounds", "3", "--requests", "500"), ("--rounds", "1", "--requests", "200"), "--json"),
    Part("realtime", (), ("--quick", "latency", "fanout"), "--json"),
    Part("bus", ("--rounds", "3", "--seconds", "2"), ("--rounds", "1", "--seconds", "0.5")),
)


def run(part: Part, folder: Path, *, quick: bool) -> float:
    """Run it, and show what it prints; seconds taken. Raises `SystemExit` where it fails."""
    command = [sys.executable, str(HERE / f"{part.name}.py"), *(part.quick if quick else part.full)]
    if part.json_option:
        command += [part.json_option, str(folder / f"{part.name}.json")]
    if part.name == "compare":
        command += ["--folder", str(folder)]
    started = time.monotonic()
    with (
        (folder / f"{part.name}.md").open("w") as page,
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            page.write(line)
    if process.returncode:
        raise SystemExit(f"{part.name} failed")
    return time.monotonic() - started


def collect(folder: Path, seconds: dict[str, float]) -> None:
    """One page and one document of all parts."""
    pages = [f"## {name}\n\n{(folder / f'{name}.md').read_text()}" for name in seconds]
    (folder / "bench.md").write_text("\n\n".join(pages))
    found = {name: folder / f"{name}.json" for name in seconds}
    parts = {name: json.loads(path.read_text()) for name, path in found.items() if path.exists()}
    (folder / "bench.json").write_text(json.dumps({"seconds": seconds, **parts}, indent=2) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="about two minutes, for a glance")
    parser.add_argument("--folder", type=Path, default=Path("build/bench"))
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    seconds = {part.name: round(run(part, options.folder, quick=options.quick), 1) for part in PARTS}
    collect(options.folder, seconds)
    took = ", ".join(f"{name} {taken:.0f} s" for name, taken in seconds.items())
    print(f"\n{took}: {sum(seconds.values()) / 60:.1f} minutes. All of it: {options.folder / 'bench.md'}")


if __name__ == "__main__":
    main()
