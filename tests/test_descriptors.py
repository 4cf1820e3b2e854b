"""Descriptors: what is read, what is refused in one sentence, and their schema."""

import re
import tomllib
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from conformance.files import data
from conformance.targets import DescriptorError, Target, TargetUnusable, load, versions
from conformance.targets.checking import expand, given_samples
from conformance.targets.descriptor import is_file, known, parse
from conformance.targets.profiles import PROFILES, core_of
from conformance.targets.schema import descriptor_schema
from conformance.targets.tables import Deviation
from conformance.targets.vocabulary import FEATURES
from protocol import requirements
from protocol.world import MILLISECOND, SECOND

GOOD = """
name = "mine"
dialect = "ipyparallel-9"
roles = ["controller"]
features = ["db", "history"]

[controller]
command = ["{python}", "-c", "pass", "--period={heartbeat_period_ms}", "{client_file}"]
client_file = "{dir}/client.json"
engine_file = "{dir}/engine.json"
environment = { WHERE = "{dir}" }

[controller.settings]
hwm = 2

[controller.options]
scheme = ["--scheme", "{scheme}", "--period={heartbeat_period_ms}"]

[timing]
heartbeat_period_ms = 200

[[deviation]]
slug = "wire.delimiter-present"
case = "test_*"
versions = "<2"
evidence = "sent this, received that"
reason = "argued here"
"""


def make(text: str = GOOD, path: Path = Path("mine.toml")) -> Target:
    return parse(text.encode(), path)


# -- descriptors -----------------------------------------------------------------------------------------------------


def test_a_descriptor_is_read_with_its_defaults():
    target = make()
    assert target.name == "mine"
    assert target.features == ("db", "history")
    assert target.controller is not None
    assert target.controller.ready == "answers"
    assert target.timing.heartbeat_period == 200 * MILLISECOND
    assert target.timing.reply_deadline == 10 * SECOND
    assert target.timing.heart_failure == (11 * 200 * MILLISECOND, 12 * 200 * MILLISECOND)
    assert target.deviations[0].slug == "wire.delimiter-present"
    assert target.file.endswith("mine.toml")


def test_placeholders_are_filled_in():
    target = make()
    values = target.placeholders(Path("/somewhere"), "controller")
    assert values["client_file"] == "/somewhere/client.json"
    assert expand("--period={heartbeat_period_ms}", values) == "--period=200"
    assert expand("{{x}} {here}", values) == "{x} " + str(Path("mine.toml").resolve().parent)


def test_what_a_case_asks_for_is_put_behind_the_command():
    arguments = make().arguments("controller", {"scheme": "lru"}, Path("/somewhere"))
    assert arguments == ["--scheme", "lru", "--period=200"]
    assert make().arguments("controller", {}, Path("/somewhere")) == []


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        ("heartbeat_period_ms = ", "heartbeat_perid_ms = ", "unknown key 'timing.heartbeat_perid_ms', did you mean"),
        ("[timing]", "[timng]", "unknown table 'timng', did you mean 'timing'?"),
        ("evidence", "evidense", "unknown key 'deviation[0].evidense', did you mean 'evidence'?"),
        ("name =", "mutant =", "unknown key 'mutant'; allowed here: name, "),
        ('"db"', '"dB"', "features: unknown value 'dB', did you mean 'db'?"),
        ('"controller"]', '"controler"]', "roles: unknown value 'controler', did you mean 'controller'?"),
        ('["controller"]', "[]", "roles: names no role; allowed: controller, engine, client, kernel"),
        ('["controller"]', '["controller", "engine"]', "roles: the role 'engine' needs a table [engine]"),
        ('"db"', '"watch"', "features: unknown value 'watch'"),
        ("[timing]", "[engine]\ncommand = ['x']\n[timing]", "there is a table [engine], but 'engine' is not among the"),
        (
            "[timing]",
            "[samples]\nprint = '{text}'\n[timing]",
            "samples: are code for an engine or a kernel, and",
        ),
        ("ipyparallel-9", "ipyparalel-9", "dialect: unknown value 'ipyparalel-9', did you mean 'ipyparallel-9'?"),
        ("= 200", '= "200"', "timing.heartbeat_period_ms: expected a whole number, got text in quotes, found '200'"),
        ("= 200", "= 0", "timing.heartbeat_period_ms: expected a positive number, found 0"),
        ("{client_file}", "{client_fil}", "controller.command: unknown placeholder {client_fil}, did you mean 'cl"),
        ('WHERE = "{dir}"', 'WHERE = "{dri}"', "controller.environment.WHERE: unknown placeholder {dri}, did you"),
        ("{dir}/client", "{client_file}/client", "controller.client_file: unknown placeholder {client_file}"),
        ("hwm = 2", "hmw = 2", "unknown key 'controller.settings.hmw', did you mean 'hwm'?"),
        ("hwm = 2", "hwm = -2", "controller.settings.hwm: expected a whole number >= 0"),
        ("hwm = 2", 'scheme = "lur"', "controller.settings.scheme: unknown value 'lur', did you mean 'lru'?"),
        ('scheme = ["', 'sheme = ["', "controller.options: unknown value 'sheme', did you mean 'scheme'?"),
        ('"{scheme}"', '"{hwm}"', "controller.options.scheme: unknown placeholder {hwm}"),
        ("wire.delimiter-present", "wire.delimiter-presnt", "did you mean 'wire.delimiter-present'?"),
        ('"<2"', '"~2"', "deviation[0].versions: '~2' is no comparison"),
        ('"argued here"', '" "', "deviation[0].reason: is empty"),
        ("[controller]", "[controller", "is not TOML"),
        ('name = "mine"', "", "lacks the key name"),
        ('client_file = "{dir}/client.json"', "", "controller: lacks the key client_file"),
    ],
)
def test_a_mistake_is_named_in_one_sentence(before: str, after: str, sentence: str):
    assert before in GOOD
    with pytest.raises(DescriptorError) as caught:
        make(GOOD.replace(before, after, 1))
    assert re.match(r"mine\.toml:(\d+:)? ", str(caught.value))
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


