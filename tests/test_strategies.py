"""Every strategy makes what its name says, for every row of the registry."""

from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st

from protocol import strategies
from protocol.messages import OLD, REGISTRY, Content, KeyedContent, MessageType, Metadata, read, validate
from protocol.strategies import SPOKEN
from protocol.wire import Codec, Message

QUICK = settings(max_examples=10, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
IDS = [f"{row.channels[0]}.{row.name}-{dialect}" for row, dialect in SPOKEN]


def test_every_type_that_somebody_speaks_is_drawn() -> None:
    assert {row for row, _ in SPOKEN} == {row for row in REGISTRY if row.dialects and not row.is_raw}


@pytest.mark.parametrize(("row", "dialect"), SPOKEN, ids=IDS)
def test_messages_of_every_type_are_valid_and_survive_the_wire(row: MessageType, dialect: str) -> None:
    @QUICK
    @given(st.data())
    def check(data: st.DataObject) -> None:
        message = data.draw(strategies.messages(row, dialect))
        codec = data.draw(strategies.codecs(dialect))
        channel = data.draw(st.sampled_from(row.channels))
        assert message.msg_type == row.name_in(dialect)
        assert dialect != OLD or message.metadata == {}
        assert validate(message, channel, dialect, local=True).row is row
        reading = read(codec, codec.encode(message), channel, dialect)
        assert reading.row is row
        assert reading.message == message

    check()


def test_raw_types_have_no_messages() -> None:
    raw = next(row for row in REGISTRY if row.is_raw)
    with pytest.raises(ValueError, match="no envelope"):
        strategies.messages(raw)


@settings(QUICK, max_examples=100)
@given(strategies.envelopes(), strategies.codecs())
def test_envelopes_survive_the_wire(message: Message, codec: Codec) -> None:
    if len(codec.parts) == 3:
        message = message.replace(metadata={})
    opened = codec.open(codec.encode(message))
    assert opened == message
    assert [id(buffer) for buffer in opened.buffers] == [id(buffer) for buffer in message.buffers]


class Inner(msgspec.Struct):
    """A struct inside another."""

    depth: Annotated[int, msgspec.Meta(ge=1, le=3)]
    more: "list[Inner]" = []


class Strict(Content, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every kind of field with every kind of bound."""

    over: Annotated[int, msgspec.Meta(gt=4, lt=7)]
    ratio: Annotated[float, msgspec.Meta(gt=0, le=1)]
    name: Annotated[str, msgspec.Meta(min_length=2, max_length=3)]
    code: Annotated[str, msgspec.Meta(pattern="^[a-f]{2}$")]
    word: Literal["one", "two"]
    pair: tuple[int, str]
    some: Annotated[list[bool], msgspec.Meta(min_length=1, max_length=2)]
    table: dict[str, int]
    inner: Inner
    either: int | str | None
    given: Annotated[str | msgspec.UnsetType, msgspec.Meta(description="left out or text")] = msgspec.UNSET


class Counts(KeyedContent, frozen=True, kw_only=True):
    """Fixed keys and others."""

    entry_type = int
    total: int


class Labelled(Metadata, frozen=True, kw_only=True):
    """Metadata with one key."""

    label: str = ""


@settings(QUICK, max_examples=100)
@given(strategies.values(Strict))
def test_bounds_of_a_type_are_kept(value: dict[str, Any]) -> None:
    msgspec.convert(value, Strict)


@settings(QUICK, max_examples=50)
@given(strategies.values(Counts))
def test_keys_that_are_data_have_the_entry_type(value: dict[str, Any]) -> None:
    assert all(type(entry) is int for entry in value.values())
    assert "total" in value
    assert "entries" not in value


def test_optional_fields_are_drawn_and_left_out() -> None:
    once = settings(database=None, derandomize=True, phases=[Phase.generate])
    for present in (True, False):
        drawn = find(strategies.values(Labelled), lambda value, p=present: ("label" in value) is p, settings=once)  # type: ignore[misc]
        assert msgspec.convert(drawn, Labelled) is not None
    unknown = find(strategies.values(Labelled), lambda value: "x-unknown" in value, settings=once)
    assert msgspec.convert(unknown, Labelled) is not None


def test_a_kind_of_field_that_is_not_known_is_named() -> None:
    class Dated(Content, frozen=True):
        when: msgspec.Raw

    with pytest.raises(TypeError, match="no strategy for"):
        strategies.values(Dated)


@settings(QUICK, max_examples=30)
@given(strategies.any_message())
def test_any_message_has_a_name_of_the_registry(message: Message) -> None:
    assert message.msg_type in {row.name_in(dialect) for row, dialect in SPOKEN}
