"""Packages: a module whose name begins with an underscore is imported only inside its own package."""

from __future__ import annotations

import grimp


def _is_private(module: str) -> bool:
    name = module.rpartition(".")[2]
    return name.startswith("_") and not name.startswith("__")


def _foreign_imports(graph: grimp.ImportGraph) -> list[str]:
    """Imports of private modules from outside their package."""
    private = [module for module in graph.modules if _is_private(module)]
    return sorted(
        f"{importer} imports {module}"
        for module in private
        for importer in graph.find_modules_that_directly_import(module)
        if not f"{importer}.".startswith(f"{module.rpartition('.')[0]}.")
    )


class TestPrivateModules:
    def test_private_modules_have_no_foreign_importer(self) -> None:
        graph = grimp.build_graph("messenger", cache_dir=None)
        assert "messenger.services._views" in graph.modules
        assert _foreign_imports(graph) == []

    def test_foreign_import_of_private_module_is_found(self) -> None:
        graph = grimp.ImportGraph()
        for module in ("app", "app.services", "app.services._views", "app.services.users", "app.web"):
            graph.add_module(module)
        for importer in ("app.services", "app.services.users", "app.web"):
            graph.add_import(importer=importer, imported="app.services._views")
        assert _foreign_imports(graph) == ["app.web imports app.services._views"]
