"""The source: short files and functions, absolute imports, and private modules that stay in their package."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src"
FILE_LINES = 300
FUNCTION_LINES = 40

# Files and functions that are longer. This list only gets shorter.
LONG = {
    "messenger.realtime.socket",
    "messenger.repositories.contacts",
    "messenger.repositories.sending._statement",
}


def _modules() -> dict[str, str]:
    """The text of each module."""
    return {
        ".".join(path.relative_to(SOURCE).with_suffix("").parts): path.read_text()
        for path in sorted(SOURCE.rglob("*.py"))
    }


def _long_parts(module: str, text: str) -> Iterator[str]:
    if len(text.splitlines()) > FILE_LINES:
        yield module
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or 0) - node.lineno + 1
            if lines > FUNCTION_LINES:
                yield f"{module}.{node.name}"


def _imported(text: str) -> Iterator[str]:
    """What a module imports; a relative import begins with a dot."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom):
            start = "." * node.level + (node.module or "")
            yield from [start, *(f"{start}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def _foreign_private_modules(module: str, text: str, known: set[str]) -> set[str]:
    """The private modules, among the known ones, that belong to a package which does not contain the module."""
    foreign = set()
    for name in _imported(text):
        parts = name.split(".")
        for place, part in enumerate(parts):
            owner, private = ".".join(parts[:place]), ".".join(parts[: place + 1])
            if part.startswith("_") and private in known and not f"{module}.".startswith(f"{owner}."):
                foreign.add(private)
    return foreign


class TestSizes:
    def test_files_and_functions_are_short(self) -> None:
        long = {part for module, text in _modules().items() for part in _long_parts(module, text)}
        assert long - LONG == set()

    def test_long_file_and_long_function_are_found(self) -> None:
        text = "def short() -> None: ...\ndef long() -> None:\n" + "    pass\n" * FUNCTION_LINES
        assert list(_long_parts("app", text)) == ["app.long"]
        assert list(_long_parts("app", "\n" * (FILE_LINES + 1))) == ["app"]


class TestImports:
    def test_imports_are_absolute(self) -> None:
        assert [module for module, text in _modules().items() if any(n.startswith(".") for n in _imported(text))] == []

    def test_relative_import_is_found(self) -> None:
        assert list(_imported("from . import a\nfrom .b import c\n")) == [".", "..a", ".b", ".b.c"]

    def test_private_modules_are_imported_only_inside_package(self) -> None:
        modules = _modules()
        foreign = {
            f"{module}: {private}"
            for module, text in modules.items()
            for private in _foreign_private_modules(module, text, set(modules))
        }
        assert foreign == set()

    def test_private_module_of_other_package_is_found(self) -> None:
        text = "from app.a._inner import x\nfrom app.b import _own\nfrom app.a import _other\n"
        known = {"app.a._inner", "app.a._other", "app.b._own"}
        assert _foreign_private_modules("app.b.main", text, known) == {"app.a._inner", "app.a._other"}
