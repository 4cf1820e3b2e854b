"""The pytest plugin (entry point `pytest11`): options, the choice of cases, and verdicts; `worlds` has the fixtures.

It acts only on the cases of this package; in any other test run it is silent. The verdict of a case travels on its
report as plain data, so that it survives the way from a worker of pytest-xdist to the session that prints.
"""

from __future__ import annotations

import difflib
import fnmatch
import os
import shlex
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conformance.harness.subject import Subject
    from conformance.harness.verdict import Result
    from conformance.targets.descriptor import Target

pytest_plugins = ["conformance.worlds"]

#: What is judged without `--target`: what the kit brings along and needs nothing else for.
DEFAULT_TARGETS = ("reference", "simulated")

#: Seconds that a person may need, and those that somebody else's busy cluster may.
PATIENCE, PATIENCE_ATTACHED = 3600.0, 60.0

_SUITE = Path(__file__).parent
_RESULTS: pytest.StashKey[list[Result]] = pytest.StashKey()
BY_RULE: pytest.StashKey[list[Result]] = pytest.StashKey()
#: The requirements that a case accused itself.
ACCUSED = pytest.StashKey[frozenset[str]]()
AT_THE_END: pytest.StashKey[list[Result]] = pytest.StashKey()
SUBJECT: pytest.StashKey[Subject] = pytest.StashKey()
NEXT: pytest.StashKey[pytest.Item | None] = pytest.StashKey()
#: Lines for the end of the run.
_TOLD: pytest.StashKey[list[str]] = pytest.StashKey()
_LOADED = pytest.StashKey["dict[str, Target]"]()
_STARTED: pytest.StashKey[float] = pytest.StashKey()
#: The attribute under which results travel on a report.
DETAIL = "ippkit"


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of the suite."""
    group = parser.getgroup("ippkit", "conformance of IPython Parallel implementations")
    group.addoption(
        "--target",
        action="append",
        metavar="NAME|FILE",
        default=[],
        help="judge this implementation: the name of a shipped descriptor or a descriptor file (repeatable; default: "
        f"{', '.join(DEFAULT_TARGETS)}). With --strict, known deviations count as violations.",
    )
    group.addoption(
        "--requirement",
        action="append",
        metavar="GLOB",
        default=[],
        help="run only the cases of requirements whose slug matches (repeatable)",
    )
    group.addoption(
        "--destructive",
        action="store_true",
        help="of what the kit is attached to: also run the cases that flood it, have all forgotten, or shut it down",
    )
    group.addoption(
        "--patient",
        action="store_true",
        help="wait for an answer as long as it takes (implied by --pdb, and to a lesser degree by attaching)",
    )
    group.addoption(
        "--update-deviations",
        action="store_true",
        help="write what a descriptor file does not list yet into it, as unreviewed; that still fails",
    )
    group.addoption(
        "--report",
        metavar="DIR",
        help="write a report: index.html with a page for each violation, report.json, junit.xml, badge.json",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, and refuse a wrong target before anything starts."""
    config.addinivalue_line("markers", "requirement(slug, ...): the requirements that a conformance case tests")
    config.addinivalue_line("markers", "connection_file(key=value, ...): what the file of a new engine is to say")
    config.addinivalue_line("markers", "needs(feature, ...): features that the target must declare for this case")
    config.addinivalue_line("markers", "needs_system(what): what only a system of processes and files has")
    config.addinivalue_line("markers", "destructive(what, ends=False): what would harm a target of somebody else")
    config.addinivalue_line("markers", "settings(name=value, ...): what the controller has to run with for this case")
    config.stash[_RESULTS] = []
    config.stash[_LOADED] = {}
    config.stash[_TOLD] = []
    if config.getoption("target"):
        targets_of(config)
    config.stash[_STARTED] = time.time()
    if config.getoption("update_deviations"):
        _refuse_to_update(config)
    if pages := pages_of(config):
        try:
            pages.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise pytest.UsageError(f"no report can be written to {pages.parent}: {error.strerror}") from None


def pages_of(config: pytest.Config) -> Path | None:
    """The folder for pages of violations, if a report is wanted."""
    folder: str | None = config.getoption("report")
    if not folder:
        return None
    from conformance.report.folder import VIOLATIONS

    return Path(folder) / VIOLATIONS


