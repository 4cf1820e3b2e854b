"""What real ipyparallel clients expect to find on an engine: an IPython shell, of which they use the namespace.

`push`, `pull` and `gather` of ipyparallel call `get_ipython().user_global_ns`, and `display` goes through the shell's
publisher. A shell of IPython would take over streams, history and signals, so this one only has the parts that are
used. It is put in place when a call brought ipyparallel along, and never where IPython already has a shell.
"""

import contextlib
import sys
from collections.abc import Callable, Mapping
from typing import Any

Publish = Callable[[str, Mapping[str, Any]], None]


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


def install(namespace: dict[str, Any], publish: Publish) -> None:
    """Let `get_ipython` find the namespace of this engine, if IPython was imported and has no shell."""
    module: Any = sys.modules.get("IPython.core.interactiveshell")
    if module is None or module.InteractiveShell._instance is not None:
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
