"""Conventions of the code that ruff, mypy and import-linter do not check."""

import ast
from collections.abc import Iterator

from tests.unit.source_files import modules

LONGEST_FUNCTION = 40
Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(tree: ast.AST) -> list[Function]:
    """Return all functions of a module, methods and inner ones included."""
    return [node for node in ast.walk(tree) if isinstance(node, Function)]


def lines(node: Function | ast.ClassDef) -> int:
    """Return the number of lines, without decorators."""
    return (node.end_lineno or 0) - node.lineno + 1


def is_public(name: str) -> bool:
    """Return True if a name does not start with an underscore."""
    return not name.startswith("_")


def test_no_function_is_longer_than_40_lines() -> None:
    lengths = {
        f"{name}.{function.name}": lines(function)
        for name, tree in modules().items()
        for function in functions(tree)
    }
    assert {name: n for name, n in lengths.items() if n > LONGEST_FUNCTION} == {}


# == Time and randomness ========================================================================

PURE_FOLDERS = ("clickstream.model.", "clickstream.simulator.")
CLOCKS_AND_RANDOM = {"now", "utcnow", "today", "uuid1", "uuid4"}


def test_model_and_simulator_read_no_clock_and_no_global_random_generator() -> None:
    read = {
        f"{name}: {imported}"
        for name, tree in modules().items()
        if name.startswith(PURE_FOLDERS)
        for imported in clocks_and_random(tree)
    }
    assert read == set()


def clocks_and_random(tree: ast.Module) -> Iterator[str]:
    """Yield what a module imports of `time`, `random` and `secrets`, and its calls of a clock.

    The class `Random` is allowed: whoever creates one gives it a seed.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from {alias.name for alias in node.names} & {"time", "random", "secrets"}
        elif isinstance(node, ast.ImportFrom) and node.module in {"time", "random", "secrets"}:
            yield from {alias.name for alias in node.names} - {"Random"}
        elif isinstance(node, ast.Call):
            called = node.func
            name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
            yield from {name} & CLOCKS_AND_RANDOM


# == Docstrings =================================================================================


def without_docstring(tree: ast.Module) -> Iterator[str]:
    """Yield the public classes and functions of a module that have no docstring.

    A method needs none if its class has a base class, which documents it, or if another class of
    the module documents a method of this name, such as the protocol that both follow.
    """
    documented = {function.name for function in functions(tree) if ast.get_docstring(function)}
    for node in tree.body:
        if isinstance(node, ast.ClassDef | Function) and is_public(node.name):
            if not ast.get_docstring(node):
                yield node.name
            if isinstance(node, ast.ClassDef) and not node.bases:
                methods = {part.name for part in node.body if isinstance(part, Function)}
                yield from (
                    f"{node.name}.{method}" for method in methods - documented if is_public(method)
                )


def test_every_module_has_a_docstring() -> None:
    assert [name for name, tree in modules().items() if not ast.get_docstring(tree)] == []


def test_every_public_class_and_function_has_a_docstring() -> None:
    missing = [
        f"{name}.{each}" for name, tree in modules().items() for each in without_docstring(tree)
    ]
    assert missing == []


# == Exceptions =================================================================================


def test_nobody_catches_every_exception_and_goes_on() -> None:
    catching = {
        f"{name}:{node.lineno}"
        for name, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler)
        and catches_everything(node)
        and not raises_again(node)
    }
    assert catching == set()


def catches_everything(handler: ast.ExceptHandler) -> bool:
    """Return True for `except:` and for a handler of Exception or BaseException."""
    if handler.type is None:
        return True
    names = {node.id for node in ast.walk(handler.type) if isinstance(node, ast.Name)}
    return bool({"Exception", "BaseException"} & names)


def raises_again(handler: ast.ExceptHandler) -> bool:
    """Return True if a handler ends with a plain `raise`."""
    last = handler.body[-1]
    return isinstance(last, ast.Raise) and last.exc is None