def _refuse_to_update(config: pytest.Config) -> None:
    """Only a descriptor that somebody keeps in a file can be written to."""
    from conformance.targets.descriptor import is_file

    if not config.getoption("target"):
        raise pytest.UsageError("--update-deviations needs a --target to write to")
    for word in config.getoption("target"):
        if not is_file(word):
            raise pytest.UsageError(f"--update-deviations writes to a descriptor file, and {word} is none of yours")


def targets_of(config: pytest.Config) -> dict[str, Target]:
    """What is judged, by the words of the command line; descriptors are read when this is first asked."""
    loaded = config.stash[_LOADED]
    if not loaded:
        import msgspec

        from conformance.targets import DescriptorError, load

        for word in config.getoption("target") or DEFAULT_TARGETS:
            try:
                target = load(word)
            except DescriptorError as error:
                raise pytest.UsageError(str(error)) from None
            if any(target.name == other.name for known, other in loaded.items() if known != word):
                raise pytest.UsageError(f"two targets have the name {target.name!r}; verdicts could not be told apart")
            if patience := _patience(config, target):
                target = msgspec.structs.replace(target, timing=target.timing.patient(patience))
            if target.attached and config.getoption("numprocesses", None):
                raise pytest.UsageError(
                    f"{target.name} runs already, and its cases cannot run side by side: leave out -n"
                )
            loaded[word] = target
    return loaded


def _patience(config: pytest.Config, target: Target) -> float:
    """The seconds for which an answer is waited for at least; 0 if it is the target's own affair."""
    if config.getoption("patient") or config.getoption("usepdb"):
        return PATIENCE
    return PATIENCE_ATTACHED if target.attached else 0.0


def command_of(config: pytest.Config, target: Target) -> str:
    """The command that judges this target as this run does."""
    word = next(word for word, loaded in targets_of(config).items() if loaded == target)
    return f"ippkit test -t {shlex.quote(word)}" + (" --strict" if _is_strict(config) else "")


def _is_strict(config: pytest.Config) -> bool:
    # pytest owns the option --strict; before version 9 it set an attribute, since then it overrides an ini value.
    return bool(config.getoption("strict", False)) or "strict=true" in (config.getoption("override_ini") or ())


def _is_case(item: pytest.Item) -> bool:
    return item.path.parent == _SUITE


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One run of each case per target of the role that it judges; without one it is marked by None, and deselected."""
    if "target" in metafunc.fixturenames and metafunc.definition.path.parent == _SUITE:
        from conformance.catalogue import role_of

        role = role_of(metafunc.definition.path.name)
        targets = {
            word: each.name
            for word, each in targets_of(metafunc.config).items()
            if role in each.roles and (not each.mutant or _covers(each.mutant, metafunc.definition))
        }
        words: list[str | None] = list(targets) or [None]
        metafunc.parametrize("target", words, ids=list(targets.values()) or [role], indirect=True, scope="session")


def _covers(mutant: str, definition: pytest.Item) -> bool:
    """Whether a case is one of those that have to find a mutant: of no other can anything be learnt about it."""
    from conformance.judging import case_name
    from conformance.mutants import find

    return find(mutant).covers(case_name(definition.nodeid), slugs_of(definition))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Check that each case names requirements that exist, and select by `--requirement`."""
    from conformance.catalogue import role_of
    from conformance.targets.vocabulary import FEATURES, OPTIONS
    from protocol.requirements import RequirementError, load

    cases = [item for item in items if _is_case(item)]
    if not cases:
        return
    try:
        slugs = load()
    except RequirementError as error:
        pytest.exit(f"the kit is not usable: {error}", returncode=3)
    for item in cases:
        named = slugs_of(item)
        unknown = [slug for slug in named if slug not in slugs]
        if unknown or not named:
            raise pytest.UsageError(f"{item.nodeid} names {unknown or 'no requirement'}; see protocol/requirements")
        # A typo would silently make the case not applicable to anybody.
        needs = item.get_closest_marker("needs")
        features = FEATURES[role_of(item.path.name)]
        if needs and not features.keys() >= set(needs.args):
            raise pytest.UsageError(f"{item.nodeid} needs {needs.args}; the features are {', '.join(features)}")
        if not OPTIONS.keys() >= (asked := settings_of(item)).keys():
            raise pytest.UsageError(f"{item.nodeid} asks for {list(asked)}; the options are {', '.join(OPTIONS)}")
        if _patience_of(item):
            item.add_marker(pytest.mark.timeout(0), append=False)
        elif item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(120))
    globs = config.getoption("requirement")
    for glob in globs:
        if not fnmatch.filter(slugs, glob):
            close = difflib.get_close_matches(glob, slugs, n=3)
            hint = f"; did you mean {', '.join(close)}?" if close else "; `ippkit requirements` lists them all"
            raise pytest.UsageError(f"no requirement matches {glob!r}{hint}")
    keep = [item for item in items if not _is_case(item) or word_of(item) is not None]
    if globs:
        keep = [
            item
            for item in keep
            if _is_case(item) and any(fnmatch.fnmatchcase(slug, glob) for slug in slugs_of(item) for glob in globs)
        ]
    # What harms comes last, and what ends everything at the very end.
    keep.sort(key=_harm)
    if len(keep) < len(items):
        config.hook.pytest_deselected(items=[item for item in items if item not in keep])
    items[:] = keep