ENGINE = """
name = "mine"
dialect = "ipyparallel-9"
roles = ["engine"]
features = ["output"]

[engine]
command = ["my-engine", "--file={engine_file}", "--max-misses={engine_misses}"]

[samples]
print = "console.log(`{text}`); if (true) { }"
sleep = "sleep({seconds})"
"""


def test_an_engine_needs_no_controller_and_is_told_its_file():
    target = make(ENGINE)
    assert target.controller is None
    values = target.placeholders(Path("/somewhere"), "engine")
    assert values["engine_file"] == "/somewhere/ipcontroller-engine.json"
    assert "client_file" not in values
    assert target.samples.print == "console.log(`{text}`); if (true) { }"


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        ('roles = ["engine"]', 'roles = ["controller"]', "the role 'controller' needs a table [controller]"),
        ("{engine_file}", "{client_file}", "engine.command: unknown placeholder {client_file}"),
        ("{engine_misses}", "{engine_mises}", "engine.command: unknown placeholder {engine_mises}, did you mean"),
        ("print =", "prnt =", "unknown key 'samples.prnt', did you mean 'print'?"),
        ("`{text}`", "`text`", "samples.print: lacks {text}, in whose place the kit writes its own"),
        ('"output"', '"mux"', "features: unknown value 'mux'"),
        (
            'command = ["my-engine", "--file={engine_file}", "--max-misses={engine_misses}"]',
            "command = []",
            "engine: lacks the key com",
        ),
        (
            '"--file={engine_file}", "--max-misses={engine_misses}"',
            "3",
            "engine.command[1]: expected text in quotes, got a",
        ),
        ('"my-engine"', "' '", "engine.command: is empty"),
    ],
)
def test_a_mistake_about_an_engine_is_named_in_one_sentence(before: str, after: str, sentence: str):
    assert before in ENGINE
    with pytest.raises(DescriptorError) as caught:
        make(ENGINE.replace(before, after, 1))
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


CLIENT = """
name = "mine"
dialect = "ipyparallel-9"
roles = ["client", "kernel"]
features = ["apply", "stdin"]

[client]
command = ["{python}", "-c", "while True: print(input()[::-1], flush=True)", "{client_file}"]

[kernel]
command = ["my-kernel", "-f", "{kernel_file}"]

[samples]
print = "console.log(`{text}`)"
"""


