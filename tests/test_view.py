"""`ippkit view`, and the stories that it draws."""

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from browser import dom
from click.testing import CliRunner, Result

from conformance.cli import main
from conformance.files import data
from conformance.report.cases import write_page
from conformance.report.page import as_html, frames_of
from conformance.report.reading import UnreadableStory, of_file, of_outcome, replayed, setup_of
from conformance.report.sequence import as_svg, as_text
from conformance.report.story import Line, Story, select
from protocol import recording
from protocol.errors import ProtocolError
from protocol.rules import Violation
from protocol.wire import Codec
from protocol.world import MILLISECOND, SECOND, Observation
from simulator.faults import ClockDrifting, Dropped, EngineTerminated
from simulator.plans import Event
from simulator.run import Setup, run
from simulator.trace import Trace

SVG = "{http://www.w3.org/2000/svg}"
BROKEN = data("fixtures/logs/connection.engines-listed.refused.jsonl")


def view(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["view", *arguments])


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("view") / "trace.jsonl"
    arguments = ["simulate", "engine-dies-with-queued-tasks", "--seed", "17", "--trace", str(path)]
    assert CliRunner().invoke(main, arguments).exit_code == 0
    return path


@pytest.fixture(scope="module")
def story(trace: Path) -> Story:
    return of_file(trace)


@pytest.fixture(scope="module")
def swarm() -> Story:
    faults = (
        Dropped(source="tasks/out", msg_type="apply_request", at_most=1), EngineTerminated(engine="engine-3"),
        ClockDrifting(who="tasks", per_mille=5),
    )  # fmt: skip
    plan = tuple(
        Event(at=(number + 1) * 300 * MILLISECOND, lasts=SECOND, fault=fault) for number, fault in enumerate(faults)
    )
    return replayed(Setup(seed=4, plan=plan))[0]


def messages(story: Story) -> list[Line]:
    return [line for line in story.lines if line.kind == "message"]


def test_what_was_sent_once_is_one_line_with_all_who_took_it(story: Story) -> None:
    (gone,) = [line for line in messages(story) if line.what == "unregistration_notification"]
    assert gone.sender == "hub"
    assert set(gone.receivers) == {"tasks", "broadcast", "client-1"}


def test_every_message_that_a_role_took_is_in_exactly_one_line(swarm: Story) -> None:
    seqs = [seq for line in messages(swarm) for seq in line.seqs]
    assert len(seqs) == len(set(seqs))
    assert not [line for line in messages(swarm) if "the other side" in line.lanes]


def test_a_request_goes_through_the_scheduler_and_comes_back(story: Story) -> None:
    path = [(line.sender, line.receivers, line.what) for line in messages(select(story, about="client-1_6"))]
    assert [step for step in path if step[2] != "status"] == [
        ("client-1", ("tasks",), "apply_request"),
        ("tasks", ("engine-2",), "apply_request"),
        ("engine-2", ("tasks",), "apply_reply"),
        ("tasks", ("client-1",), "apply_reply"),
    ]


def test_a_message_that_nobody_took_is_lost_with_the_one_it_was_for(swarm: Story) -> None:
    lost = {(line.sender, line.receivers, line.what, line.msg_id) for line in messages(swarm) if line.is_lost}
    dropped = [receivers for sender, receivers, what, _ in lost if (sender, what) == ("tasks", "apply_request")]
    assert len(dropped) == 1
    assert dropped[0][0].startswith("engine-")
    assert not [line for line in messages(swarm) if not line.receivers and not line.is_lost]


def test_faults_are_told_once_where_they_are_and_with_their_class(swarm: Story) -> None:
    faults = [line for line in swarm.lines if line.kind == "fault"]
    ended = [line for line in faults if line.sender == "engine-3" and "EngineTerminated" in line.what]
    assert len(ended) == 1
    assert not [line for line in faults if line.at == ended[0].at and line is not ended[0]]
    drifting = next(line for line in faults if line.what.startswith("ClockDrifting"))
    assert drifting.remark == "outside ZeroMQ's contract"
    assert any(line.kind == "healed" and line.what == f"over: {drifting.what}" for line in swarm.lines)


