"""The state tables and the marks of all roles: closed, wholly reachable, and the same as what the roles do."""

import ast
import inspect
import pkgutil
import random
import sys
from importlib import import_module
from pathlib import Path

import pytest
from role_world import FakeEnv, message, unreadable

import protocol.roles
from protocol.devices import DEVICES
from protocol.roles.base import Arrived, Event, Exit, Finished, Fired, Role, Started, Stopping
from protocol.roles.engine import REQUEST, Engine, EngineConfig, Outcome
from protocol.roles.marks import MARKS
from protocol.roles.tables import Move, StateTable

FOLDER = Path(protocol.roles.__file__).parent
for found in pkgutil.walk_packages(protocol.roles.__path__, "protocol.roles."):
    import_module(found.name)


def concrete(kind: type[Role] = Role) -> set[type[Role]]:
    """Every role that can be made, however deep below the base."""
    below = {role for each in kind.__subclasses__() for role in concrete(each)}
    mine = {kind} if "NAME" in vars(kind) and kind.__module__.startswith("protocol.roles.") else set()
    return below | mine


ROLES = sorted(concrete(), key=lambda role: role.__name__)
TABLES = [table for role in ROLES for table in role.TABLES]


def sources(role: type[Role]) -> list[Path]:
    """The modules of a role: its file, or its whole folder."""
    file = Path(inspect.getfile(role))
    return [file] if file.parent == FOLDER else sorted(file.parent.glob("*.py"))


def words_outside_of_tables(file: Path) -> set[str]:
    """The string constants of a module but for those with which its tables are made."""
    tree = ast.parse(file.read_text("utf-8"))
    inside = {
        id(part)
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "StateTable"
        for part in ast.walk(call)
    }
    return {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside
    }


def marked(file: Path) -> set[str]:
    """The slugs that the code of a module marks."""
    return {
        str(call.args[0].value)
        for call in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr == "mark"
        and isinstance(call.args[0], ast.Constant)
    }


# -- tables ------------------------------------------------------------------------------------------------------------


def test_every_role_that_remembers_something_has_a_table() -> None:
    assert {role.__name__ for role in ROLES if not role.TABLES} == {
        "Heart", "MuxRelay", "ControlRelay", "IopubRelay", "TaskRelay",
    }  # fmt: skip


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.of)
def test_a_table_is_closed_and_everything_in_it_can_be_reached(table: StateTable) -> None:
    assert table.problems() == []
    assert table.illegal.endswith(".")
    assert all(state == state.strip() for _, _, move in table for state in move.states)


def test_a_hole_in_a_table_is_found() -> None:
    table = StateTable(
        "a door",
        {"open": {"pushed": "shut"}, "shut": {"pulled": "ajar | open"}, "locked": {}},
        illegal="No.",
        meanings={"open": "it is", "shut": "it is not"},
    )
    assert table.problems() == [
        "shut, pulled: there is no state 'ajar'",
        "nothing leads to locked",
        "locked is not explained",
    ]


def test_a_move_is_read_from_one_line() -> None:
    table = StateTable(
        "a door",
        {"open": {"pushed": "shut: bang, as doors: do", "blown": "open | shut"}, "shut": {}},
        illegal="",
        meanings={},
    )
    assert table.move("open", "pushed") == Move(("shut",), "bang, as doors: do")
    assert table.move("open", "blown") == Move(("open", "shut"), "")
    assert table.move("shut", "pushed") is None
    assert table.move("gone", "pushed") is None
    assert (table.states, table.events) == (("open", "shut"), ("pushed", "blown"))
    with pytest.raises(ValueError, match="too many"):
        assert table.rows["open"]["blown"].state


@pytest.mark.parametrize("role", [role for role in ROLES if role.TABLES], ids=lambda role: role.__name__)
def test_a_role_knows_every_event_of_its_tables(role: type[Role]) -> None:
    words = {word for file in sources(role) for word in words_outside_of_tables(file)}
    # A device names the messages that it handles itself.
    words |= {msg_type for row in DEVICES for msg_type in row.handles}
    # Where a request stands in the engine is which container it is in; the walk below compares that with the table.
    named = {event for table in role.TABLES if table is not REQUEST for event in table.events}
    assert named - words == set()


