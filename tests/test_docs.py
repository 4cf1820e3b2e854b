"""The site: it is built once, without a warning, and then read as a browser would."""

import hashlib
import hmac
import pkgutil
import re
import shutil
import subprocess
import sys
import tomllib
from html import escape
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import protocol.roles
from conformance import reference_pages
from conformance.cli import ExitStatus
from conformance.harness.verdict import NOT_YET_TESTED, VERDICTS
from conformance.site import markdown as md
from conformance.site import roles
from conformance.site.overview import STACK, cluster_overview, kernel_overview, wires
from conformance.site.states import state_diagram
from conformance.targets import descriptor
from protocol import requirements
from protocol.channels import CHANNELS
from protocol.messages import REGISTRY
from protocol.roles.base import Role
from protocol.roles.tables import StateTable

DOCS = Path(__file__).parents[1] / "docs"

#: The site has hundreds of pages, and whoever builds it may have to share the machine.
pytestmark = pytest.mark.timeout(600)


class Page(HTMLParser):
    """What a page offers as targets of links, where it links to, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value for name, value in attrs if value is not None}
        if "id" in found:
            self.ids.append(found["id"])
        if tag in ("a", "link", "img", "script"):
            self.links += [found[name] for name in ("href", "src") if name in found]

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return "".join(self.words)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the built site."""
    folder = tmp_path_factory.mktemp("site")
    source = folder / "docs"
    shutil.copy(DOCS.parent / "README.md", folder)  # the guide shows its commands
    shutil.copytree(DOCS, source, ignore=shutil.ignore_patterns("reference", "_build"))
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", str(source), str(folder / "html")],
        capture_output=True,
        text=True,
        check=False,
        timeout=580,
    )
    assert done.stderr == ""
    assert done.returncode == 0
    return folder / "html"


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {path.relative_to(site): Page(path.read_text("utf-8")) for path in site.rglob("*.html")}


def test_every_requirement_has_a_section_whose_anchor_is_its_slug(pages: dict[Path, Page]) -> None:
    for slug, requirement in requirements.load().items():
        page = pages[Path(f"reference/requirements/{requirement.family}.html")]
        assert page.ids.count(slug) == 1
        assert all(piece in page.text for piece in requirement.text.split("`")), slug


def test_every_message_type_has_a_section(pages: dict[Path, Page]) -> None:
    for row in REGISTRY:
        page = pages[Path(f"reference/messages/{row.family}.html")]
        assert page.ids.count(f"message.{row.family}.{row.name}") == 1
        assert all(piece in page.text for piece in row.doc.split("`")), row.name
        assert all(name in page.text for name in row.all_names)


def test_every_channel_has_a_page_with_its_diagram_and_its_ends(site: Path, pages: dict[Path, Page]) -> None:
    for channel in CHANNELS:
        name = Path(f"reference/channels/{channel.name}.html")
        assert f"channel.{channel.name}" in pages[name].ids
        assert f"<title>The channel {channel.name}</title>" in (site / name).read_text("utf-8")
        for end in channel.ends:
            assert end.role in pages[name].text
            assert f"{end.socket} {end.attach}s" in pages[name].text


def test_no_internal_link_is_dead(site: Path, pages: dict[Path, Page]) -> None:
    dead = []
    for name, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (site / name.parent / unquote(parts.path)).resolve() if parts.path else site / name
            if not target.is_file():
                dead.append((str(name), link))
            elif parts.fragment and target.suffix == ".html":
                known = pages[target.relative_to(site.resolve())].ids if parts.path else page.ids
                if unquote(parts.fragment) not in known:
                    dead.append((str(name), link))
    assert dead == []


def test_no_anchor_is_given_twice(pages: dict[Path, Page]) -> None:
    for name, page in pages.items():
        if name.parts[0] == "reference":
            anchors = [each for each in page.ids if "." in each]
            assert len(anchors) == len(set(anchors)), name


def test_the_worked_signature_is_right(pages: dict[Path, Page]) -> None:
    text = pages[Path("wire.html")].text
    frames = dict(re.findall(r"^(delimiter|signature|header|parent header|metadata|content) {2,}(\S.*)$", text, re.M))
    key = re.search(r"With the key\s+(\S+)", text)
    assert key is not None
    signed = "".join(frames[name] for name in ("header", "parent header", "metadata", "content"))
    assert hmac.new(key[1].encode(), signed.encode(), hashlib.sha256).hexdigest() == frames["signature"]


def table(page: str, heading: str) -> list[list[str]]:
    """The cells of the first table below a heading of a hand-written page."""
    below = (DOCS / page).read_text("utf-8").partition(f"\n## {heading}\n")[2]
    lines = re.search(r"(?:^\|.*\n)+", below, re.M)
    assert lines is not None
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[0].splitlines()[2:]]


