"""What can be wrong with a target before anything can be said about its protocol."""

from typing import ClassVar


class TargetError(Exception):
    """Base: no verdict is possible. `str()` is one sentence; `exit_status` is that of the kit's commands."""

    exit_status: ClassVar[int]


class DescriptorError(TargetError):
    """There is no such descriptor, or it says something that means nothing: wrong usage."""

    exit_status = 4


class TargetUnusable(TargetError):
    """The target could not be started, is not what its descriptor says, never became ready, or died.

    `status` is the exit status of its first process (negative: the signal that ended it), None if it still ran or never
    did. `stdout` and `stderr` are the last part of its output, without the key.
    """

    exit_status = 3

    def __init__(self, sentence: str, *, status: int | None = None, stdout: str = "", stderr: str = "") -> None:
        super().__init__(sentence)
        self.status = status
        self.stdout = stdout
        self.stderr = stderr

    def details(self) -> str:
        """The sentence, and below it what the target printed."""
        parts = [str(self)]
        for name, text in (("stdout", self.stdout), ("stderr", self.stderr)):
            if text.strip():
                parts.append(f"its {name} ends with:\n" + "\n".join(f"    {line}" for line in text.splitlines()))
        return "\n".join(parts)