def test_requests_move_through_the_engine_as_the_table_says() -> None:
    seen: set[str] = set()
    for seed in range(200):
        seen |= walk(random.Random(seed))
    assert seen == set(REQUEST.events)


#: What happens to the engine -> what that may be to a request that it moves.
MEANS = {
    "came": {"its turn"},
    "aborted": {"aborted", "its turn"},
    "finished": {"finished", "its turn"},
    "failed": {"finished", "an earlier one failed", "its turn"},
    "engine ends": {"engine ends"},
}


def walk(chance: random.Random) -> set[str]:
    """Random requests and ends: every step of every request must be one of the table. The events that were seen."""
    engine = Engine(EngineConfig(uuid="a"), FakeEnv())
    engine.handle(0, Started())
    engine.handle(0, Arrived("query", message("registration_reply", {"status": "ok", "id": 0, "hb_period": 1000})))
    engine.handle(0, Finished(1, None))
    was: dict[str, str] = {}
    seen: set[str] = set()
    for number in range(12):
        what, event = happening(chance, engine, number, was)
        effects = engine.handle(0, event)
        for msg_id, before in was.items():
            now = standing(engine, msg_id)
            if now == before:
                continue
            moves = {each: REQUEST.move(before, each) for each in MEANS[what]}
            legal = {each for each, move in moves.items() if move is not None and now in move.states}
            assert legal, (before, what, now)
            seen |= legal
            was[msg_id] = now
        if any(isinstance(one, Exit) for one in effects):
            assert set(was.values()) <= {"answered"}
            break
    return seen


def happening(chance: random.Random, engine: Engine, number: int, was: dict[str, str]) -> tuple[str, Event]:
    """One event, and what it means to the requests that it changes."""
    kind = chance.choice(["code", "code", "code", "knowledge", "damage", "finish", "finish", "fail", "abort", "stop"])
    msg_id = f"m{number}"
    if kind in ("code", "knowledge", "damage"):
        was[msg_id] = REQUEST.states[0]
        if kind == "damage":
            return "came", Arrived("shell", unreadable("execute_request", msg_id, identities=[b"mux_out", b"client"]))
        msg_type = "execute_request" if kind == "code" else "kernel_info_request"
        content = {"code": "1", "silent": False, "stop_on_error": True} if kind == "code" else {}
        return "came", Arrived("shell", message(msg_type, content, msg_id, identities=[b"mux_out", b"client"]))
    if kind == "abort":
        return "aborted", Arrived("control", message("abort_request", {"msg_ids": None}, f"c{number}"))
    if kind == "stop" and number > 6:
        return "engine ends", Stopping()
    running = engine.work.running
    if not running:
        return "came", Fired("nothing", 0)
    if kind == "fail":
        return "failed", Finished(running, Outcome(status="error", content={"ename": "E", "evalue": ""}))
    return "finished", Finished(running, Outcome())


def standing(engine: Engine, msg_id: str) -> str:
    """The state of a request, as the engine's containers have it."""
    if any(queued.msg_id == msg_id for _, queued in engine.work.queue):
        return "queued"
    return "running" if any(job.message.msg_id == msg_id for job in engine.work.jobs.values()) else "answered"


# -- marks -------------------------------------------------------------------------------------------------------------


def test_every_mark_that_a_role_sets_is_listed_and_every_listed_one_is_set() -> None:
    assert {slug for file in FOLDER.rglob("*.py") for slug in marked(file)} == set(MARKS)
    assert list(MARKS) == sorted(MARKS)
    assert all(text[0].isupper() and text.endswith(".") for text in MARKS.values())


def test_every_mark_belongs_to_a_role_that_sets_it() -> None:
    for role in ROLES:
        mine = {slug for base in role.__mro__ if base.__module__ in sys.modules for slug in slugs_of(base)}
        assert set(role.MARKS) == mine, role.__name__
    assert {slug for role in ROLES for slug in role.MARKS} == set(MARKS)


def slugs_of(base: type) -> set[str]:
    """What the modules of one class of a role mark."""
    if not (base.__module__.startswith("protocol.roles.") and issubclass(base, Role)) or base is Role:
        return set()
    return {slug for file in sources(base) for slug in marked(file)}
