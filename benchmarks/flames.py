"""How the most frequent requests spend their time: flame graphs by layer, and a table of the layers' shares.

`make flames` samples one worker with py-spy while each endpoint is loaded over 16 connections, and writes the pictures
`after-….svg` into `docs/pictures/`. The same by hand, of another state of the source:

    PYTHONPATH=/elsewhere/src .venv/bin/python benchmarks/flames.py --prefix before --folder docs/pictures

Only the thread that serves is shown. On Linux C code is seen too: system calls, the garbage collector, libraries. What
a request costs as a whole, beside which the shares stand, is counted before, without py-spy. Sampling needs the right
to trace another process: on Linux root, or `kernel.yama.ptrace_scope = 0`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import httpx
from _flames.picture import draw
from _flames.stacks import LAYERS, REST, Stack, read, shares
from _server import Server
from endpoints import People, cases, load

HOTTEST = {"post-messages": "POST /messages", "history": "GET /history", "conversations": "GET /conversations"}
CONNECTIONS = 16
_FOREVER = 10**9
_WARMING, _COUNTED = 500, 2000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("docs/pictures"))
    parser.add_argument("--prefix", default="after", help="of the pictures' names")
    parser.add_argument("--seconds", type=int, default=30, help="of sampling, for each endpoint")
    parser.add_argument("--rate", type=int, default=100, help="samples a second; more slow the server down")
    options = parser.parse_args()
    spy = _spy()
    options.folder.mkdir(parents=True, exist_ok=True)
    columns: dict[str, tuple[float, dict[str, float]]] = {}
    with Server(0) as server:
        server.start()
        made = asyncio.run(_cases(server.port))
        for name, endpoint in HOTTEST.items():
            make = next(make for case, make in made.items() if case.startswith(endpoint))
            used = asyncio.run(_cost(server, make))
            stacks = asyncio.run(_record(spy, server, make, options))
            columns[endpoint] = used, shares(stacks)
            note = f"{options.prefix}: {used:.0f} µs of CPU a request; {stacks.total()} samples of the serving thread"
            (options.folder / f"{options.prefix}-{name}.svg").write_text(draw(stacks, endpoint, note))
    print(_table(columns))


def _spy() -> str:
    """py-spy's program."""
    found = shutil.which("py-spy", path=str(Path(sys.prefix) / "bench" / "bin")) or shutil.which("py-spy")
    if found is None:
        raise SystemExit("py-spy is needed: `make setup` installs it")
    return found


async def _cases(port: int) -> dict[str, Callable[[int], bytes]]:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as http:
        people = People(http)
        await people.make()
    return cases(people)


async def _cost(server: Server, make: Callable[[int], bytes]) -> float:
    """Microseconds of CPU that the server uses per request, without PostgreSQL."""
    await load(server.port, make, _WARMING, CONNECTIONS)
    before = server.cpu()
    await load(server.port, make, _COUNTED, CONNECTIONS)
    return 1000 * server.cpu().since(before).each(_COUNTED).server


async def _record(
    spy: str, server: Server, make: Callable[[int], bytes], options: argparse.Namespace
) -> Counter[Stack]:
    """Sample the server while one endpoint is under load."""
    loading = asyncio.create_task(load(server.port, make, _FOREVER, CONNECTIONS))
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "stacks"
        arguments = ["record", "--pid", server.pid, "--format", "raw", "--function", "--full-filenames"]
        arguments += ["--rate", options.rate, "--duration", options.seconds, "--output", output]
        if sys.platform == "linux":
            arguments.append("--native")
        sampling = await asyncio.create_subprocess_exec(spy, *map(str, arguments), stdout=subprocess.DEVNULL)
        ended = asyncio.create_task(sampling.wait())
        await asyncio.wait([loading, ended], return_when=asyncio.FIRST_COMPLETED)
        if loading.done():
            sampling.terminate()
            loading.result()
        loading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await loading
        if await ended != 0:
            raise SystemExit("py-spy could not sample the server; see above")
        return read(output.read_text().splitlines())


def _table(columns: dict[str, tuple[float, dict[str, float]]]) -> str:
    """The cost of each layer per request as Markdown: microseconds of CPU, and the share."""
    lines = [
        "| layer | " + " | ".join(f"`{endpoint}`" for endpoint in columns) + " |",
        "| --- |" + " --- |" * len(columns),
        "| all, µs of CPU | " + " | ".join(f"{used:.0f}" for used, _ in columns.values()) + " |",
    ]
    for layer in [*LAYERS, REST]:
        told = " | ".join(f"{part[layer] * used:.0f} ({part[layer]:.1%})" for used, part in columns.values())
        lines.append(f"| {layer} | {told} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