def _patience_of(item: pytest.Item) -> float:
    word = word_of(item)
    return 0.0 if word is None else _patience(item.config, targets_of(item.config)[word])


def _harm(item: pytest.Item) -> int:
    """How much a case harms a target that is not started for it: 0 not at all, 2 it is gone."""
    word = word_of(item) if _is_case(item) else None
    marker = item.get_closest_marker("destructive")
    if word is None or marker is None or not targets_of(item.config)[word].attached:
        return 0
    return 2 if marker.kwargs.get("ends") else 1


def _refuse_harm(item: pytest.Item) -> None:
    """Keep a case from a target of somebody else that it could harm. Raises NotApplicable."""
    from conformance.catalogue import role_of
    from conformance.harness.verdict import NotApplicable

    target = targets_of(item.config)[word_of(item) or ""]
    if role_of(item.path.name) not in target.attached:
        return
    if marker := item.get_closest_marker("destructive"):
        if not item.config.getoption("destructive"):
            raise NotApplicable(f"{marker.args[0]}, and the target is somebody else's; --destructive allows it")
    elif any(name.startswith(("fresh_", "started_", "new_")) for name in fixtures_of(item)):
        raise NotApplicable("it needs a target of its own, and what the kit is attached to is not started again")


def fixtures_of(item: pytest.Item) -> list[str]:
    """The fixtures that a case takes, and those that these take."""
    names: list[str] = item.fixturenames  # type: ignore[attr-defined]
    return names


def word_of(item: pytest.Item) -> str | None:
    """What the command line calls the target of a case; None if there is no target of its role."""
    word: str | None = item.callspec.params["target"]  # type: ignore[attr-defined]
    return word


def slugs_of(item: pytest.Item) -> tuple[str, ...]:
    """The requirements that a case names."""
    marker = item.get_closest_marker("requirement")
    return tuple(marker.args) if marker else ()


def settings_of(item: pytest.Item) -> dict[str, tuple[object, ...]]:
    """What a case needs its controller to run with: for each name the values that will do."""
    asked: dict[str, tuple[object, ...]] = {}
    for marker in item.iter_markers("settings"):  # the closest first
        for name, value in marker.kwargs.items():
            asked.setdefault(name, value if isinstance(value, tuple) else (value,))
    return asked


def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Remember which case is the next one: what it needs can be started meanwhile."""
    item.stash[NEXT] = nextitem if nextitem is not None and _is_case(nextitem) else None


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Let what is started for a case know which it is."""
    if _is_case(item):
        name_case(item)
        _refuse_harm(item)


def name_case(item: pytest.Item) -> None:
    """Have the environment of what is started from now on say for which case, see `conformance.targets.command`."""
    os.environ["IPPKIT_CASE"] = slugs_of(item)[0]


