"""Import cycles: modules, and the children of each package, can be ordered so that none imports a later one."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter

import grimp
import pytest


def _packages(graph: grimp.ImportGraph) -> list[str]:
    return sorted(module for module in graph.modules if graph.find_children(module))


def _imports_between_children(graph: grimp.ImportGraph, package: str) -> dict[str, set[str]]:
    """For each child of the package, the children that it or one of its descendants imports."""
    children = {
        module: child for child in graph.find_children(package) for module in {child, *graph.find_descendants(child)}
    }
    imports: dict[str, set[str]] = {child: set() for child in children.values()}
    for module, child in children.items():
        imported = {children[other] for other in graph.find_modules_directly_imported_by(module) if other in children}
        imports[child] |= imported - {child}
    return imports


def _cycle(imports: dict[str, set[str]]) -> list[str] | None:
    """The modules of one cycle, the first repeated at the end; None if there is none."""
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        return list(error.args[1])
    return None


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("messenger", cache_dir=None)


class TestImportCycles:
    def test_packages_have_no_import_cycle(self, graph: grimp.ImportGraph) -> None:
        packages = _packages(graph)
        assert {"messenger", "messenger.client", "messenger.realtime", "messenger.web.openapi"} <= set(packages)
        cycles = {package: _cycle(_imports_between_children(graph, package)) for package in packages}
        assert {package: cycle for package, cycle in cycles.items() if cycle} == {}

    def test_modules_have_no_import_cycle(self, graph: grimp.ImportGraph) -> None:
        imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
        assert len(imports) > 200
        assert _cycle(imports) is None

    def test_cycle_through_subpackage_is_found(self) -> None:
        graph = grimp.ImportGraph()
        for module in ("app", "app.a", "app.a.inner", "app.b"):
            graph.add_module(module)
        graph.add_import(importer="app.a.inner", imported="app.b")
        assert _cycle(_imports_between_children(graph, "app")) is None
        graph.add_import(importer="app.b", imported="app.a")
        assert set(_cycle(_imports_between_children(graph, "app")) or ()) == {"app.a", "app.b"}
