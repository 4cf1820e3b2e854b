"""The language of virtual engines: what code does, and what becomes of it on an engine."""

import pytest

from protocol.messages import build
from protocol.wire import Message
from protocol.world import SECOND, Work
from simulator.scripts import Script, outcome, script_of, shown, written


def execute(code: str, **content: object) -> Message:
    return build("execute_request", {"code": code, "silent": False} | content, msg_id="m", session="s")


def test_work_is_a_script_wherever_it_stands() -> None:
    work = Work(takes=5, prints=2, refuses=("a",))
    call = build("apply_request", {}, msg_id="m", session="s", buffers=(b"", b"", written(work)))
    assert script_of(call) == script_of(execute(written(work).decode()))
    assert script_of(call).lines() == [("stdout", "line 0\n"), ("stdout", "line 1\n")]


@pytest.mark.parametrize("code", ["", "print(1)", "[]", '{"takes": "long"}', "\udce9"])
def test_what_is_no_script_returns_at_once(code: str) -> None:
    assert script_of(execute(code)) == Script()


@pytest.mark.parametrize(
    ("code", "name", "text"),
    [
        ('{"raises": "word"}', "ValueError", "word"),
        ('{"asks": "?"}', "EOFError", "an engine has no standard input"),
        ('{"uses": "x"}', "NameError", "name 'x' is not defined"),
        ('{"fails": true}', "ValueError", "the code failed"),
        ('{"refuses": ["*"]}', "UnmetDependency", "the dependencies are not met here"),
    ],
)
def test_code_may_end_with_an_error(code: str, name: str, text: str) -> None:
    ended = outcome(script_of(execute(code)), execute(code), "engine", {})
    assert (ended.status, ended.content["ename"], ended.content["evalue"]) == ("error", name, text)
    assert ended.dependencies_met is (name != "UnmetDependency")


def test_variables_last_until_they_are_cleared() -> None:
    names: dict[str, object] = {}
    define, use = execute('{"defines": "x"}'), execute('{"uses": "x"}')
    assert outcome(script_of(use), use, "engine", names).status == "error"
    assert outcome(script_of(define), define, "engine", names).status == "ok"
    assert outcome(script_of(use), use, "engine", names).status == "ok"
    names.clear()
    assert outcome(script_of(use), use, "engine", names).status == "error"


def test_values_are_shown_and_expressions_answered() -> None:
    code = '{"shows": "word"}'
    asked = execute(code, user_expressions={"good": code, "bad": '{"raises": "no"}'})
    assert shown(script_of(asked), asked) == {"data": {"text/plain": "'word'"}, "metadata": {}}
    assert shown(script_of(asked), execute(code, silent=True)) is None
    values = outcome(script_of(asked), asked, "engine", {}).content["user_expressions"]
    assert (values["good"]["status"], values["good"]["data"]) == ("ok", {"text/plain": "'word'"})
    assert (values["bad"]["status"], values["bad"]["evalue"]) == ("error", "no")


def test_time_is_given_in_nanoseconds_or_seconds() -> None:
    assert script_of(execute('{"takes": 5, "seconds": 0.5}')).lasts == 5 + SECOND // 2
