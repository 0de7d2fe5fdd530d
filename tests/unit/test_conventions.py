"""Conventions of the code that ruff, mypy and import-linter do not check."""

import ast
import re
from collections import Counter
from collections.abc import Iterator

from tests.unit.source_files import PACKAGE, ROOT, modules

LONGEST_FUNCTION = 40
LONGEST_CLASS = 150
MOST_ATTRIBUTES = 8
# A session has one attribute per metric; the others count what they do.
MAY_HAVE_MORE_ATTRIBUTES = {"Session", "KafkaSink", "FaultInjector", "Schedule"}
REPEATED_FILES = {"__init__.py", "commands.py"}
NOT_A_DESCRIPTION = re.compile(r"(What|Where|Whether|Of|So|Those|Who|Which)\b")
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


def test_no_class_is_longer_than_150_lines() -> None:
    lengths = {f"{name}.{each.name}": lines(each) for name, each in classes()}
    assert {name: n for name, n in lengths.items() if n > LONGEST_CLASS} == {}


def test_no_class_has_more_than_8_attributes() -> None:
    numbers = {each.name: len(attributes(each)) for _, each in classes()}
    more = {name for name, number in numbers.items() if number > MOST_ATTRIBUTES}
    assert more == MAY_HAVE_MORE_ATTRIBUTES


def classes() -> Iterator[tuple[str, ast.ClassDef]]:
    """Yield all classes with the names of their modules."""
    for name, tree in modules().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                yield name, node


def attributes(node: ast.ClassDef) -> set[str]:
    """Return the attributes that the methods of a class assign to `self`."""
    return {
        each.attr
        for each in ast.walk(node)
        if isinstance(each, ast.Attribute)
        and isinstance(each.ctx, ast.Store)
        and isinstance(each.value, ast.Name)
        and each.value.id == "self"
    }


# == Names ======================================================================================


def test_each_class_name_is_used_once() -> None:
    counted = Counter(each.name for _, each in classes())
    assert [name for name, number in counted.items() if number > 1] == []


def test_each_file_name_is_used_once() -> None:
    """Each folder with commands has a file `commands.py` for them."""
    files = (ROOT / PACKAGE).rglob("*.py")
    counted = Counter(path.name for path in files if path.name not in REPEATED_FILES)
    assert [name for name, number in counted.items() if number > 1] == []


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

    The class `Random` is allowed, because its creator gives it a seed.
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


def test_every_docstring_says_what_the_thing_is_or_does() -> None:
    unclear = [
        f"{name}: {docstring.splitlines()[0]}"
        for name, tree in modules().items()
        for docstring in docstrings(tree)
        if NOT_A_DESCRIPTION.match(docstring)
    ]
    assert unclear == []


def docstrings(tree: ast.Module) -> Iterator[str]:
    """Yield the docstrings of a module, its classes and its functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | Function):
            docstring = ast.get_docstring(node)
            if docstring:
                yield docstring


# == Exceptions =================================================================================


def test_no_handler_catches_every_exception_and_continues() -> None:
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