def test_what_is_quiet_is_left_out_unless_asked_for(story: Story) -> None:
    everything = select(story, is_all=True)
    assert everything.lines == story.lines
    channels = {line.channel for line in messages(select(story))}
    assert channels == set(story.channels) - {"monitor", "heartbeat-ping", "heartbeat-pong"}
    assert {line.channel for line in messages(select(story, channels=["monitor"]))} == {"monitor"}
    for line in messages(select(story, roles=["engine-2"], is_all=True)):
        assert "engine-2" in line.lanes


def test_clients_stand_at_the_left_and_engines_at_the_right(story: Story) -> None:
    lanes = list(story.lanes)
    assert lanes[0] == "client-1"
    assert lanes[-3:] == ["engine-1", "engine-2", "engine-3"]


def test_a_swarm_is_read_from_its_trace_with_all_faults(tmp_path: Path) -> None:
    path = tmp_path / "swarm.jsonl"
    assert CliRunner().invoke(main, ["simulate", "--seed", "4", "--tasks", "5", "--trace", str(path)]).exit_code == 0
    head = json.loads(path.read_text().splitlines()[0])
    setup = setup_of(head["setup"])
    assert setup.plan == run(Setup(seed=4, tasks=5)).plan
    assert of_file(path).notes == ()


def test_a_drawing_of_a_file_that_only_its_owner_may_read_is_as_private(trace: Path, tmp_path: Path) -> None:
    source, out = tmp_path / "private.jsonl", tmp_path / "drawing.txt"
    source.write_bytes(trace.read_bytes())
    out.touch(mode=0o644)
    for mode, others in ((0o644, True), (0o600, False)):
        source.chmod(mode)
        assert view(str(source), "--out", str(out)).exit_code == 0
        assert bool(out.stat().st_mode & 0o044) == others
    assert "apply_request" in out.read_text()


def test_a_trace_of_a_run_that_goes_otherwise_now_says_so(trace: Path, tmp_path: Path) -> None:
    lines = trace.read_text().splitlines()
    other = tmp_path / "other.jsonl"
    other.write_text("\n".join([json.dumps({**json.loads(lines[0]), "digest": "0" * 32}), *lines[1:]]))
    assert of_file(other).notes[0].startswith("This is the run as it is now")
    assert not of_file(trace).notes[0].startswith("This")


def test_a_recording_is_judged_and_what_is_wrong_is_marked() -> None:
    story = of_file(BROKEN)
    assert [violation.partition(":")[0] for violation in story.violations] == ["connection.engines-listed"]
    assert [line.what for line in story.lines if line.is_accused] == ["connection_request", "connection_reply"]
    text = as_text(story).splitlines()
    assert any(line.startswith("!    ") and "──> hub: connection_request" in line for line in text)


@pytest.mark.parametrize("path", sorted(data("fixtures/logs").glob("*.jsonl"))[::9], ids=lambda path: path.stem)
def test_recorded_logs_can_be_drawn(path: Path) -> None:
    story = of_file(path)
    ET.fromstring(as_svg(story))
    assert as_text(story)


def test_the_drawing_has_a_row_for_every_line_and_marks_what_is_accused() -> None:
    story = of_file(BROKEN)
    drawing = ET.fromstring(as_svg(story))
    rows = {group.get("id"): group.get("class", "").split() for group in drawing.iter(f"{SVG}g")}
    assert list(rows) == [f"row-{number}" for number in range(len(story.lines))]
    for number, line in enumerate(story.lines):
        assert ("accused" in rows[f"row-{number}"]) == line.is_accused
    titles = [text.text for text in drawing.iter(f"{SVG}text")]
    assert f"✗ {story.violations[0]}" in titles


def test_the_drawing_of_a_run_shows_faults_and_losses(swarm: Story) -> None:
    drawing = as_svg(select(swarm))
    assert drawing.count('class="row fault"') == sum(line.kind == "fault" for line in swarm.lines)
    assert drawing.count("✕") == sum(line.is_lost for line in select(swarm).lines)


