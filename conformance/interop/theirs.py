"""A cluster with a client of ipyparallel, whose package is imported when the first client is made."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from conformance.interop import calls
from conformance.interop.ability import Broken, Deployment, Wanted


class Theirs(Deployment):
    """A cluster with an `ipyparallel.Client`."""

    def __init__(
        self, directory: Path, count: int, patience: float, file: Path, ask_bench: Callable[[str], bool]
    ) -> None:
        super().__init__(directory, count, patience, ask_bench)
        import ipyparallel

        self.ipp: Any = ipyparallel
        self._file = file
        self.client = self.connect()

    def connect(self) -> Any:
        """One more client."""
        return self.ipp.Client(str(self._file), timeout=self.patience)

    @property
    def ids(self) -> list[int]:
        """The numbers of the engines."""
        return list(self.client.ids)

    @property
    def all(self) -> Any:
        """A view of all engines, which waits for nothing."""
        return self.client[:]

    @property
    def balanced(self) -> Any:
        """A view of whatever engine is free."""
        return self.client.load_balanced_view()

    def settle(self, count: int) -> None:
        """Wait for a second until there are exactly so many engines. Raises Broken."""
        self.until(f"{count} engines", lambda: len(self.client.ids) == count, seconds=1.0)

    def get(self, result: Any) -> Any:
        """What a request returned."""
        try:
            return result.get(self.patience)
        except TimeoutError as error:
            raise self.silent(str(error), *result.msg_ids) from None

    def fails(self, result: Any, ename: str) -> Any:
        """Demand that a request fails with this error. Raises Broken."""
        expected = {"status": "error", "ename": ename}
        wanted = Wanted(kind="content", msg_ids=tuple(result.msg_ids), expected=expected)
        try:
            value = self.get(result)
        except self.ipp.error.CompositeError as error:
            self.equal("the errors", {name for name, *_ in error.elist}, {ename}, wanted)
            return error
        except self.ipp.error.RemoteError as error:
            self.equal("the error", error.ename, ename, wanted)
            return error
        except self.ipp.error.KernelError as error:
            # Errors that the client makes itself, of what it was told, are no RemoteError in every release.
            self.equal("the error", type(error).__name__, ename, wanted)
            return error
        raise Broken(f"no {ename}, but {value!r:.100}", wanted)

    def status(self, *msg_ids: str) -> dict[str, list[str]]:
        """Which of these requests are pending, and which completed, as far as the Hub has heard of them."""
        try:
            found: dict[str, list[str]] = self.client.result_status(list(msg_ids))
        except self.ipp.error.RemoteError:
            # The Hub is told by the queues, and may be asked before that.
            return {"pending": [], "completed": []}
        return found

    def recorded(self, *msg_ids: str) -> None:
        """Wait until the Hub has the results of these requests."""
        # A client that has a result does not ask for it.
        other = self.connect()

        def look() -> bool:
            try:
                return set(msg_ids) <= set(other.result_status(list(msg_ids))["completed"])
            except self.ipp.error.RemoteError:
                return False

        try:
            self.until("the Hub has the results", look)
        finally:
            other.close()

    def busy(self, engine: int, seconds: float = 60.0) -> Any:
        """A call that keeps an engine busy, and has begun."""
        path = self.file()
        result = self.client[engine].apply_async(calls.announce_and_sleep, str(path), seconds)
        self.until("the call has begun", path.exists)
        return result

    def equal_output(self, results: Sequence[str], expected: str, name: str, result: Any) -> None:
        """Demand what each engine wrote to a stream. Raises Broken."""
        for found, msg_id in zip(results, result.msg_ids, strict=True):
            self.text(found, expected, name, msg_id)
