"""What real ipyparallel clients expect to find on an engine: an IPython shell, of which they use the namespace.

`push`, `pull` and `gather` of ipyparallel call `get_ipython().user_global_ns`, and `display` goes through the shell's
publisher. A shell of IPython would take over streams, history and signals, so this one only has the parts that are
used. It is put in place as soon as anything imports IPython's, be it the user's code or a call that brought ipyparallel
along; an engine whose code does without never pays for the import. Where IPython already has a shell it stays.
"""

import contextlib
import importlib.abc
import importlib.machinery
import sys
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

Publish = Callable[[str, Mapping[str, Any]], None]
#: Where IPython keeps its only shell.
MODULE: Final = "IPython.core.interactiveshell"


class DisplayPublisher:
    """Publishes what code displays."""

    is_publishing = False

    def __init__(self, publish: Publish) -> None:
        self._publish = publish

    def publish(
        self,
        data: Mapping[str, Any],
        metadata: Mapping[str, Any] | None = None,
        source: object = None,  # noqa: ARG002 - IPython's signature
        *,
        transient: Mapping[str, Any] | None = None,
        update: bool = False,
        **_: Any,
    ) -> None:
        """Publish one thing in all its forms."""
        content = {"data": dict(data), "metadata": dict(metadata or {}), "transient": dict(transient or {})}
        self._publish("update_display_data" if update else "display_data", content)

    def clear_output(self, wait: bool = False) -> None:
        """Ask for what was displayed to be taken away."""
        self._publish("clear_output", {"wait": wait})


@contextlib.contextmanager
def offered(namespace: dict[str, Any], publish: Publish) -> Iterator[None]:
    """Let `get_ipython` find the namespace of this engine, as soon as there is an IPython and it has no shell."""
    finder = _Finder(lambda module: install(module, namespace, publish))
    if MODULE in sys.modules:
        install(sys.modules[MODULE], namespace, publish)
    else:
        sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.meta_path.remove(finder)


class _Finder(importlib.abc.MetaPathFinder):
    """Finds IPython's shell where it is, and tells when it has been imported."""

    def __init__(self, tell: Callable[[types.ModuleType], None]) -> None:
        self._tell = tell

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The spec that the other finders have, its loader wrapped; None for every other module."""
        if name != MODULE:
            return None
        sys.meta_path.remove(self)
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, self._tell)
        return spec


class _Loader(importlib.abc.Loader):
    """Loads as another loader does, and tells then."""

    def __init__(self, loader: Any, tell: Callable[[types.ModuleType], None]) -> None:
        self._loader = loader
        self._tell = tell

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType | None:
        """What the other makes."""
        made: types.ModuleType | None = self._loader.create_module(spec)
        return made

    def exec_module(self, module: types.ModuleType) -> None:
        """Run the module, and tell."""
        self._loader.exec_module(module)
        self._tell(module)


def install(module: Any, namespace: dict[str, Any], publish: Publish) -> None:
    """Put the engine's shell into IPython's module, unless there is a shell."""
    if module.InteractiveShell._instance is not None:
        return
    with contextlib.suppress(Exception):
        # Whatever a release of IPython has changed: code that does without the shell must still run.
        _install(module, namespace, publish)


def _install(module: Any, namespace: dict[str, Any], publish: Publish) -> None:
    class EngineShell(module.InteractiveShell):  # type: ignore[misc]
        """The parts of a shell that an engine has."""

        user_ns = namespace
        user_global_ns = namespace
        display_pub = DisplayPublisher(publish)

        def __init__(self) -> None:
            """Nothing of what the base class sets up."""

    shell = EngineShell()
    from IPython.core.formatters import DisplayFormatter

    shell.__dict__["display_formatter"] = DisplayFormatter()
    EngineShell.display_formatter = shell.__dict__["display_formatter"]
    module.InteractiveShell._instance = shell