def held(page: str) -> dict[str, Any]:
    """What the script of a page is given."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    value: dict[str, Any] = json.loads(found[1])
    return value


def test_the_page_holds_every_line_with_a_row_and_its_decoded_frames(story: Story) -> None:
    page = as_html(story)
    data_of_page = held(page)
    assert len(data_of_page["lines"]) == len(story.lines)
    assert page.count('<g class="row ') == len(story.lines)
    request = next(line for line in data_of_page["lines"] if line["id"] == "client-1_6")
    parts = {name: data_of_page["texts"][text] for name, text in request["parts"]}
    assert json.loads(parts["header"])["msg_type"] == "apply_request"
    assert {"parent_header", "metadata", "content"} <= set(parts)
    assert data_of_page["quiet"] == ["heartbeat-ping", "heartbeat-pong", "monitor"]


def test_a_party_that_is_hidden_takes_no_room_and_arrows_to_it_are_gone(tmp_path: Path, story: Story) -> None:
    path = tmp_path / "page.html"
    path.write_text(as_html(select(story)))
    whole, part = dom(path), dom(path, "#hide=hub,broadcast")

    def roles(page: str) -> dict[str, float]:
        """Where the name of each party that is shown stands."""
        heads = re.findall(r'<text class="role( closed)?" x="([\d.]+)"([^>]*)>([^<]+)<', page)
        by = {name: re.search(r"translateX\((-?[\d.]+)px", style) for _, _, style, name in heads}
        return {
            name: float(x) + (float(shift[1]) if (shift := by[name]) else 0) for gone, x, _, name in heads if not gone
        }

    lanes = list(select(story).lanes)
    assert list(roles(whole)) == lanes
    left = [lane for lane in lanes if lane not in ("hub", "broadcast")]
    # They stand where the first ones stood.
    assert roles(part) == dict(zip(left, list(roles(whole).values())[: len(left)], strict=True))
    assert 'class="wire closed"' in part
    assert 'class="wire closed"' not in whole


def test_the_page_needs_nothing_else(swarm: Story) -> None:
    page = as_html(swarm)
    assert "default-src 'none'" in page
    assert not re.search(r"""(?:src|href)\s*=|@import|url\(|\bfetch\b|XMLHttp|import\(""", page)


def test_what_a_message_says_cannot_become_part_of_the_page() -> None:
    evil = "</script><script>alert(1)</script>"
    line = Line(kind="message", at=0, sender="hub", what=evil, receivers=("client-1",), channel="query", msg_id=evil)
    page = as_html(Story(title=evil, lines=(line,), violations=(evil,)))
    assert "<script>alert" not in page
    assert held(page)["lines"][0]["what"] == evil


def test_every_violation_leads_to_the_messages_that_show_it() -> None:
    lines = held(as_html(of_file(BROKEN)))["lines"]
    assert [line["accused"] for line in lines] == [[0], [0]]


def test_of_frames_that_are_no_message_the_bytes_and_the_problems_are_shown() -> None:
    codec = Codec(b"", packer="json")
    with pytest.raises(ProtocolError) as caught:
        codec.open((b"<IDS|MSG>", b"\xff" * 900))
    seen = Observation(
        seq=1, now=0, observer="client-1", socket="client-1/query", channel="query", direction="received", peer="hub",
        frames=(b"<IDS|MSG>", b"\xff" * 900), error=caught.value,
    )  # fmt: skip
    (first, problems), (_, delimiter), (_, rest) = frames_of(seen)
    assert first == "problems"
    assert caught.value.problems[0].rule in problems
    assert delimiter == "<IDS|MSG>"
    assert rest.startswith("\\xff\\xff")
    assert rest.endswith("… 900 bytes")


def test_a_page_of_nothing_but_quiet_channels_hides_none(story: Story) -> None:
    assert held(as_html(select(story, channels=["monitor"])))["quiet"] == []


@pytest.mark.parametrize(("ending", "is_whole"), [(".html", True), (".svg", False)])
def test_a_simulated_run_is_drawn_at_once(tmp_path: Path, ending: str, is_whole: bool) -> None:
    out = tmp_path / f"out{ending}"
    arguments = ["simulate", "engine-dies-with-queued-tasks", "--seed", "17", "--diagram", str(out)]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert f"Diagram: {out}" in result.output
    assert ("on monitor" in out.read_text()) == is_whole


def test_without_a_file_the_diagram_is_printed(trace: Path) -> None:
    result = view(str(trace), "--task", "client-1_6")
    assert result.exit_code == 0, result.output
    assert "tasks    ──> engine-2: apply_request client-1_6" in result.output
    assert "engine-1 *** engine-1 ended with status -9" in result.output
    assert "client-1_7" not in result.output


@pytest.mark.parametrize(("ending", "first"), [(".svg", "<svg"), (".html", "<!DOCTYPE html>"), (".txt", "engine-dies")])
def test_the_name_of_the_file_decides_about_the_form(trace: Path, tmp_path: Path, ending: str, first: str) -> None:
    out = tmp_path / f"out{ending}"
    result = view(str(trace), "--out", str(out))
    assert result.exit_code == 0, result.output
    assert result.output.startswith(f"{out}: ")
    assert out.read_text().startswith(first)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--out", "out.png"], "ends with none of .svg"),
        (["--role", "engine-9"], "there is no lane 'engine-9'; there are: client-1, "),
        (["--channel", "tusk"], "there is no channel 'tusk'; there are: "),
        (["--task", "nothing"], "no message is about 'nothing'"),
    ],
)
def test_wrong_usage_is_one_sentence(trace: Path, arguments: list[str], sentence: str) -> None:
    result = view(str(trace), *arguments)
    assert result.exit_code == 4
    assert sentence in result.output
    assert len(result.output.splitlines()) == 1


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "neither a trace of ippkit simulate nor a recording"),
        (b"{}", "neither a trace of ippkit simulate nor a recording"),
        (b"\xff\xfe", "it is not text"),
        (b'{"format": "other"}', "line 1, format: expected 'ippkit-recording', found 'other'"),
        (b'{"setup": {"name": "no-such", "plan": null}}', "there is no scenario 'no-such'"),
        (b'{"setup": {"seed": "x", "plan": null}}', "its setup cannot be read"),
        (b'{"setup": {"name": "swarm", "plan": null, "mutant": "no-such"}}', "there is no mutant 'no-such'"),
        (b'{"setup": 3}', "its setup cannot be read"),
        (b'{"setup": {"plan": [{"at": 1, "lasts": null, "fault": {"type": "Magic"}}]}}', "its setup cannot be read"),
    ],
)
def test_a_file_that_holds_no_story_is_one_sentence(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "file.jsonl"
    path.write_bytes(content)
    with pytest.raises(UnreadableStory, match=re.escape("file.jsonl: ")):
        of_file(path)
    result = view(str(path))
    assert result.exit_code == 4
    assert reason in result.output
    assert len(result.output.splitlines()) == 1


def test_keeping_everything_changes_nothing() -> None:
    outcome = run(Setup(name="mass-death", seed=3, has_trace=True))
    assert isinstance(outcome.trace, Trace)
    assert replayed(Setup(name="mass-death", seed=3))[1] == outcome.digest


def test_the_page_of_a_case_is_named_after_what_it_shows(tmp_path: Path) -> None:
    seen = [item for item in recording.read(BROKEN.read_text().splitlines()).items if isinstance(item, Observation)]
    where = {"target": "my controller", "case": "test_x.py::test_a", "requirement": "connection.engines-listed"}
    path = write_page(tmp_path, **where, found="nothing", observations=seen, evidence=(2,), notes=["allowed: more"])
    assert path.name == "my-controller.connection.engines-listed.test_a.html"
    page = held(path.read_text())
    assert page["violations"] == ["connection.engines-listed: nothing"]
    assert page["notes"] == ["allowed: more"]
    assert [line["accused"] for line in page["lines"]] == [[], [0]]


def test_the_evidence_against_somebody_in_a_run_is_marked_even_where_it_is_quiet() -> None:
    outcome = run(Setup(name="mass-death", seed=3, has_trace=True, keeps_items=True))
    assert outcome.judgement is not None
    items = outcome.judgement.recorder.items
    copy = next(each for each in items if isinstance(each, Observation) and each.channel == "monitor")
    violation = Violation(
        requirement="storage.passive", rule="storage.passive", guilty="hub", evidence=(copy.seq,), found="this",
        allowed=("that",), now=copy.now,
    )  # fmt: skip
    outcome.judgement.violations.append(violation)
    outcome.violations += [str(violation), "wire.reply-true: nobody saw how"]
    story = of_outcome(outcome)
    assert story.violations == (str(violation), "wire.reply-true: nobody saw how")
    (line,) = [line for line in select(story).lines if line.is_accused]
    assert (line.channel, line.accused) == ("monitor", (0,))
    assert as_svg(select(story)).count('class="row message accused"') == 1
    assert f"! {violation}" in as_text(story)