def test_clients_and_kernels_are_told_their_files():
    target = make(CLIENT)
    assert target.placeholders(Path("/x"), "client")["client_file"] == "/x/ipcontroller-client.json"
    assert target.placeholders(Path("/x"), "kernel")["kernel_file"] == "/x/kernel.json"
    assert "kernel_file" not in target.placeholders(Path("/x"), "client")


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        ("[kernel]", "[engine]", "roles: there is a table [engine], but 'engine' is not among the roles"),
        ("{kernel_file}", "{client_file}", "kernel.command: unknown placeholder {client_file}, did you mean"),
        ('"stdin"', '"dependencies"', "features: unknown value 'dependencies'"),
        ('"client", "kernel"', '"client", "kernl"', "roles: unknown value 'kernl', did you mean 'kernel'?"),
    ],
)
def test_a_mistake_about_a_client_or_a_kernel_is_named_in_one_sentence(before: str, after: str, sentence: str):
    assert before in CLIENT
    with pytest.raises(DescriptorError) as caught:
        make(CLIENT.replace(before, after, 1))
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("before", "after", "line"),
    [
        ("heartbeat_period_ms = 200", "heartbeat_period_ms = 0", 20),
        ("hwm = 2", "hwm = -1", 14),
        ('reason = "argued here"', 'reason = ""', 27),
        ('evidence = "sent this, received that"', "", 22),
        ('"db", "history"', '"db", "histry"', 5),
        ('client_file = "{dir}/client.json"', "", 7),
        ('dialect = "ipyparallel-9"', "", None),
    ],
)
def test_a_mistake_is_found_in_its_line(before: str, after: str, line: int | None):
    with pytest.raises(DescriptorError) as caught:
        make(GOOD.replace(before, after, 1))
    assert str(caught.value).startswith(f"mine.toml:{line}: " if line else "mine.toml: ")


PROFILED = GOOD.replace("features", 'profile = ["controller-core", "controller-queries"]\nfeatures')


def test_a_profile_stands_for_its_features():
    target = make(PROFILED)
    assert target.features == ("mux", "control", "iopub", "queue", "results", "purge", "db", "history", "resubmit")


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        ('"controller-core", ', "", "profile: 'controller-queries' builds on 'controller-core', which is not among"),
        ("controller-queries", "controler-queries", "unknown value 'controler-queries', did you mean 'controller-q"),
        ("controller-queries", "engine-core", "profile: unknown value 'engine-core'"),
    ],
)
def test_a_profile_is_claimed_as_a_whole(before: str, after: str, sentence: str):
    with pytest.raises(DescriptorError) as caught:
        make(PROFILED.replace(before, after))
    assert sentence in str(caught.value)


def test_a_core_profile_needs_what_its_cases_need():
    with pytest.raises(DescriptorError, match="'engine-core' cannot be judged without the samples raise, define, rec"):
        make(ENGINE.replace("features", 'profile = ["engine-core"]\nfeatures'))


def test_profiles_speak_of_features_and_samples_that_exist():
    samples = set(given_samples(make()))
    for name, profile in PROFILES.items():
        assert set(profile.features) <= FEATURES[profile.role].keys(), name
        assert set(profile.samples) <= samples
        assert core_of(profile.role) in PROFILES
        assert name.startswith(f"{profile.role}-")


ATTACHED = """
name = "running"
dialect = "ipyparallel-9"
roles = ["controller", "kernel"]
[controller]
attach = true
client_file = "{here}/client.json"
engine_file = "~/engine.json"
[kernel]
attach = true
kernel_file = "kernel.json"
"""


def test_what_runs_already_is_not_started():
    assert make(ATTACHED).attached == ("controller", "kernel")
    assert make().attached == ()


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        (
            "attach = true\nclient",
            "client",
            "controller: lacks the key command, by which the target is started",
        ),
        ("attach = true\nkernel", "command = ['x']\nkernel", "kernel.kernel_file: is for a kernel that runs already"),
        ("attach = true\nkernel_file = 'kernel.json'", "attach = true", "kernel: lacks the key kernel_file"),
        ("[kernel]", "options = {hwm = ['x']}\n[kernel]", "controller.options: is for a target that the kit starts"),
        ("[kernel]", "command = ['x']\n[kernel]", "controller.command: is for a target that the kit starts, and"),
        ("{here}", "{dir}", "controller.client_file: unknown placeholder {dir}"),
    ],
)
def test_of_what_runs_already_only_the_files_are_asked_for(before: str, after: str, sentence: str):
    text = ATTACHED.replace('"kernel.json"', "'kernel.json'")
    assert before in text
    with pytest.raises(DescriptorError) as caught:
        make(text.replace(before, after, 1))
    assert sentence in str(caught.value)


def test_a_revision_of_the_future_is_refused():
    latest = requirements.revision()
    assert make(f"requirements = {latest}\n{GOOD}").requirements == latest
    with pytest.raises(DescriptorError, match=f"expected a revision from 1 to {latest}, .* found {latest + 1}"):
        make(f"requirements = {latest + 1}\n{GOOD}")


@pytest.mark.parametrize("text", [GOOD, ENGINE, CLIENT, PROFILED, ATTACHED])
def test_the_schema_accepts_what_is_right_and_refuses_a_typo(text: str):
    validator = Draft202012Validator(descriptor_schema())
    validator.check_schema(validator.schema)
    assert not list(validator.iter_errors(tomllib.loads(text)))
    assert list(validator.iter_errors(tomllib.loads(text.replace("roles", "role"))))
    assert list(validator.iter_errors(tomllib.loads(text + "\n[timng]\nx = 1")))


