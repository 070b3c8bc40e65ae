"""Finds uses of private parts of libraries: members of a class, imports, attributes and overrides in the source."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import messenger

SOURCE = Path(messenger.__file__).parent

# Private names that the standard library documents (`namedtuple._replace`, `os._exit`).
_DOCUMENTED = frozenset({"_replace", "_exit", "_Decompress"})
_OWN = frozenset({"messenger", "builtins", *sys.stdlib_module_names})


def resolve(owner: str) -> object:
    """Return the module `a.b`, or the class `a.b:C`. Raises `ImportError` or `AttributeError` if it is gone."""
    module, _, name = owner.partition(":")
    found: object = importlib.import_module(module)
    return getattr(found, name) if name else found


def members(owner: object) -> frozenset[str]:
    """Names of a module or class, including attributes that methods assign to `self`."""
    names = set(dir(owner))
    for base in owner.__mro__ if isinstance(owner, type) else ():
        names |= {*getattr(base, "__annotations__", ()), *getattr(base, "__slots__", ())}
        names |= {node.attr for node in _self_attributes(base) if isinstance(node.ctx, ast.Store)}
    return frozenset(names)


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def touched(cls: type, base: type) -> set[str]:
    """Members of the library's class `base` that the source of `cls` uses or overrides; dunder names are left out."""
    used = {node.attr for node in _self_attributes(cls)}
    for node in _body(cls):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            used.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            used |= {target.id for target in targets if isinstance(target, ast.Name)}
    return {name for name in used & _members_of_class(base) if not name.startswith("__")}


def own_classes() -> list[type]:
    """All classes of this project."""
    found: dict[type, None] = {}
    for module in pkgutil.walk_packages(messenger.__path__, "messenger."):
        # Importing an entry point would start it.
        if module.name not in {"messenger.__main__", "messenger.asgi"}:
            for value in vars(importlib.import_module(module.name)).values():
                if isinstance(value, type) and value.__module__.startswith("messenger."):
                    found[value] = None
    return list(found)


def nearest_library_bases(cls: type) -> list[type]:
    """Base classes that a library defines, without their own base classes."""
    bases = [base for base in cls.__mro__ if base.__module__.partition(".")[0] not in _OWN]
    return [base for base in bases if not any(base in each.__mro__[1:] for each in bases)]


def private_imports(source: str) -> list[str]:
    """Imports of private modules and names of libraries."""
    found = []
    for node in _nodes(source):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return [
        name
        for name in found
        if name.partition(".")[0] not in _OWN and any(is_private(part) for part in name.split("."))
    ]


def private_attributes(source: str, defined: Iterable[str]) -> list[str]:
    """Private attributes, by dot or `getattr`, that this project does not define itself."""
    known = {*defined, *_DOCUMENTED}
    found = []
    for node in _nodes(source):
        if isinstance(node, ast.Attribute):
            found.append(node.attr)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _BY_NAME:
            found += [
                arg.value for arg in node.args[1:2] if isinstance(arg, ast.Constant) and isinstance(arg.value, str)
            ]
    return [name for name in found if is_private(name) and name not in known]


_BY_NAME = frozenset({"getattr", "setattr", "hasattr", "delattr"})


def defined_names(source: str) -> set[str]:
    """Private names that this source defines: functions, classes, variables, and attributes of `self`."""
    names: set[str] = set()
    for node in _nodes(source):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and _is_self(node.value):
            names.add(node.attr)
    return {name for name in names if is_private(name)}


def attributes_of(source: str, expressions: Iterable[str]) -> set[str]:
    """Attributes that the source uses of these expressions, such as `self.cycle`."""
    wanted = set(expressions)
    return {
        node.attr for node in _nodes(source) if isinstance(node, ast.Attribute) and ast.unparse(node.value) in wanted
    }


def _self_attributes(cls: type) -> Iterator[ast.Attribute]:
    for statement in _body(cls):
        for node in ast.walk(statement):
            if isinstance(node, ast.Attribute) and _is_self(node.value):
                yield node


def _is_self(node: ast.expr) -> bool:
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id == "super"
    return isinstance(node, ast.Name) and node.id in {"self", "cls"}


def _body(cls: type) -> list[ast.stmt]:
    """The statements of a class; none where it has no Python source."""
    body = _module(cls.__module__)
    for name in cls.__qualname__.split("."):
        body = next((node.body for node in body if isinstance(node, ast.ClassDef) and node.name == name), [])
    return body


@cache
def _module(name: str) -> list[ast.stmt]:
    try:
        return ast.parse(inspect.getsource(sys.modules[name])).body
    except (KeyError, OSError, TypeError):
        return []


@cache
def _nodes(source: str) -> list[ast.AST]:
    return list(ast.walk(ast.parse(source)))


_members_of_class = cache(members)