def test_the_tables_of_verdicts_and_statuses_are_complete() -> None:
    assert [row[0] for row in table("concepts.md", "Verdicts")] == list(VERDICTS)
    statuses = {str(int(status)) for status in ExitStatus if status is not ExitStatus.INTERRUPTED}
    assert {row[0] for row in table("getting-started.md", "Exit status")} == statuses
    columns = {row[0] for row in table("getting-started.md", "Read the result")}
    assert columns == {*VERDICTS, NOT_YET_TESTED} - {"observed", "kit error"}


def test_the_descriptors_in_the_guide_are_accepted(tmp_path: Path) -> None:
    blocks = re.findall(r"```toml\n(.*?)```", (DOCS / "getting-started.md").read_text("utf-8"), re.S)
    controller, engine, running, deviation = blocks
    assert descriptor.parse(running.encode(), tmp_path / "running.toml").attached == ("controller",)
    assert descriptor.parse(engine.encode(), tmp_path / "engine.toml").roles == ("engine",)
    whole = descriptor.parse(f"{controller}\n{deviation}".encode(), tmp_path / "mine.toml")
    assert whole.name == "mine"
    assert len(whole.deviations) == 1
    assert tomllib.loads(controller)["timing"]["heartbeat_period_ms"] == whole.timing.heartbeat_period_ms


def test_writing_again_changes_nothing_and_removes_what_is_old(tmp_path: Path) -> None:
    reference_pages.write(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    (tmp_path / "channels" / "gone.md").write_text("# Gone\n")
    reference_pages.write(tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()} == before


def test_the_overviews_name_every_channel_of_today() -> None:
    drawn = cluster_overview(lambda name: f"#{name}") + kernel_overview(lambda name: f"#{name}")
    today = {channel.name for channel in CHANNELS if "ipyparallel-9" in channel.dialects}
    assert {name for name in today if f'href="#{name}"' not in drawn} == set()
    roles = {end.role for wire in wires() for end in (wire.here, wire.there)}
    assert {role for role in (*roles, *STACK) if f">{role}</text>" not in drawn} == set()


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("a_b *c* <d> [e] {f} | #1", r"a\_b \*c\* \<d\> \[e\] \{f\} \| \#1"),
        ("the key `a_b|*` only", "the key `a_b|*` only"),
        ("one ` alone_", r"one ' alone\_"),
    ],
)
def test_prose_means_what_it_says(text: str, written: str) -> None:
    assert md.prose(text) == written


def test_a_bar_in_a_cell_does_not_end_it() -> None:
    assert md.table(("a",), [("`x|y`",), (r"p \| q",)]).splitlines()[2:] == [r"| `x\|y` |", r"| p \| q |"]


def test_every_role_has_a_page_with_all_that_is_known_of_it(site: Path, pages: dict[Path, Page]) -> None:
    for found in pkgutil.walk_packages(protocol.roles.__path__, "protocol.roles."):
        import_module(found.name)
    assert set(roles.ROLES) == concrete(Role)
    for role in roles.ROLES:
        name = Path(f"reference/roles/{roles.name(role)}.html")
        page, html = pages[name], (site / name).read_text("utf-8")
        assert f"role.{roles.name(role)}" in page.ids
        assert {f"#channel.{spec.channel}" for spec in role.SOCKETS.values()} <= fragments(page)
        for table in role.TABLES:
            assert f"<title>The states of {table.of}</title>" in html
            assert all(f">{state}</text>" in html for state in table.states)
            assert all(f">{escape(event)}</text>" in html for event in table.events)
            assert all(meaning in page.text for meaning in table.meanings.values())
            assert " ".join(table.illegal[1:].replace("`", "").split()) in " ".join(page.text.split())
        assert all(slug in page.text and text in page.text for slug, text in role.MARKS.items())
        mine = {f"#{each.slug}" for each in requirements.load().values() if role.NAME in each.roles}
        assert mine <= fragments(page)
        assert mine


def concrete(kind: type[Role]) -> set[type[Role]]:
    """Every role of the protocol below a class, itself included if it has a name."""
    below = {role for each in kind.__subclasses__() for role in concrete(each)}
    return below | ({kind} if "NAME" in vars(kind) and kind.__module__.startswith("protocol.roles.") else set())


def fragments(page: Page) -> set[str]:
    """The anchors that a page links to."""
    return {"#" + unquote(urlsplit(link).fragment) for link in page.links}


def test_a_state_diagram_has_one_row_of_arrows_for_each_entry() -> None:
    table = StateTable(
        "a door",
        {"open": {"pushed": "shut: bang", "blown": "open | shut"}, "shut": {}},
        illegal="No.",
        meanings={"open": "it is", "shut": "it is not"},
    )
    drawn = state_diagram(table)
    assert re.findall(r'class="event"[^>]*>([^<]*)<', drawn) == ["pushed", "blown"]
    assert re.findall(r'class="small"[^>]*>([^<]*)<', drawn) == ["bang"]
    # One dot for the beginning and one per row; a head for the beginning and one per state that may follow.
    assert drawn.count("<circle") == 3
    assert drawn.count("<polygon") == 4
    assert drawn.count('class="box final"') == 1
