"""What a recording shows, as a report: the one that a run of the suite ends with."""

import fnmatch
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

import msgspec

from conformance.harness.explain import explain
from conformance.harness.verdict import Result, finding_of
from conformance.relay.jury import EVERYBODY, MEMORY, TIMED, Charge, Jury
from conformance.report.console import summary
from conformance.results import NOTHING_SELECTED, accuse, exit_status
from conformance.targets.descriptor import Target
from conformance.targets.process import detect_version
from conformance.targets.tables import Timing
from conformance.targets.vocabulary import Role
from protocol.patterns import DIALECTS, Dialect
from protocol.recording import Reader, RecordingError
from protocol.requirements import get
from protocol.rules.setting import Setting
from protocol.world import Observation

#: Messages on the same socket that are shown before each piece of evidence, and the most that is shown in all.
BEFORE: Final = 5
SHOWN: Final = 40

Key = tuple[Role, str, str]


class Unreadable(ValueError):
    """A file that is no recording of a relay; the text says which file, and why."""


class OtherRole(ValueError):
    """A target of another role than anybody in a recording; the text says so."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be judged: requirements by glob (none: all), with known deviations of `target`, with these timers.

    `is_whole`: everybody who ever used the controller was recorded.
    """

    globs: tuple[str, ...] = ()
    target: Target | None = None
    timing: Timing | None = None
    is_whole: bool = False
    is_strict: bool = False

    def is_chosen(self, slug: str) -> bool:
        """Whether this requirement is to be judged."""
        return not self.globs or any(fnmatch.fnmatchcase(slug, glob) for glob in self.globs)


class _Found:
    """What a recording shows: the first violation of each requirement by each party, and how many there are."""

    def __init__(self, jury: Jury) -> None:
        self.jury = jury
        self.firsts: dict[Key, Charge] = {}
        self.counts: Counter[Key] = Counter()

    def add(self, charges: Sequence[Charge], wanted: Wanted) -> None:
        for charge in charges:
            slug = charge.violation.requirement
            if wanted.is_chosen(slug):
                key = (charge.role, charge.who, slug)
                self.firsts.setdefault(key, charge)
                self.counts[key] += 1


def report(path: Path, wanted: Wanted) -> tuple[int, list[str]]:
    """The exit status, and the lines. Raises Unreadable, OtherRole, OSError, and TargetUnusable for another version.

    The file is read twice: the traffic around what is accused is looked up once that is known.
    """
    found = _judge(path, wanted)
    target, roles = wanted.target, found.jury.roles
    if target is not None and roles and not set(target.roles) & set(roles):
        is_one = f"{target.name} is no {' and no '.join(roles)}"
        raise OtherRole(f"{is_one}, and nothing else was recorded in {path}: its known deviations say nothing here")
    version = None if target is None else detect_version(target)
    results = [*_accusations(path, found, wanted, version), *_passed(found, wanted, path.name)]
    if not results:
        what = f" about {' or '.join(wanted.globs)}" if wanted.globs else ""
        return NOTHING_SELECTED, [f"{path}: nothing that was recorded can be judged{what}"]
    lines = []
    for result in results:
        if result.verdict in ("failed", "warned"):
            lines += [f" {result.requirement}: {result.case} ".center(100, "_"), *result.details.splitlines(), ""]
    shown = Target(name=path.name, dialect=_dialect(path, found.jury.dialect), roles=found.jury.roles, file=str(path))
    lines += summary(results, [shown], lambda _: version)
    lines += _unseen(found.jury, wanted)
    return exit_status(results, 0), lines


@contextmanager
def reading(path: Path) -> Iterator[Reader]:
    """A recording of a relay; complaints of whoever reads on come out with the file's name."""
    with path.open(encoding="utf-8") as stream:
        try:
            reader = Reader(stream)
            if reader.head.vantage != "relay":
                raise Unreadable(f"{path}: no relay has recorded it (ippkit view shows what rules find in it)")
            yield reader
        except RecordingError as error:
            is_other = error.line == 1 and error.field in {"line", "format"}
            raise Unreadable(f"{path}: {'is not made by ippkit record: ' if is_other else ''}{error}") from None
        except UnicodeDecodeError:
            raise Unreadable(f"{path}: no recording: it is not text") from None