# -- verdicts ----------------------------------------------------------------------------------------------------------


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Let no case accuse anybody of what happened while the kit itself stood still."""
    if not _is_case(item):
        return (yield)
    from conformance.harness.verdict import Blocked, Violated

    try:
        return (yield)
    except (Blocked, Violated):
        if (own := item.stash.get(SUBJECT, None)) is not None:
            own.expect_awake()
        raise


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Turn what happened in a case into results on its report."""
    report: pytest.TestReport = yield
    if not _is_case(item):
        return report
    from conformance import results as book
    from conformance.harness.verdict import NotApplicable
    from conformance.judging import results_of

    found: list[Result] = []
    if call.when == "call" or call.excinfo is not None:
        target = targets_of(item.config)[word_of(item) or ""]
        own, command = item.stash.get(SUBJECT, None), command_of(item.config, target)
        if own is not None and call.excinfo is not None and not isinstance(call.excinfo.value, NotApplicable):
            own.distrust()
        pages = pages_of(item.config)
        found = results_of(item, call, slugs_of(item), own, target=target.name, command=command, pages=pages)
        item.stash[ACCUSED] = frozenset(each.requirement for each in found if each.verdict in book.ACCUSING)
        for result in found:
            result.seconds = round(report.duration, 3)
    if call.when == "teardown":
        found += item.stash.get(BY_RULE, []) + item.session.stash.get(AT_THE_END, [])
        item.session.stash[AT_THE_END] = []
    if not _is_strict(item.config):
        found = [_excuse(item, result) for result in found]
    if call.excinfo is not None and any(result.verdict == "kit error" for result in found):
        from conformance.targets import TargetUnusable

        if isinstance(call.excinfo.value, TargetUnusable):
            item.session.shouldstop = "the target is not usable"
    setattr(report, DETAIL, [book.to_dict(result) for result in found])
    _settle(report, found)
    return report


def _excuse(item: pytest.Item, result: Result) -> Result:
    from conformance.results import excuse

    target = getattr(item, "funcargs", {}).get("target")
    return excuse(result, target, _version(target)) if target else result


def _version(target: Target) -> str | None:
    from conformance.targets import TargetUnusable
    from conformance.targets.process import detect_version

    try:
        return detect_version(target)
    except TargetUnusable:
        return None


def _settle(report: pytest.TestReport, found: list[Result]) -> None:
    """Give pytest the outcome that fits the verdicts, and the kit's text instead of a traceback."""
    verdicts = {result.verdict for result in found}
    if verdicts & {"failed", "kit error"}:
        report.outcome = "failed"
        # What ends a case ends it for all its requirements, and is told once.
        texts = [result.details or result.summary for result in found if result.verdict in ("failed", "kit error")]
        report.longrepr = "\n\n".join(dict.fromkeys(texts))
    elif verdicts & {"not applicable", "blocked", "undecided"} or (found and report.when == "setup"):
        # What has ended a case before it began, were it only a warning, leaves nothing to call.
        summary = next(result.summary for result in found if result.verdict != "passed")
        report.outcome = "skipped"
        report.longrepr = (str(report.location[0]), report.location[1] or 0, summary)
    elif found:
        report.outcome = "passed"
        report.longrepr = None


_LETTERS = {
    "failed": "F", "kit error": "E", "warned": "w", "known": "k", "new": "+", "observed": "o", "not applicable": "n",
    "blocked": "b", "undecided": "u",
}  # fmt: skip


