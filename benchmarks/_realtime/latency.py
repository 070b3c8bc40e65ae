"""Messages in 1:1 conversations, at several rates."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from statistics import median

from _http import Counts
from _report import Table, middle, ms, percentile
from _server import Cpu

from _realtime.bench import Bench
from _realtime.sockets import quiet, unbroken
from _realtime.traffic import Sample, Traffic, refusals

AIM_RATE, AIM_P99 = 200, "≤ 15"


async def latency(bench: Bench) -> list[Table]:
    """The latency from sending to receiving over sockets, in 1:1 conversations."""
    pairs = 100
    lines, readers = await bench.pairs(pairs)
    traffic = Traffic(lines, readers)
    # The first message of a pair opens their conversation; statements are prepared on the way.
    await traffic.run(200, 4 * pairs)
    await quiet()
    idle = await _idle_cpu(bench, bench.pick(5, 2))
    taken: dict[float, list[tuple[Sample, Cpu]]] = {50: [], AIM_RATE: [], 500: []}
    statements: dict[float, str] = {}
    for _ in range(bench.pick(3, 1)):
        for rate, turns in taken.items():
            # The longest at the rate that has an aim.
            count = int(rate * (bench.pick(8, 5) if rate == AIM_RATE else bench.pick(4, 2)))
            counts, before = await Counts.read(bench.server), bench.server.cpu()
            sample = await traffic.run(rate, count)
            await quiet()
            turns.append((sample, bench.server.cpu().since(before).each(count)))
            statements[rate] = (await Counts.read(bench.server)).since(counts, count)
    return [
        Table(
            f"latency: {pairs} pairs, an open loop",
            [_latency_row(rate, turns) for rate, turns in taken.items()],
            [
                "Medians of the turns' percentiles, and the maximum of all turns. Times are from just before the "
                "request frame is written until the recipient's frame, or the reply after the commit, is read.",
                f"CPU includes delivered receipts and upkeep. While idle, these {2 * pairs} sockets use "
                f"{ms(idle.server)} ms per second in the server and {ms(idle.postgres)} ms in PostgreSQL.",
                *(f"Statements a message at {rate} a second: {each}." for rate, each in statements.items()),
                unbroken(),
            ],
        )
    ]


def _latency_row(rate: float, turns: list[tuple[Sample, Cpu]]) -> dict[str, object]:
    samples = [sample for sample, _ in turns]

    def across(which: Callable[[Sample], list[float]], share: float) -> float:
        return ms(median(percentile(which(sample), share) for sample in samples))

    return {
        "messages/s": rate,
        "delivered p50, ms": across(lambda s: s.delivered, 0.5),
        "p99": across(lambda s: s.delivered, 0.99),
        "aim": AIM_P99 if rate == AIM_RATE else "",
        "max": ms(max(max(sample.delivered, default=0) for sample in samples)),
        "reply p50, ms": across(lambda s: s.answered, 0.5),
        "reply p99": across(lambda s: s.answered, 0.99),
        "server CPU, ms": middle([cpu.server for _, cpu in turns]),
        "PostgreSQL CPU, ms": middle([cpu.postgres for _, cpu in turns]),
        "lost": sum(sample.lost for sample in samples),
        "refused": refusals(samples),
        "of": sum(sample.sent for sample in samples),
        "generator": f"{middle([sample.generator for sample in samples]):.0%}, {across(lambda s: s.late, 0.99)} late",
    }


async def _idle_cpu(bench: Bench, seconds: float) -> Cpu:
    """CPU seconds per second while no messages are sent."""
    before = bench.server.cpu()
    await asyncio.sleep(seconds)
    used = bench.server.cpu().since(before)
    return Cpu(used.server / seconds, used.postgres / seconds)
