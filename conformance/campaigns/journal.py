"""The journal of a campaign: a line of JSON for each block that is done, so that it can go on where it was stopped.

The first line says which campaign it is: everything of its runs but name and seed. The others are blocks: `name`,
`first`, `last`, and what came of them: `excused`, `marks`, and of the runs that failed `seed`, `violations`, `error`.
A last line that was not finished, since the machine went down, is cut off: its seeds are run again.
"""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any, Final

import msgspec

from conformance.campaigns.blocks import Block
from conformance.simulating import Report, Summary
from simulator.run import Setup

#: What tells a journal from other files.
KIND: Final = "ippkit campaign"


class UnsuitableJournalError(ValueError):
    """A file that is no journal, or one of another campaign; the text says which."""


class Journal:
    """What is done of one campaign, kept in a file. `done` has the seeds by name, `summary` what came of them.

    A file that is not there yet is begun. Raises UnsuitableJournalError, and OSError for a file that cannot be used.
    """

    def __init__(self, path: Path, like: Setup) -> None:
        self.path: Final = path
        self.done: Final[defaultdict[str, set[int]]] = defaultdict(set)
        self.summary: Final = Summary()
        self._like: Final = msgspec.structs.replace(like, name="", seed=0)
        if path.exists() and path.stat().st_size:
            self._read()
        else:
            self._append({"kind": KIND, "setup": msgspec.to_builtins(self._like)})

    def add(self, block: Block, summary: Summary) -> None:
        """A block is done."""
        failed = [{"seed": one.setup.seed, "violations": one.violations, "error": one.error} for one in summary.failed]
        counts = {name: getattr(summary, name) for name in ("excused", "marks", "known", "lacking")}
        self._append({**block._asdict(), **counts, "failed": failed})
        self._take(block, summary)

    def _take(self, block: Block, summary: Summary) -> None:
        self.done[block.name].update(block.seeds)
        self.summary.merge(summary)

    def _append(self, line: dict[str, Any]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")

    def _read(self) -> None:
        data = self.path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        lines = whole.splitlines()
        try:
            head, *rest = map(json.loads, lines)
            is_one = head["kind"] == KIND
            wanted, found = msgspec.to_builtins(self._like), head["setup"]
            taken = [self._parse(line) for line in rest] if is_one else []
        except (ValueError, KeyError, TypeError, AttributeError):
            raise UnsuitableJournalError(f"{self.path} is no journal of a campaign") from None
        if not is_one:
            raise UnsuitableJournalError(f"{self.path} is no journal of a campaign")
        for key, value in wanted.items():
            if found.get(key) != value:
                raise UnsuitableJournalError(
                    f"{self.path} is the journal of another campaign: {key} is {found.get(key)!r} there, {value!r} here"
                )
        if len(whole) < len(data):
            with self.path.open("r+b") as file:
                file.truncate(len(whole))
        for block, summary in taken:
            self._take(block, summary)

    def _parse(self, line: dict[str, Any]) -> tuple[Block, Summary]:
        block = Block(str(line["name"]), int(line["first"]), int(line["last"]))
        summary = Summary(
            done=len(block.seeds), excused=int(line["excused"]), marks=dict(line["marks"]),
            known=dict(line.get("known", {})), lacking=dict(line.get("lacking", {})),
        )  # fmt: skip
        for one in line["failed"]:
            setup = msgspec.structs.replace(self._like, name=block.name, seed=int(one["seed"]))
            summary.failed.append(Report(setup, tuple(one["violations"]), error=str(one["error"])))
        return block, summary


__all__ = ["KIND", "Journal", "UnsuitableJournalError"]