def _judge(path: Path, wanted: Wanted) -> _Found:
    with reading(path) as reader:
        setting = reader.head.setting
        if wanted.target is not None:
            setting = msgspec.structs.replace(setting, dialect=wanted.target.dialect)
        if wanted.timing is not None:
            setting = _with(wanted.timing, setting)
        _dialect(path, setting.dialect)
        found = _Found(Jury(setting, reader.head.codec, has_timing=wanted.timing is not None, is_whole=wanted.is_whole))
        for item in reader:
            found.add(found.jury.observe(item), wanted)
        found.add(found.jury.finish(reader.end), wanted)
    return found


def _dialect(path: Path, name: str) -> Dialect:
    for known in DIALECTS:
        if known == name:
            return known
    raise Unreadable(f"{path}: there is no dialect {name!r}; there are: {', '.join(DIALECTS)}")


def _with(timing: Timing, setting: Setting) -> Setting:
    return msgspec.structs.replace(
        setting, period_ns=timing.heartbeat_period, allowed_misses=timing.allowed_misses,
        registration_timeout_ns=timing.registration_timeout,
    )  # fmt: skip


def _accusations(path: Path, found: _Found, wanted: Wanted, version: str | None) -> Iterator[Result]:
    shown = _around(path, list(found.firsts.values()))
    for key, charge in found.firsts.items():
        role, who, slug = key
        violation = charge.violation
        text = explain(get(slug), finding_of(violation), shown[key], f"ippkit check {path} --requirement {slug}")
        if found.counts[key] > 1:
            text += f"\n({found.counts[key]} times in this recording)"
        result = Result(slug, who, path.name, accuse(slug), violation.found, text, by_rule=True)
        yield _excused(result, role, wanted, version)


def _excused(result: Result, role: Role, wanted: Wanted, version: str | None) -> Result:
    """A recording has no cases, so a known deviation is known whatever the case in which it was found."""
    target = wanted.target
    if target is not None and not wanted.is_strict and role in target.roles and result.verdict in ("failed", "warned"):
        for known in target.deviations:
            if known.slug == result.requirement and known.is_about(version) and not known.unreviewed:
                return replace(result, verdict="known", reason=known.reason)
    return result


def _passed(found: _Found, wanted: Wanted, name: str) -> Iterator[Result]:
    for (role, who), slugs in found.jury.exercised.items():
        for slug in sorted(slugs):
            if wanted.is_chosen(slug) and (role, who, slug) not in found.firsts:
                yield Result(slug, who, name, "passed", by_rule=True)


def _around(path: Path, charges: Sequence[Charge]) -> dict[Key, list[Observation]]:
    """What is worth showing of each violation: its evidence, and what came before on the same sockets."""
    asking: defaultdict[int, list[Key]] = defaultdict(list)
    for charge in charges:
        for seq in charge.violation.evidence[-SHOWN // (BEFORE + 1) :]:
            asking[seq].append((charge.role, charge.who, charge.violation.requirement))
    shown: defaultdict[Key, dict[int, Observation]] = defaultdict(dict)
    if asking:
        latest: defaultdict[str, deque[Observation]] = defaultdict(lambda: deque(maxlen=BEFORE + 1))
        with reading(path) as reader:
            for item in reader:
                if isinstance(item, Observation):
                    latest[item.socket].append(item)
                    for key in asking.get(item.seq, ()):
                        shown[key] |= {each.seq: each for each in latest[item.socket]}
    return {key: [seen[seq] for seq in sorted(seen)] for key, seen in shown.items()} | {
        (charge.role, charge.who, charge.violation.requirement): []
        for charge in charges
        if (charge.role, charge.who, charge.violation.requirement) not in shown
    }


def _unseen(jury: Jury, wanted: Wanted) -> Iterator[str]:
    """What this recording cannot show, in a line for each reason."""
    if jury.passed_over:
        yield f"{jury.passed_over} messages were not judged: they belong to what was over {MEMORY} messages before."
    unseen = {slug for slug in jury.unobservable if wanted.is_chosen(slug)}
    timed = unseen & TIMED
    if timed:
        yield f"{len(timed)} of them need the controller's timers: give --ping, --misses and --registration-timeout."
    partial = (unseen & EVERYBODY) - timed
    if partial:
        yield f"{len(partial)} of them need a recording of everybody from the start: say --whole if it is."
    if unseen - timed - partial:
        yield f"{len(unseen - timed - partial)} of them need the Hub's own traffic or inner state, which no relay sees."