@pytest.mark.parametrize("name", known())
def test_the_schema_accepts_every_shipped_descriptor(name: str):
    raw = tomllib.loads(Path(load(name).file).read_text())
    assert not list(Draft202012Validator(descriptor_schema()).iter_errors(raw))


def test_text_that_is_not_utf_8_is_refused():
    with pytest.raises(DescriptorError, match="is not UTF-8 text"):
        parse(b"name = '\xff'", Path("mine.toml"))


def test_a_byte_order_mark_is_told_as_that():
    with pytest.raises(DescriptorError, match="begins with a byte order mark"):
        parse(b"\xef\xbb\xbfname = 'mine'", Path("mine.toml"))


def test_a_folder_is_told_as_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DescriptorError, match="mine: is a directory, and no descriptor file"):
        load("mine")


def test_a_file_is_found_whatever_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine").write_bytes((data("fixtures/targets") / "reference.toml").read_bytes())
    assert load("mine").name == "reference"
    assert is_file("mine"), "--update-deviations writes to it, too"
    assert not is_file("yours")


def test_the_name_of_a_target_is_none_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("reference").write_text("name = 'mine'")
    assert not is_file("reference")
    assert load("reference").name == "reference"


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(DescriptorError, match=r"no target 'ipyparalel', did you mean 'ipyparallel'\?; known targets: "):
        load("ipyparalel")


def test_a_missing_file_is_one_sentence(tmp_path: Path):
    with pytest.raises(DescriptorError, match=r"absent\.toml: cannot be read: No such file"):
        load(tmp_path / "absent.toml")


def test_a_descriptor_may_live_anywhere(tmp_path: Path):
    (tmp_path / "mine.toml").write_text(GOOD)
    assert load(str(tmp_path / "mine.toml")).name == "mine"


@pytest.mark.parametrize("name", known())
def test_every_shipped_descriptor_is_right(name: str):
    target = load(name)
    assert target.name == name
    assert not [deviation for deviation in target.deviations if deviation.unreviewed]
    assert set(target.features) <= {name for role in target.roles for name in FEATURES[role]}


def test_wrong_usage_and_an_unusable_target_have_their_own_exit_status():
    assert (DescriptorError.exit_status, TargetUnusable.exit_status) == (4, 3)


# -- versions and deviations -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "version", "expected"),
    [
        (">=9.2,<10", "9.2.0", True),
        (">=9.2,<10", "9.10", True),
        (">=9.2,<10", "9.1.9", False),
        (">=9.2,<10", "10.0", False),
        ("==9.2", "9.2.0", True),
        ("!=9.2", "9.2.0", False),
        ("<9.3", "9.3.0.dev1", False),
        (">=2.1.4", "2.1.11", True),
        ("", "anything is 1", None),
        ("", "1", True),
    ],
)
def test_versions_are_compared_as_numbers(rule: str, version: str, expected: bool | None):
    if expected is None:
        with pytest.raises(ValueError, match="does not begin with numbers"):
            versions.accepts(rule, version)
    else:
        assert versions.accepts(rule, version) is expected


@pytest.mark.parametrize(
    ("slug", "case", "version", "covered"),
    [
        ("wire.delimiter-present", "conformance/test_wire.py::test_x", "1.9", True),
        ("wire.delimiter-present", "conformance/test_wire.py::test_x[mine-a]", "1.9", True),
        ("wire.delimiter-present", "conformance/test_wire.py::other", "1.9", False),
        ("wire.delimiter-present", "conformance/test_wire.py::test_x", "2.0", False),
        ("wire.delimiter-present", "conformance/test_wire.py::test_x", None, False),
        ("wire.replay-refused", "conformance/test_wire.py::test_x", "1.9", False),
    ],
)
def test_a_deviation_covers_its_slug_its_cases_and_its_versions(slug, case, version, covered):
    target = make()
    assert (target.deviation(slug, case, version) is not None) is covered


@pytest.mark.parametrize(
    ("found", "told"),
    [("", True), ("output of *: * [never wrote]", True), ("the target: its process has ended*", False)],
)
def test_harm_is_known_by_what_was_noticed(found: str, told: bool) -> None:
    deviation = Deviation(slug="wire.malformed-harms-nobody", evidence="frames", reason="so it is", found=found)
    assert deviation.tells("output of another: what it [never wrote]") is told
