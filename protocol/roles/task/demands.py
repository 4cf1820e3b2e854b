"""What a task demands: the steering fields of its metadata, read with care, and how far its dependencies have got.

A dependency names tasks and says how they must have ended: `success` counts those that ended well, `failure` those that
failed, and with `all` every one of them has to count, else one is enough. One that counts is *good* here, one that does
not is *bad*. `after` asks when, `follow` asks where: for it a task counts only on the engine that ran it, so one
without an engine (refused, or timed out in the queue) is bad, and two good ones on two engines spoil an `all`.

Source: IPython commit a2c57acba, docs/source/development/parallel_messages.txt, section "apply"; measured on
ipyparallel 9.2.0.
"""

from collections.abc import Mapping
from typing import Any, Final

from protocol.wire import Json
from protocol.world import SECOND

_NOTHING: Final[tuple[object, ...]] = (None, [])
#: A timeout beyond this is none: no clock counts so far.
_LONGEST: Final = 1 << 33


class BadDemandError(Exception):
    """A steering field has a wrong type or an impossible value; the text names it, `ename` is for the reply."""

    def __init__(self, text: str, ename: str = "ValueError") -> None:
        super().__init__(text)
        self.ename: Final = ename


class Need:
    """One dependency and what has become of it. `left` are the tasks that have not ended, as keys in order."""

    __slots__ = ("all", "bad", "engines", "failure", "good", "is_place", "left", "success")

    def __init__(
        self, ids: list[str], *, is_all: bool = True, success: bool = True, failure: bool = False, is_place: bool
    ) -> None:
        self.left: dict[str, None] = dict.fromkeys(ids)
        self.all = is_all
        self.success = success
        self.failure = failure
        self.is_place = is_place
        self.good = 0
        self.bad = 0
        #: Where the good ones ran, as keys in the order in which they ended; of a `follow` only.
        self.engines: dict[bytes, None] = {}

    def tell(self, msg_id: str, ok: bool, engine: bytes | None) -> None:
        """A task has ended: well or not, and on which engine, if on one."""
        if self.left.pop(msg_id, self) is self:
            return
        if not (self.success if ok else self.failure) or (self.is_place and engine is None):
            self.bad += 1
            return
        self.good += 1
        if self.is_place and engine is not None:
            self.engines[engine] = None

    @property
    def is_met(self) -> bool:
        """Whether enough of the tasks have ended as wanted. A lost need is not met."""
        return (not self.left and not self.is_lost) if self.all else self.good > 0

    @property
    def is_lost(self) -> bool:
        """Whether nothing that could still happen meets it."""
        if not (self.success or self.failure):
            return True
        if self.all:
            return self.bad > 0 or len(self.engines) > 1
        return not self.left and not self.good

    def freeze(self) -> tuple[Any, ...]:
        """The whole of it as a tuple."""
        return (
            *(self.is_place, self.all, self.success, self.failure, self.good, self.bad),
            *(tuple(self.left), tuple(self.engines)),
        )


def thaw_need(frozen: tuple[Any, ...] | None) -> Need | None:
    """What `Need.freeze` gave; None stays None."""
    if frozen is None:
        return None
    is_place, is_all, success, failure, good, bad, left, engines = frozen
    need = Need(list(left), is_all=is_all, success=success, failure=failure, is_place=is_place)
    need.good, need.bad, need.engines = good, bad, dict.fromkeys(engines)
    return need


