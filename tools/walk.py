"""Run the commands of a page in order, and compare the responses with the printed ones.

`python tools/walk.py PAGE [URL]`: the `sh` blocks between the markers `walk:begin` and `walk:end` run as one
shell session; a `json` block after one is the expected output of its last command. Ids, tokens, keys and times may
differ.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"```(sh|json)\n(.*?)```", re.DOTALL)
SEPARATOR = "--- answer ends ---"
VOLATILE = re.compile(
    r"\A(?:m[ar]t_[\w-]+|[0-9a-f]{8}-[0-9a-f-]{27}|\d{4}-\d\d-\d\dT[\d:.]+Z|[0-9a-f]{64}(?:_thumb)?"
    r"|(?:ada|bob|cleo)_g?\d+|/avatars/[0-9a-f]{64}(?:_thumb)?|[\w+/-]{20,}={0,2}|…|\d+:[\w-]+)\Z"
)


def steps(page: str) -> list[tuple[str, object]]:
    """The commands, each with its expected response; None if the page shows none."""
    walk = page[page.index("walk:begin") : page.index("walk:end")]
    found: list[tuple[str, object]] = []
    for kind, text in BLOCK.findall(walk):
        if kind == "sh":
            found.append((text, None))
        else:
            found[-1] = (found[-1][0], json.loads(text))
    return found


def differences(expected: object, actual: object, path: str = "$") -> list[str]:
    """The differences between a response and the printed one."""
    if isinstance(expected, dict) and isinstance(actual, dict):
        if list(expected) != list(actual):
            return [f"{path}: keys {list(actual)} instead of {list(expected)}"]
        return [line for key in expected for line in differences(expected[key], actual[key], f"{path}.{key}")]
    if isinstance(expected, list) and isinstance(actual, list) and len(expected) == len(actual):
        pairs = enumerate(zip(expected, actual, strict=True))
        return [line for index, (one, other) in pairs for line in differences(one, other, f"{path}[{index}]")]
    if type(expected) is not type(actual):
        return [f"{path}: {actual!r} instead of {expected!r}"]
    if isinstance(expected, str) and VOLATILE.match(expected) and VOLATILE.match(str(actual)):
        return []
    if isinstance(expected, int) and not isinstance(expected, bool) and expected > 10**7:
        return []
    return [] if expected == actual else [f"{path}: {actual!r} instead of {expected!r}"]


def main(page: Path, url: str) -> int:
    """Run the commands; returns 0 if every response is as printed."""
    walk = steps(page.read_text())
    script = "set -eu\n" + f"echo '{SEPARATOR}'\n".join(f"{command}\n" for command, _ in walk)
    environment = {**os.environ, "MESSENGER_URL": url}
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, check=False, cwd=ROOT, env=environment
    )
    answers = done.stdout.split(SEPARATOR)
    faults = [] if done.returncode == 0 else [f"the shell ended with {done.returncode}: {done.stderr}"]
    for (command, expected), answer in zip(walk, answers, strict=False):
        if expected is None:
            continue
        try:
            actual = json.loads(answer)
        except json.JSONDecodeError:
            faults.append(f"{command.strip()}\n  answered {answer.strip()[:200]!r}")
            continue
        faults += [f"{command.strip()}\n  {difference}" for difference in differences(expected, actual)]
    print("\n".join(faults) if faults else f"{page.name}: {len(walk)} steps, each as printed")
    return 1 if faults else 0


if __name__ == "__main__":
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    sys.exit(main(Path(sys.argv[1]).resolve(), sys.argv[2] if len(sys.argv) > 2 else "http://localhost:8000"))
