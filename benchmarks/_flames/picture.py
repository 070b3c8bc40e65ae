"""A flame graph as a still SVG: root below, a box as wide as its share, coloured by layer, the shares beside."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from html import escape

from _flames.stacks import LAYERS, REST, Frame, Stack, shares

WIDTH, ROW, MARGIN, LEGEND = 1200, 16, 10, 190
NARROWEST = 1.0
"""Pixels; a narrower box is not drawn, and its place stays empty."""
_LETTER = 6.1
_TOP = 44
_COLOURS = dict(
    zip(
        [*LAYERS, REST],
        [
            "#e4736b",  # system calls
            "#8d6e63",  # garbage collector
            "#c2569b",  # threads
            "#6fbf73",  # statements, rows
            "#2f9e8f",  # unit of work, pool
            "#5aa9e6",  # asyncpg
            "#b0b83c",  # metrics, logging
            "#9ccc65",  # services, views
            "#4dd0c4",  # encoding
            "#d4e157",  # controllers, wire
            "#f5a742",  # Litestar
            "#f7cf5b",  # uvicorn, httptools
            "#b39ddb",  # event loop
            "#c9ced6",  # the rest
        ],
        strict=True,
    )
)


@dataclass
class _Box:
    """One function under one caller."""

    frame: Frame
    layer: str
    count: int = 0
    inner: dict[Frame, _Box] = field(default_factory=dict)

    def depth(self, least: float) -> int:
        """Rows that it and those above it take, of boxes with at least so many samples."""
        return 1 + max((box.depth(least) for box in self.inner.values() if box.count >= least), default=0)


def draw(stacks: Counter[Stack], title: str, note: str) -> str:
    """The picture."""
    root = _tree(stacks)
    pixels = (WIDTH - LEGEND - 2 * MARGIN) / max(1, root.count)
    height = max(_TOP + ROW * root.depth(NARROWEST / pixels) + MARGIN, _TOP + 20 * (len(_COLOURS) + 1))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
        'font-family="Verdana, DejaVu Sans, sans-serif" font-size="10">',
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        f'<text x="{MARGIN}" y="20" font-size="15">{escape(title)}</text>',
        f'<text x="{MARGIN}" y="36" fill="#555">{escape(note)}</text>',
        *_legend(stacks),
    ]
    _boxes(root, MARGIN + LEGEND, height - MARGIN - ROW, pixels, root.count, parts)
    return "\n".join([*parts, "</svg>\n"])


def _tree(stacks: Counter[Stack]) -> _Box:
    root = _Box(Frame("all of the serving thread", ""), REST)
    for stack, count in stacks.items():
        box = root
        box.count += count
        for frame in stack:
            # A frame without a layer works for its caller, and is coloured so.
            box = box.inner.setdefault(frame, _Box(frame, frame.layer or box.layer))
            box.count += count
    return root


def _legend(stacks: Counter[Stack]) -> list[str]:
    lines = []
    for index, (layer, share) in enumerate(shares(stacks).items()):
        y = _TOP + 20 * index
        lines.append(f'<rect x="{MARGIN}" y="{y}" width="12" height="12" fill="{_COLOURS[layer]}"/>')
        lines.append(f'<text x="{MARGIN + 56}" y="{y + 10}" text-anchor="end">{share:.1%}</text>')
        lines.append(f'<text x="{MARGIN + 62}" y="{y + 10}">{escape(layer)}</text>')
    return lines


def _boxes(box: _Box, x: float, y: float, pixels: float, whole: int, parts: list[str]) -> None:
    width = box.count * pixels
    if width < NARROWEST:
        return
    told = f"{box.frame.name} {_short(box.frame.where)} {box.count / whole:.1%}"
    parts.append(
        f'<g><title>{escape(told)}</title><rect x="{x:.1f}" y="{y}" width="{max(width - 0.4, 0.6):.1f}" '
        f'height="{ROW - 1}" fill="{_COLOURS[box.layer]}"/>{_label(box.frame.name, x, y, width)}</g>'
    )
    for inner in sorted(box.inner.values(), key=lambda each: (-each.count, each.frame)):
        _boxes(inner, x, y - ROW, pixels, whole, parts)
        x += inner.count * pixels


def _label(name: str, x: float, y: float, width: float) -> str:
    """As much of the name as fits."""
    name = name.replace(".<locals>", "")
    letters = int((width - 4) / _LETTER)
    if letters < 3:
        return ""
    text = name if len(name) <= letters else f"{name[: letters - 1]}…"
    return f'<text x="{x + 2:.1f}" y="{y + 11}">{escape(text)}</text>'


def _short(where: str) -> str:
    """A file by its package."""
    for mark in ("/site-packages/", "/src/", "/lib/"):
        if mark in where:
            return where.rpartition(mark)[2]
    return where
