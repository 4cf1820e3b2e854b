"""Mistakes of a client when it connects, with the engines that come and go, and in what it sends."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from client_mischief import (
    ENGINES,
    NEW,
    REPLIES,
    REQUESTS,
    Patch,
    deaf_after,
    fault,
    is_notification,
    leaving,
    method,
)

from conformance.drivers.desk import Desk
from conformance.drivers.lines import Told
from conformance.reference import objects
from conformance.targets import virtualclient
from protocol.connection import ClientFile, ConnectionFileError
from protocol.errors import RemoteProtocolError
from protocol.pickles import write
from protocol.roles.base import Arrived, Event, Send
from protocol.roles.client import Client, role
from protocol.roles.engineview import EngineView
from protocol.wire import DELIMITER, Codec, Frame, Message
from simulator.env import VirtualEnv
from simulator.shell import VirtualShell
from simulator.world import World

# -- connecting --------------------------------------------------------------------------------------------------------


def _forgiving(patch: pytest.MonkeyPatch) -> None:
    """Repair what is wrong with a file: mend its end, and read JSON whatever it says."""
    real = virtualclient.parse

    def parse(content: bytes, kind: Any, *, name: str) -> Any:
        for end in (b"", b"}", b'"}'):
            try:
                values = json.loads(content.rstrip(b", \n") + end)
            except ValueError:
                continue
            mended = {"pack": "json", "unpack": "json", "signature_scheme": "hmac-sha256"}
            return real(json.dumps(values | mended).encode(), kind, name=name)
        return real(content, kind, name=name)

    patch.setattr(virtualclient, "parse", parse)


def _strict_file(patch: pytest.MonkeyPatch) -> None:
    real = virtualclient.parse

    def parse(content: bytes, kind: Any, *, name: str) -> Any:
        found = real(content, kind, name=name)
        if found.extra:
            raise ConnectionFileError.file(name, "the usual keys", "others")
        return found

    patch.setattr(virtualclient, "parse", parse)


def _told_once_each(patch: pytest.MonkeyPatch) -> None:
    real = EngineView.add
    seen: list[int] = []
    patch.setattr(EngineView, "add", lambda self, number, uuid: (seen.append(number), real(self, number, uuid))[1])

    def engines(*_: Any) -> Any:
        return Told(engines=tuple(seen))
        yield

    patch.setattr(Desk, "_engines", engines)


def _never_subscribes(patch: pytest.MonkeyPatch) -> None:
    import simulator.clients as clients

    real = clients.opening

    def opening(end: Any, *more: Any) -> Any:
        kind, options = real(end, *more)
        return kind, [each for each in options if each[0] != "SUBSCRIBE" or end.address.key != "notification"]

    patch.setattr(clients, "opening", opening)


fault(
    "sees-no-engines",
    {f"{NEW}test_a_client_takes_the_engines_from_the_reply": "client.learns-engines"},
    lambda patch: patch.setattr(role, "listed", lambda _: {}),
)
fault(
    "wants-engines",
    {f"{NEW}test_a_client_may_come_before_any_engine": "client.learns-engines"},
    lambda patch: patch.setattr(role, "listed", lambda message, real=role.listed: real(message) or None),
)
fault(
    "subscribes-to-nothing",
    {f"{NEW}test_a_client_subscribes_before_the_engines_are_told": "connection.subscribe-before-asking"},
    _never_subscribes,
)
fault(
    "counts-twice",
    {f"{NEW}test_an_engine_that_is_told_twice_is_there_once": "connection.engine-set-idempotent"},
    _told_once_each,
)
fault(
    "strict-about-files",
    {f"{NEW}test_an_unknown_key_of_the_file_does_not_matter": "connection.file-extra-keys"},
    _strict_file,
)
fault(
    "looks-behind-no-wildcard",
    {
        f"{NEW}test_behind_a_wildcard_the_location_says_where_to_connect": (
            "connection.wildcard-interface-uses-location"
        )
    },
    method(
        ClientFile, "address",
        lambda real: lambda self, key, **more: (
            f"tcp://nowhere:{getattr(self, key)}" if "*" in self.interface else real(self, key, **more)
        ),
    ),
)  # fmt: skip
fault(
    "signs-in-one-way",
    {f"{NEW}test_the_file_says_how_messages_are_signed": "wire.signature-scheme"},
    lambda patch: patch.setattr(ClientFile, "codec", lambda self, replay: Codec(self.key.encode(), replay=replay)),
)
fault(
    "signs-anyway",
    {f"{NEW}test_with_an_empty_key_nothing_is_signed": "wire.empty-key-unsigned"},
    lambda patch: patch.setattr(
        ClientFile, "codec", lambda self, replay: Codec(self.key.encode() or b"x", scheme="hmac-sha256", replay=replay)
    ),
)
fault(
    "forgives-files",
    {
        f"{NEW}test_a_file_that_is_half_written_is_refused_or_waited_for[0.98]": "connection.half-written-file-waits",
        f"{NEW}test_a_file_that_wants_pickled_dictionaries_is_refused": "wire.packer-safe",
    },
    _forgiving,
)

# -- engines -----------------------------------------------------------------------------------------------------------


def _is_strange(_: Client, event: Event) -> bool:
    if type(event) is not Arrived or event.socket != "notification":
        return False
    return event.message.msg_type != "shutdown_notification" and role.announced(event.message) is None


def _ignores(*types: str) -> Patch:
    return method(
        Client, "_notified",
        lambda real: lambda self, now, message, effects: (
            None if message.msg_type in types else real(self, now, message, effects)
        ),
    )  # fmt: skip


def _strands(which: Callable[[Client, str], Sequence[str]]) -> Patch:
    return method(
        Client, "_lost",
        lambda _: lambda self, now, uuid, effects: self._strand(
            now, "engine unregistered", "it died", tuple(which(self, uuid)), effects
        ),
    )  # fmt: skip


def _finds_everybody(patch: pytest.MonkeyPatch) -> None:
    real = EngineView.find
    patch.setattr(EngineView, "find", lambda self, engine: real(self, engine) or (f"engine-{engine}", 99))


def _to_the_first(socket: str, message: Message) -> Message:
    return message.replace(identities=(b"engine-two",)) if socket in ("mux", "control") else message


def _says_nothing_after_the_end(patch: pytest.MonkeyPatch) -> None:
    real = Desk.look

    def look(self: Desk) -> None:
        if self.connection is not None and self.connection.role.gone:
            self._doing.clear()
        real(self)

    patch.setattr(Desk, "look", look)
    patch.setattr(Client, "_strand", lambda *_: None)


def _believes_anything(patch: pytest.MonkeyPatch) -> None:
    real = Codec.open_header

    def open_header(self: Codec, frames: Sequence[Frame]) -> Message:
        sound = list(frames)
        if DELIMITER in sound and len(sound) >= sound.index(DELIMITER) + 6:
            at = sound.index(DELIMITER)
            sound[at + 1] = self.sign(b"".join(bytes(each) for each in sound[at + 2 : at + 6]))
        return real(self, sound)

    patch.setattr(Codec, "open_header", open_header)


def _remembers_nothing(patch: pytest.MonkeyPatch) -> None:
    real = World.codec
    patch.setattr(World, "codec", lambda self, file=None: real(self) if file is None else file.codec())


def _remembers_too_early(patch: pytest.MonkeyPatch) -> None:
    real = Codec.open_header
    seen: set[bytes] = set()

    def open_header(self: Codec, frames: Sequence[Frame]) -> Message:
        signature = bytes(frames[list(frames).index(DELIMITER) + 1]) if DELIMITER in frames else b""
        if self.replay is not None:
            if signature in seen:
                raise RemoteProtocolError()
            seen.add(signature)
        return real(self, frames)

    patch.setattr(Codec, "open_header", open_header)


fault(
    "reads-no-registrations",
    {f"{ENGINES}test_engines_come_and_go": "client.follows-notifications"},
    _ignores("registration_notification"),
)
fault(
    "sends-to-the-first",
    {
        f"{ENGINES}test_an_engine_that_was_announced_is_sent_work": "client.addresses-engine",
        f"{REQUESTS}test_code_goes_to_the_engine_that_was_named": "client.addresses-engine",
    },
    leaving(_to_the_first),
)
fault(
    "deaf-after-the-unknown",
    {f"{ENGINES}test_a_notification_of_an_unknown_type_does_not_matter": "notification.unknown-types-ignored"},
    deaf_after(is_notification("tomorrow_notification")),
)
fault(
    "deaf-after-the-strange",
    {
        f"{ENGINES}test_after_a_strange_notification_the_next_one_counts[{what}]": "wire.sender-recovers"
        for what in ("no keys", "another type of id", "no uuid")
    },
    deaf_after(_is_strange),
)
fault(
    "believes-anything",
    {
        f"{ENGINES}test_a_forged_notification_changes_nothing": "wire.signature-verified",
        f"{REPLIES}test_a_forged_reply_is_no_reply": "wire.signature-verified",
        f"{REPLIES}test_a_signature_in_uppercase_is_refused": "wire.signature-uppercase-refused",
    },
    _believes_anything,
)
fault(
    "remembers-nothing",
    {f"{ENGINES}test_a_repeated_notification_changes_nothing": "wire.replay-refused"},
    _remembers_nothing,
)
fault(
    "remembers-too-early",
    {f"{REPLIES}test_a_forged_copy_does_not_block_the_genuine_reply": "wire.forged-copy-does-not-block"},
    _remembers_too_early,
)
fault(
    "mourns-nobody",
    {
        f"{ENGINES}test_the_death_of_an_engine_ends_what_it_had_to_do": "mux.dead-engine-inferred",
        f"{ENGINES}test_the_death_of_an_engine_ends_a_call": "mux.dead-engine-inferred",
    },
    _strands(lambda *_: ()),
)
fault(
    "mourns-all",
    {
        f"{ENGINES}test_the_death_of_an_engine_ends_nothing_of_another": "client.death-of-another",
        f"{ENGINES}test_work_for_several_engines_goes_on_without_the_dead_one": "client.death-of-another",
        f"{ENGINES}test_the_death_of_an_engine_does_not_end_a_task": "client.task-outlives-engine",
    },
    _strands(lambda self, _: tuple(self.open)),
)
fault(
    "finds-everybody",
    {
        f"{ENGINES}test_work_for_an_engine_that_is_not_there_ends_at_once[{why}]": "client.unknown-engine-refused"
        for why in ("never there", "gone")
    },
    _finds_everybody,
)
fault(
    "never-told-of-the-end",
    {
        f"{ENGINES}test_after_the_end_of_the_controller_new_work_fails": "client.refuses-after-shutdown",
        f"{ENGINES}test_the_end_of_the_controller_ends_what_is_open": "client.shutdown-ends-requests",
    },
    _ignores("shutdown_notification"),
)
fault(
    "dies-with-the-controller",
    {f"{ENGINES}test_a_wait_ends_in_time_when_the_controller_has_ended": "client.wait-ends-in-time"},
    _says_nothing_after_the_end,
)

# -- requests ----------------------------------------------------------------------------------------------------------


def _calls(change: Callable[[Message], Message]) -> Patch:
    return leaving(lambda _, message: change(message) if message.msg_type == "apply_request" else message)


def _with_metadata(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Patch:
    return _calls(lambda message: message.replace(metadata=change(dict(message.metadata))))


def _twice(patch: pytest.MonkeyPatch) -> None:
    real = VirtualShell.carry_send

    def send(self: Any, effect: Send) -> None:
        real(self, effect)
        if effect.socket == "mux" and isinstance(self.role, Client):
            real(self, effect)

    patch.setattr(VirtualShell, "carry_send", send)


def _miscounted(buffers: Sequence[Frame]) -> list[Frame]:
    return [buffers[0], write({"nargs": 7, "narg_bufs": 7, "kw_keys": []}), *buffers[2:]]


def _beside(value: Any) -> list[Frame]:
    import pickle

    return [pickle.dumps(value)]


fault(
    "trims-code",
    {f"{REQUESTS}test_code_goes_to_the_engine_that_was_named": "client.code-unchanged"},
    leaving(
        lambda _, message: (
            message.replace(content=dict(message.content) | {"code": message.content["code"].strip()})
            if message.msg_type == "execute_request"
            else message
        )
    ),
)
fault("sends-twice", {f"{REQUESTS}test_work_for_several_engines_goes_to_each_once": "client.one-request-each"}, _twice)
fault(
    "has-one-id",
    {f"{REQUESTS}test_work_for_several_engines_goes_to_each_once": "wire.msg-id-unique"},
    lambda patch: patch.setattr(VirtualEnv, "fresh_id", lambda self: f"{self.session}-always"),
)
fault(
    "puts-it-in-the-content",
    {f"{REQUESTS}test_a_call_is_in_its_buffers_and_not_in_its_content": "apply.request-content-empty"},
    _calls(lambda message: message.replace(content={"function": "add"})),
)
fault(
    "sends-one-buffer",
    {
        f"{REQUESTS}test_the_buffers_of_a_call_are_function_description_and_arguments[no argument]": (
            "apply.request-buffers-at-least-two"
        )
    },
    _calls(lambda message: message.replace(buffers=message.buffers[:1])),
)
fault(
    "miscounts",
    {
        f"{REQUESTS}test_the_buffers_of_a_call_are_function_description_and_arguments[{which}]": (
            "apply.argument-counts-true"
        )
        for which in ("two", "a name", "both")
    },
    _calls(lambda message: message.replace(buffers=_miscounted(message.buffers))),
)
fault(
    "describes-first",
    {f"{REQUESTS}test_the_buffers_of_a_call_are_function_description_and_arguments[two]": "apply.request-buffers"},
    _calls(lambda message: message.replace(buffers=[message.buffers[1], message.buffers[0], *message.buffers[2:]])),
)
fault(
    "says-bound",
    {f"{REQUESTS}test_a_call_does_not_say_whether_it_is_bound": "apply.bound-withdrawn"},
    _with_metadata(lambda metadata: metadata | {"bound": False}),
)
fault(
    "copies-large-bytes",
    {f"{REQUESTS}test_large_bytes_travel_beside_the_pickle": "apply.large-data-uncopied"},
    lambda patch: patch.setattr(objects, "pack_value", _beside),
)
fault(
    "names-an-engine-for-tasks",
    {f"{REQUESTS}test_a_task_has_no_engine_in_front": "client.task-names-no-engine"},
    leaving(lambda socket, message: message.replace(identities=(b"engine-two",)) if socket == "task" else message),
)
fault(
    "depends-on-numbers",
    {f"{REQUESTS}test_the_dependencies_of_a_task_are_message_ids": "client.task-metadata"},
    lambda patch: patch.setattr(Desk, "_ids", lambda _, commands: [str(number) for number in commands]),
)
fault(
    "drops-retries",
    {f"{REQUESTS}test_what_else_steers_a_task_stands_beside_them": "client.task-metadata"},
    _with_metadata(lambda metadata: {key: value for key, value in metadata.items() if key != "retries"}),
)
fault(
    "targets-without-ids",
    {
        f"{REQUESTS}test_a_broadcast_names_its_engines[{which}]": "client.broadcast-metadata"
        for which in ("a reply each", "one reply")
    },
    _with_metadata(lambda metadata: metadata | {"targets": [pair[0] for pair in metadata.get("targets", ())]}),
)
fault(
    "invents-ids",
    {f"{REQUESTS}test_a_program_can_know_the_ids_of_what_it_sent": "apply.retrieval-information"},
    method(Desk, "_send", lambda real: lambda *a: Told(msg_ids=tuple(f"{each}!" for each in real(*a).msg_ids or ()))),
)