def pytest_report_teststatus(report: pytest.TestReport | pytest.CollectReport) -> tuple[str, str, str] | None:
    """Name the verdict where pytest would say passed or skipped."""
    found = getattr(report, DETAIL, None)
    if not found:
        return None
    verdicts = {entry["verdict"] for entry in found}
    for verdict, letter in _LETTERS.items():
        if verdict in verdicts:
            return ("error" if verdict == "kit error" else verdict), letter, verdict.upper()
    return None if getattr(report, "when", "call") == "call" else ("", "", "")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Collect the results; under pytest-xdist this runs in the session that prints."""
    found = getattr(report, DETAIL, None)
    if found and _session_config is not None:
        from conformance.results import from_dict

        _session_config.stash[_RESULTS].extend(from_dict(entry) for entry in found)


_session_config: pytest.Config | None = None


def pytest_sessionstart(session: pytest.Session) -> None:
    """Remember the configuration for the hooks that are not given one."""
    global _session_config  # pytest_runtest_logreport is given no configuration
    _session_config = session.config


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Say which targets are judged."""
    names = [
        f"{target.name} ({', '.join([target.dialect, *target.profile])})" for target in config.stash[_LOADED].values()
    ]
    return [f"ippkit: target {', '.join(names)}"] if names else []


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Set the exit status that the verdicts call for."""
    config = session.config
    collected: list[Result] = config.stash[_RESULTS]
    if hasattr(config, "workerinput") or not collected or exitstatus not in (0, 1, 2):
        return
    from conformance.agreement import disagreements
    from conformance.results import exit_status, merge, stale, withdraw

    results = config.stash[_RESULTS] = withdraw(merge(collected))
    _hide(config, {each.target for each in results if each.is_unusable})
    # Under pytest-xdist this session has collected nothing, and so not read the descriptors yet.
    targets = targets_of(config).values()
    stale_fails = _is_strict(config) and any(stale(results, target, _version(target)) for target in targets)
    if exitstatus == 2 and not any(result.verdict == "kit error" for result in results):
        _report(session, is_complete=False)
        return  # interrupted from the keyboard
    if config.getoption("update_deviations"):
        _update_deviations(config, results)
    session.exitstatus = exit_status(
        results,
        session.testsfailed if exitstatus == 1 else 0,
        stale_fails=stale_fails,
        is_at_odds=bool(disagreements(results, targets)),
    )
    _report(session, is_complete=exitstatus != 2)


def _report(session: pytest.Session, *, is_complete: bool) -> None:
    """Write the report, if one is wanted."""
    config = session.config
    pages = pages_of(config)
    if pages is None:
        return
    from conformance.report import data, folder

    started = config.stash[_STARTED]
    targets = targets_of(config)
    words = ["ippkit", "test", *(word for name in targets for word in ("-t", name))]
    words += ["--strict"] if _is_strict(config) else []
    words += [word for glob in config.getoption("requirement") for word in ("--requirement", glob)]
    words += ["-k", config.getoption("keyword")] if config.getoption("keyword") else []
    results: list[Result] = config.stash[_RESULTS]
    report = data.report_of(
        results,
        [(target, _version(target)) for target in targets.values()],
        started=started,
        seconds=time.time() - started,
        command=shlex.join(words),
        exit_status=int(session.exitstatus),
        is_complete=is_complete,
    )
    folder.write(pages.parent, report)


def _update_deviations(config: pytest.Config, results: list[Result]) -> None:
    from conformance.deviations import update
    from conformance.targets import DescriptorError

    for target in targets_of(config).values():
        try:
            count = update(results, target, _version(target))
            told = f"{count} deviation{'' if count == 1 else 's'} added to {target.file}"
            told += "; each still fails until somebody gives the reason and removes `unreviewed`" if count else ""
        except (DescriptorError, OSError) as error:
            told = f"nothing was added to {target.file}: {error}"
        config.stash[_TOLD].append(told)


def _hide(config: pytest.Config, unusable: set[str]) -> None:
    """Let pytest tell of no violations by targets that were not usable."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or not unusable:
        return

    def is_told(report: Any) -> bool:
        found = getattr(report, DETAIL, ())
        return not found or any(each["is_unusable"] or each["target"] not in unusable for each in found)

    for stats in reporter.stats.values():
        stats[:] = [report for report in stats if is_told(report)]


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: Any, exitstatus: int, config: pytest.Config) -> Iterator[None]:
    """A line per family, then what pytest tells, the violations; and the last word: what was judged, and what not."""
    results: list[Result] = config.stash[_RESULTS]
    width = terminalreporter._tw.fullwidth
    if results:
        from conformance.report.console import families

        for line in families(results, list(targets_of(config).values()), width=width):
            terminalreporter.write_line(line)
    yield
    if exitstatus == 5 and config.stash[_LOADED]:
        globs = config.getoption("requirement")
        roles = {role for target in config.stash[_LOADED].values() for role in target.roles}
        about = f" and judges {' or '.join(f'the role {role}' for role in sorted(roles))}"
        why = f": no case that tests {' or '.join(globs)}{about} was left" if globs else ""
        terminalreporter.write_line(f"Nothing was selected{why}. Nothing was judged.")
    if results:
        from conformance.report.console import summary

        targets = list(targets_of(config).values())
        for line in (*summary(results, targets, _version, width=width), *config.stash[_TOLD]):
            terminalreporter.write_line(line)
