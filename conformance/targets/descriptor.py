"""Target descriptors: a TOML file that says what an implementation is, how it starts, and what it is known to break.

    name = "ipyparallel"                    # shown in reports
    dialect = "ipyparallel-9"
    roles = ["controller"]                  # and "engine", "client", "kernel"; each role has a table of its own
    profile = ["controller-core"]           # what it claims as a whole, see PROFILES
    features = ["db", "history"]            # what it claims besides, see FEATURES
    requirements = 2                        # optional: newer demands than those of this revision do not fail
    simulates = "reference"                 # only if it runs in virtual time: whose verdicts it must share

    [version]                               # optional
    command = ["{python}", "-c", "..."]     # prints the version on its first line
    accepts = ">=9.2,<10"

    [controller]
    command = ["{python}", "-m", "...", "--dir", "{dir}"]
    client_file = "{dir}/security/client.json"
    engine_file = "{dir}/security/engine.json"
    ready = "answers"                       # or "files": ready as soon as both files can be read
    environment = { NAME = "value" }
    attach = true                           # in place of command: it runs already, and these are its files

    [controller.settings]                   # what it runs with unless a case asks for something else
    scheme = "leastload"
    hwm = 1

    [controller.options]                    # arguments behind the command, by which a case may ask; see OPTIONS
    scheme = ["--scheme", "{scheme}"]

    [engine]                                # the kit is its controller, and writes {engine_file} before it starts
    command = ["my-engine", "--file={engine_file}", "--max-misses={engine_misses}"]
    environment = { NAME = "value" }

    [engine.options]                        # arguments behind the command, as scenarios need them; see ENGINE_OPTIONS
    uuid = ["--uuid={uuid}"]

    [client]                                # the kit is its controller and its engines, and writes {client_file}
    command = ["my-driver"]                 # is told what to do, and tells what came of it, in lines of JSON
    environment = { NAME = "value" }

    [kernel]                                # the kit is its clients, and writes {kernel_file}; the kernel binds
    command = ["my-kernel", "-f", "{kernel_file}"]
    environment = { NAME = "value" }
    attach = true                           # in place of command; with the key kernel_file

    [samples]                               # code in the language of the engine or kernel; see Samples
    print = "print('{text}')"

    [timing]                                # the target's own timers, as the command sets them
    heartbeat_period_ms = 100

    [[deviation]]                           # one per violation that is known and argued
    slug = "query.purge-pending-refused"
    case = "conformance/test_queries.py::*"
    versions = "<=9.2.0"
    evidence = "what was sent, what came back"
    reason = "why it is so, and where it is reported"
    intermittent = false                    # true: it does not always show
    found = ""                              # pattern of what conversations of `ippkit hunt` show of it
    unreviewed = false                      # true: nobody has said yet why it is so, and it still fails

A controller is ready when it answers, an engine when its registration_request arrives. A running controller or kernel
that the kit is attached to is neither started nor ended; its files are sought beside the descriptor, `~` is the home.

Placeholders: `{dir}` the private directory in which the target runs, `{here}` the folder of the descriptor, `{python}`
this interpreter, `{client_file}`, `{engine_file}` and `{kernel_file}` where the role has one, and every number of
`[timing]` by its name, so that no timer is written twice. `{{` and `}}` stand for braces, except in samples: there only
the names of that sample stand for something. An unknown key, feature or placeholder is an error that names the nearest
known one: a typo must never quietly weaken a run.
"""

import sys
import tomllib
from codecs import BOM_UTF8
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from conformance.files import data
from conformance.targets.checking import Mistake, check_names, check_types, check_values, expand, hint, line_of
from conformance.targets.errors import DescriptorError
from conformance.targets.profiles import PROFILES
from conformance.targets.tables import (
    Client,
    Controller,
    Deviation,
    Engine,
    Kernel,
    Samples,
    Table,
    Timing,
    Version,
)
from conformance.targets.vocabulary import FILES, Dialect, Role

FOLDER: Final = "fixtures/targets"
#: Of what all scenarios demand, whatever they are about, what is known of one says nothing of another.
GENERAL: Final = "wire."
#: The targets that can be given mutants.
SIMULATED: Final = ("simulated", "simulated-engine")


