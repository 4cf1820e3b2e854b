"""`ippkit explain` and `ippkit requirements`, and the example exchanges that they show."""

import hashlib
import hmac
import json

import pytest
from click.testing import CliRunner, Result

from conformance.catalogue import cases, untested
from conformance.cli import main
from conformance.exchanges import KEY, PREFERRED, Picture, answers, dialect_of, exchange, exchanges, pretty
from conformance.judges import logs_of, rules_of
from protocol.messages import REGISTRY, example, lookup
from protocol.messages.base import MessageType
from protocol.requirements import FAMILIES, load


def run(*args: str) -> Result:
    return CliRunner().invoke(main, args)


def row(name: str, channel: str = "query") -> MessageType:
    found = lookup(name, channel)
    assert found is not None
    return found


def part(picture: Picture, name: str) -> str:
    return next(part.text for part in picture.parts if part.name == name)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_requirement_can_be_explained(family: str) -> None:
    for slug, requirement in load().items():
        if requirement.family == family:
            result = run("explain", slug)
            assert result.exit_code == 0, (slug, result.exception)
            words = set(result.output.split())
            assert slug in words
            assert set(requirement.text.split()) <= words, slug
            assert {requirement.level, requirement.basis, *requirement.roles[-1:]} <= words, slug


def test_a_requirement_is_shown_with_exchange_rules_logs_and_cases() -> None:
    slug = "registration.duplicate-uuid-refused"
    lines = [line.strip() for line in run("explain", slug).output.splitlines()]
    assert "engine → hub: registration_request" in lines
    assert "hub → engine: registration_reply (ok)" in lines
    assert "or hub → engine: registration_reply (error)" in lines
    assert "or hub → engine: hub_error (error)" in lines
    for case in cases()[slug]:
        assert f"case  conformance/{case}" in lines
    for rule in rules_of(slug):
        assert any(line.startswith(f"rule  {rule.name()}: ") for line in lines)
        assert len(logs_of(rule)) >= 2
        for log in logs_of(rule):
            assert f"log   {log}" in lines


def test_an_unobservable_requirement_says_why() -> None:
    requirement = next(each for each in load().values() if each.unobservable is not None)
    assert f"not observable  {requirement.unobservable}" in run("explain", requirement.slug).output


def test_piped_output_has_no_colours_and_no_blanks_at_the_end_of_lines() -> None:
    for command in (["explain", "query.queue-counts"], ["requirements", "--family", "query"]):
        output = run(*command).output
        assert "\x1b" not in output
        assert not [line for line in output.splitlines() if line != line.rstrip()]


@pytest.mark.parametrize(
    ("slug", "hint"),
    [
        ("registration.duplicate-uid-refused", "did you mean registration.duplicate-uuid-refused"),
        ("zzz", "no requirement 'zzz' (see ippkit explain --help)"),
    ],
)
def test_an_unknown_slug_is_one_sentence_with_what_comes_close(slug: str, hint: str) -> None:
    result = run("explain", slug)
    assert result.exit_code == 4
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert hint in result.stderr


def test_the_table_lists_what_was_asked_for() -> None:
    def slugs(*options: str) -> set[str]:
        return {line.split()[0] for line in run("requirements", *options).stdout.splitlines()[1:] if line}

    assert slugs() == set(load())
    assert slugs("--family", "stdin") == {slug for slug, each in load().items() if each.family == "stdin"}
    assert slugs("--level", "may") == {slug for slug, each in load().items() if each.level == "MAY"}
    assert slugs("--untested") == {each.slug for each in untested()}


def test_an_empty_selection_has_its_own_exit_status(monkeypatch: pytest.MonkeyPatch) -> None:
    from conformance.cli import requirements

    only = {slug: each for slug, each in load().items() if each.family == "wire"}
    monkeypatch.setattr(requirements, "load", lambda: only)
    result = run("requirements", "--family", "stdin")
    assert result.exit_code == 5
    assert result.stdout == ""
    assert result.stderr == "ippkit: no requirement is selected\n"


def test_replies_name_their_request_and_the_roles_that_asked() -> None:
    shown = exchange(row("queue_request"), "ipyparallel-9")
    assert [(each.name, each.outcome) for each in shown.pictures] == [
        ("queue_request", ""),
        ("queue_reply", "ok"),
        ("queue_reply", "error"),
        ("hub_error", "error"),
    ]
    header = part(shown.request, "header")
    for reply in shown.replies:
        assert part(reply, "parent_header") == header
        assert reply.receiver == ("client",)


def test_shown_signatures_are_those_of_the_shown_message() -> None:
    request = row("queue_request")
    message = example(request, "ipyparallel-9")
    parts = [message.header, message.parent_header, message.metadata, message.content]
    signed = b"".join(json.dumps(each, separators=(",", ":"), ensure_ascii=False).encode() for each in parts)
    digits = hmac.new(KEY, signed, hashlib.sha256).hexdigest()
    assert part(exchange(request, "ipyparallel-9").request, "signature").startswith(digits[:12])


def test_the_oldest_dialect_has_three_dictionaries() -> None:
    names = [each.name for each in exchange(row("queue_request"), "ipython-0.1x").request.parts]
    assert names == ["identities", "delimiter", "signature", "header", "parent_header", "content"]


def test_every_row_has_an_exchange_with_everything_that_may_answer_it() -> None:
    for each in REGISTRY:
        for dialect in [name for name in PREFERRED if name in each.dialects] or [dialect_of(each)]:
            shown = exchange(each, dialect)
            drawn = [(id(picture.row), picture.parts) for picture in shown.replies]
            assert len(drawn) == len(set(drawn))
            assert {picture.row.name for picture in shown.replies} == {reply.name for reply in answers(each, dialect)}
            if each.replies and each.dialects:
                assert {reply.name for reply in answers(each, dialect)} >= set(each.replies), (each.name, dialect)


def test_the_messages_of_a_requirement_are_all_shown() -> None:
    for requirement in load().values():
        shown = {picture.row.name for each in exchanges(requirement) for picture in each.pictures}
        shown |= {
            name for each in exchanges(requirement) for picture in each.pictures for name in picture.row.all_names
        }
        assert set(requirement.messages) <= shown, requirement.slug


def test_pretty_keeps_the_value_and_the_width() -> None:
    value = {"a": [1, 2, {"b": "ü" * 30}], "c": {}, "d": ["x" * 20, "y" * 20, None]}
    text = pretty(value, 40)
    assert json.loads(text) == value
    assert max(map(len, text.splitlines())) <= 48
    assert pretty({"a": 1}, 40) == '{"a": 1}'
