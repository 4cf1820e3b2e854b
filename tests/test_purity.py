"""The arrows between the packages, read from the source: who may import whom, and what stays outside `protocol`."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
#: A package may import itself and those to the left of it.
ORDER = ("protocol", "simulator", "conformance")
#: What would give the specification a clock, a wire, chance or a thread of its own.
IMPURE = {
    *(
        "zmq",
        "socket",
        "ssl",
        "select",
        "selectors",
        "asyncio",
        "threading",
        "_thread",
        "multiprocessing",
        "concurrent",
    ),
    *("time", "random", "secrets", "uuid", "queue", "signal", "logging", "subprocess", "tempfile", "shutil", "glob"),
    "pytest",
}
#: The simulator draws chance from its seeds, and nothing else from outside.
UNREAL = IMPURE - {"random"}
DYNAMIC = {"__import__", "import_module", "importlib.import_module", "eval", "exec", "open", "io.open", "os.open"}


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def name_of(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(source: str, module: str, is_package: bool = False) -> Iterator[str]:
    """The full names of everything that a module imports, at any depth of its code, relative ones resolved."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = module.split(".")
            drop = node.level - is_package
            base = parts[: len(parts) - drop] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{origin}.{alias.name}" for alias in node.names)


def imports_of(file: Path) -> list[str]:
    return list(imports(file.read_text(), name_of(file), file.name == "__init__.py"))


def calls(source: str) -> Iterator[str]:
    """The functions that a module calls by name (`open(...)`) or as a module's (`importlib.import_module(...)`)."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name):
                yield node.func.id
            elif isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name):
                yield f"{node.func.value.id}.{node.func.attr}"


def is_in(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def test_the_reader_of_imports_sees_every_form() -> None:
    source = """
import zmq.asyncio as z
from time import monotonic
from . import strategies
from ..wire import Codec
def late():
    import hypothesis
"""
    assert list(imports(source, "protocol.messages.base")) == [
        "zmq.asyncio",
        "time.monotonic",
        "protocol.messages.strategies",
        "protocol.wire.Codec",
        "hypothesis",
    ]
    assert list(imports("from .base import Row", "protocol.messages", is_package=True)) == [
        "protocol.messages.base.Row"
    ]
    assert list(calls("importlib.import_module('zmq'); open('x'); codec.open(frames)")) == [
        "importlib.import_module",
        "open",
        "codec.open",
    ]


def test_there_is_something_to_look_at() -> None:
    names = {name_of(file) for file in modules("protocol")}
    assert {"protocol", "protocol.wire", "protocol.channels", "protocol.messages.base"} <= names


@pytest.mark.parametrize("file", modules("protocol"), ids=name_of)
def test_the_specification_touches_nothing_outside(file: Path) -> None:
    reached = {name.partition(".")[0] for name in imports_of(file)}
    assert not reached & IMPURE
    assert not set(calls(file.read_text())) & DYNAMIC


@pytest.mark.parametrize("file", modules("protocol"), ids=name_of)
def test_only_strategies_know_hypothesis_and_nobody_knows_strategies(file: Path) -> None:
    names = imports_of(file)
    if name_of(file) != "protocol.strategies" and not is_in(name_of(file), "protocol.strategies"):
        assert not [name for name in names if is_in(name, "hypothesis") or is_in(name, "protocol.strategies")]


@pytest.mark.parametrize("package", ORDER)
def test_no_package_imports_upward(package: str) -> None:
    above = ORDER[ORDER.index(package) + 1 :]
    wrong = [
        f"{name_of(file)} imports {name}"
        for file in modules(package)
        for name in imports_of(file)
        if any(is_in(name, upper) for upper in above)
    ]
    assert wrong == []


@pytest.mark.parametrize("file", modules("simulator"), ids=name_of)
def test_the_simulator_has_no_real_world(file: Path) -> None:
    assert not {name.partition(".")[0] for name in imports_of(file)} & (UNREAL | {"hypothesis"})


def test_rules_and_roles_do_not_know_each_other() -> None:
    wrong = [
        f"{name_of(file)} imports {name}"
        for mine, other in (("protocol.rules", "protocol.roles"), ("protocol.roles", "protocol.rules"))
        for file in modules("protocol")
        if is_in(name_of(file), mine)
        for name in imports_of(file)
        if is_in(name, other)
    ]
    assert wrong == []