class Demands:
    """What one task demands, and what happened to it that restricts it further; a task without any has none of these.

    `timeout` is in nanoseconds. `targets` holds identities; None allows every engine. `refused` are the engines that
    found a dependency unmet, which never get it again. `avoid` is the one on which it failed last, which gets it again
    only once there is nobody else who may have it. `introduction` is the epoch of a timer for targets that are all
    unknown, else 0.

    `names`, `alive` and `slot` belong to the queue that the task stands in (`protocol.roles.task.queues`).
    """

    __slots__ = (
        "after", "alive", "avoid", "follow", "introduction", "names", "refused", "retries", "slot", "targets",
        "timeout",
    )  # fmt: skip

    def __init__(
        self,
        *,
        retries: int = 0,
        timeout: int | None = None,
        targets: tuple[bytes, ...] | None = None,
        after: Need | None = None,
        follow: Need | None = None,
    ) -> None:
        self.retries = retries
        self.timeout = timeout
        self.targets = targets
        self.after = after
        self.follow = follow
        self.refused: dict[bytes, None] = {}
        self.avoid: bytes | None = None
        self.introduction = 0
        self.names: tuple[bytes, ...] = ()
        self.alive = 0
        self.slot = -1

    @property
    def needs(self) -> tuple[Need, ...]:
        """`after` and `follow`, as far as they are there."""
        return tuple(need for need in (self.after, self.follow) if need is not None)

    @property
    def is_met(self) -> bool:
        """Whether the dependencies allow it to run."""
        return (self.after is None or self.after.is_met) and (self.follow is None or self.follow.is_met)

    @property
    def is_lost(self) -> bool:
        """Whether the dependencies forbid for ever that it runs."""
        return (self.after is not None and self.after.is_lost) or (self.follow is not None and self.follow.is_lost)

    @property
    def is_hopeful(self) -> bool:
        """Whether tasks that have not ended may still add engines that it can follow to."""
        return self.follow is not None and not self.follow.all and bool(self.follow.left)

    def allowed(self) -> tuple[bytes, ...] | None:
        """The engines it may go to, alive or not, by targets, follow and refusals; None: all but the refusing."""
        names = self.targets
        if self.follow is not None:
            engines = self.follow.engines
            names = tuple(engines) if names is None else tuple(name for name in names if name in engines)
        if names is None or not self.refused:
            return names
        return tuple(name for name in names if name not in self.refused)

    def barred(self) -> tuple[bytes, ...]:
        """The engines it must not go to while there are others."""
        if self.avoid is None or self.avoid in self.refused:
            return tuple(self.refused)
        return (*self.refused, self.avoid)

    def freeze(self) -> tuple[Any, ...]:
        """The whole of it as a tuple, without its place in a queue."""
        return (
            self.retries,
            self.timeout,
            self.targets,
            None if self.after is None else self.after.freeze(),
            None if self.follow is None else self.follow.freeze(),
            tuple(self.refused),
            self.avoid,
            self.introduction,
        )


def thaw_demands(frozen: tuple[Any, ...] | None) -> Demands | None:
    """What `Demands.freeze` gave; None stays None."""
    if frozen is None:
        return None
    retries, timeout, targets, after, follow, refused, avoid, introduction = frozen
    demands = Demands(
        retries=retries, timeout=timeout, targets=targets, after=thaw_need(after), follow=thaw_need(follow)
    )
    demands.refused = dict.fromkeys(refused)
    demands.avoid, demands.introduction = avoid, introduction
    return demands


def read_demands(metadata: Json, numbers: Mapping[int, bytes]) -> Demands | None:
    """The demands in a task's metadata, None if there are none. Raises BadDemandError.

    `after`, `follow`: null, a msg_id, a list of them, or `{dependencies, all, success, failure}`. `timeout`: seconds,
    null or 0 for none. `targets`: null, one or a list of uuids, or of numbers of engines, which `numbers` resolves.
    `retries`: a count. Other keys are not the scheduler's business.
    """
    get = metadata.get
    retries = get("retries")
    targets = get("targets")
    timeout = get("timeout")
    if (
        get("after") in _NOTHING
        and get("follow") in _NOTHING
        and targets in _NOTHING
        and timeout is None
        and (retries is None or (type(retries) is int and retries == 0))
    ):
        return None
    return Demands(
        retries=_count(retries),
        timeout=_nanoseconds(timeout),
        targets=None if targets in _NOTHING else _names(targets, numbers),
        after=_need("after", get("after")),
        follow=_need("follow", get("follow")),
    )


def _count(retries: object) -> int:
    if retries is None:
        return 0
    if type(retries) is not int or retries < 0:
        raise BadDemandError("retries is no count")
    return retries


def _nanoseconds(timeout: object) -> int | None:
    if timeout is None:
        return None
    # `not >=` also refuses what is no number at all, which one packer can write.
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not timeout >= 0:
        raise BadDemandError("timeout is no number of seconds")
    return int(timeout * SECOND) if 0 < timeout < _LONGEST else None


def _names(targets: object, numbers: Mapping[int, bytes]) -> tuple[bytes, ...]:
    names: dict[bytes, None] = {}
    for target in targets if isinstance(targets, list) else [targets]:
        if isinstance(target, str):
            try:
                names[target.encode()] = None
            except UnicodeEncodeError:
                raise BadDemandError("targets holds a text that is none") from None
        elif type(target) is int:
            if target in numbers:
                names[numbers[target]] = None
        else:
            raise BadDemandError("targets is no list of engines")
    return tuple(names)


def _need(field: str, value: object) -> Need | None:
    is_place = field == "follow"
    flags: dict[str, bool] = {}
    if isinstance(value, dict):
        for key in ("all", "success", "failure"):
            flag = value.get(key, key != "failure")
            if type(flag) is not bool:
                raise BadDemandError(f"{field}.{key} is neither true nor false", "InvalidDependency")
            flags["is_all" if key == "all" else key] = flag
        value = value.get("dependencies")
    ids = [value] if isinstance(value, str) else [] if value is None else value
    if not isinstance(ids, list) or not all(isinstance(each, str) for each in ids):
        raise BadDemandError(f"{field} names no tasks", "InvalidDependency")
    return Need(ids, is_place=is_place, **flags) if ids and value != "" else None