class Target(Table, frozen=True, kw_only=True):
    """A descriptor, read and checked. `file` is where it was read from.

    One that `simulates` another target is the kit's own roles in virtual time; nothing is started for it.
    """

    name: str
    dialect: Dialect
    roles: tuple[Role, ...]
    simulates: str = ""
    controller: Controller | None = None
    engine: Engine | None = None
    client: Client | None = None
    kernel: Kernel | None = None
    samples: Samples = Samples()
    version: Version | None = None
    profile: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    requirements: int | None = None
    timing: Timing = Timing()
    deviations: tuple[Deviation, ...] = msgspec.field(name="deviation", default=())
    file: str
    #: What is wrong with it on purpose: a name of `conformance.mutants`. No descriptor says so: see `load`.
    mutant: str = ""
    #: The interpreter that `{python}` stands for; the kit's own unless `load` was told another.
    python: str = sys.executable

    @property
    def attached(self) -> tuple[Role, ...]:
        """The roles in which it runs already: there it is neither started nor ended, and must not be harmed."""
        return tuple(role for role in self.roles if getattr(self.table(role), "attach", False))

    @property
    def is_simulated(self) -> bool:
        """Whether it runs in virtual time."""
        return bool(self.simulates)

    def table(self, role: Role) -> Controller | Engine | Client | Kernel | None:
        """How it is started in a role; None if it is not."""
        table: Controller | Engine | Client | Kernel | None = getattr(self, role)
        return table

    def placeholders(self, directory: Path, role: Role | None = None) -> dict[str, str]:
        """The value of every placeholder for a target that runs in `directory`, in this role or in none."""
        values = {"python": self.python, "here": str(Path(self.file).parent), "dir": str(directory)}
        values |= {name: _plain(value) for name, value in msgspec.structs.asdict(self.timing).items()}
        if role == "controller" and self.controller is not None:
            for name in ("client_file", "engine_file"):
                values[name] = expand(getattr(self.controller, name), values)
        if role is not None and role in FILES:
            values[f"{role}_file"] = str(directory / FILES[role])
        return values

    def arguments(self, role: Role, settings: Mapping[str, object], directory: Path) -> list[str]:
        """What is put behind the command of a controller or an engine that is asked to run with these settings."""
        table = self.table(role)
        options = table.options if isinstance(table, Controller | Engine) else {}
        values = self.placeholders(directory, role) | {name: str(value) for name, value in settings.items()}
        return [expand(text, values) for name in settings for text in options[name]]

    def deviation(self, slug: str, case: str, version: str | None) -> Deviation | None:
        """The first known deviation that covers a violation, or None."""
        return next((known for known in self.deviations if known.covers(slug, case, version)), None)

    def reason_in(self, slug: str, scenario: str, version: str | None) -> str:
        """The reason of the known deviation that a violation in a scenario is; empty for a new one.

        It is that of this scenario, or of whatever case showed that the requirement is broken.
        """
        known = [each for each in self.deviations if each.slug == slug and each.is_about(version)]
        known = [each for each in known if not each.unreviewed]
        here = next((each for each in known if each.covers(slug, scenario, version)), None)
        if here is not None:
            return here.reason
        if not known or slug.startswith(GENERAL):
            return ""
        return f"{known[0].reason} (As seen by {known[0].case}.)"


def known() -> list[str]:
    """The names of the descriptors that the kit brings along."""
    return sorted(path.stem for path in data(FOLDER).glob("*.toml"))


def is_file(word: str) -> bool:
    """Whether a word names a descriptor file: it ends in `.toml`, has a folder, or there is one and no such target."""
    word = _with_environment(word)[0]
    is_path = word.endswith(".toml") or "/" in word or "\\" in word
    return is_path or (word not in known() and Path(word).is_file())


def load(name_or_path: str | Path) -> Target:
    """The target of this name, or of the descriptor file at this path; a name that is known is none.

    `simulated+NAME` is the simulation with this mutant in it; with `@FOLDER` behind the name, `{python}` is that of the
    virtual environment there. Raises DescriptorError, in one sentence.
    """
    text, environment = _with_environment(str(name_or_path))
    if environment:
        return _in_environment(load(text), Path(environment))
    base, _, mutant = text.partition("+")
    if mutant and base in SIMULATED:
        return _infected(load(base), mutant)
    if isinstance(name_or_path, Path) or is_file(text):
        path = Path(name_or_path)
    else:
        if text not in known():
            if Path(text).is_dir():
                raise DescriptorError(f"{text}: is a directory, and no descriptor file")
            choice = ", ".join(known()) or "none"
            raise DescriptorError(
                f"there is no target {text!r}{hint(text, known())}; known targets: {choice}; or give the path of a "
                "descriptor file"
            )
        path = data(FOLDER) / f"{text}.toml"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DescriptorError(f"{path}: cannot be read: {error.strerror or error}") from None
    return parse(content, path)


def _with_environment(word: str) -> tuple[str, str]:
    """The name or file of a target, and the folder of a virtual environment behind it, if there is one."""
    text, is_there, environment = word.rpartition("@")
    return (text, environment) if is_there and (text in known() or text.endswith(".toml")) else (word, "")


def _in_environment(target: Target, folder: Path) -> Target:
    python = folder / "bin" / "python"
    if not python.is_file():
        raise DescriptorError(f"{folder}: is no virtual environment: there is no bin/python (see ippkit venv)")
    # Not resolved: through its link, an interpreter would not know to which environment it belongs.
    return msgspec.structs.replace(target, name=f"{target.name}@{folder.name}", python=str(python.absolute()))


def _infected(target: Target, mutant: str) -> Target:
    # The mutants are made of what is described here.
    from conformance.mutants import find

    try:
        role = find(mutant).judged_as
    except KeyError as error:
        raise DescriptorError(error.args[0]) from None
    if role not in target.roles:
        raise DescriptorError(f"the mistake of {mutant} is made by an {role}, which {target.name} is not")
    return msgspec.structs.replace(target, name=f"{target.name}+{mutant}", mutant=mutant)


def parse(content: bytes, path: Path) -> Target:
    """The target that these bytes describe; `path` is where they stood. Raises DescriptorError, in one sentence."""
    if content.startswith(BOM_UTF8):
        raise DescriptorError(f"{path}: begins with a byte order mark; save it as UTF-8 without one")
    try:
        raw = tomllib.loads(content.decode())
    except UnicodeDecodeError as error:
        raise DescriptorError(f"{path}: is not UTF-8 text (byte {error.start})") from None
    except tomllib.TOMLDecodeError as error:
        raise DescriptorError(f"{path}: is not TOML: {error}") from None
    try:
        check_names(raw, Target)
        target = check_types(raw, {"file": str(path.resolve())}, Target)
        check_values(target)
    except Mistake as mistake:
        line = line_of(content.decode(), mistake.place)
        raise DescriptorError(f"{path}:{f'{line}:' if line else ''} {mistake}") from None
    claimed = [name for each in target.profile for name in PROFILES[each].features]
    return msgspec.structs.replace(target, features=tuple(dict.fromkeys([*claimed, *target.features])))


def _plain(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
