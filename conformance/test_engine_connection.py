"""Engines: what their connection file tells them.

Source: jupyter_client docs, "Connection files" and "The Wire Protocol"; measured on ipyparallel 9.2.0.
"""

import pytest

from conformance.harness.case import connection_file, requirement
from conformance.harness.engine import EngineUnderTest
from conformance.harness.expect import ok
from conformance.harness.verdict import Finding, Violated, violate
from protocol.rules.parts import signature_of
from protocol.wire import DELIMITER
from protocol.world import Observation


def understood(engine: EngineUnderTest) -> Observation:
    """The first words of an engine, which must make itself understood."""
    words = engine.first_words()
    if words is None:
        violate(f"it ended with status {engine.instance.status} and said nothing", "a registration_request")
    if words.message is None:
        problems = words.error.problems if words.error else ()
        raise Violated(Finding(f"what nobody can read: {words.error}", ("a message",), evidence=(words.seq,),
                               problems=problems))  # fmt: skip
    return words


def served(engine: EngineUnderTest) -> None:
    """Register an engine, and let it run something."""
    understood(engine)
    engine.accept(engine.registration())
    engine.client().run(engine.sample("print", text="hello")).expect(ok("execute_reply"))


@connection_file(of_tomorrow={"a": [1, None]})
@requirement("connection.file-extra-keys")
def test_unknown_keys_of_the_file_are_ignored(new_engine: EngineUnderTest) -> None:
    served(new_engine)


@requirement("wire.signature-scheme")
@pytest.mark.parametrize(
    "scheme",
    [pytest.param(name, marks=connection_file(signature_scheme=name)) for name in ("hmac-sha512", "hmac-sha1")],
)
def test_messages_are_signed_as_the_file_says(new_engine: EngineUnderTest, scheme: str) -> None:
    assert new_engine.codec.scheme == scheme
    served(new_engine)


@connection_file(key="")
@requirement("wire.empty-key-unsigned")
def test_without_a_key_nothing_is_signed_and_everything_believed(new_engine: EngineUnderTest) -> None:
    words = understood(new_engine)
    if signature_of(words.frames):
        violate(f"a signature of {len(signature_of(words.frames))} bytes", "an empty frame", evidence=(words.seq,))
    served(new_engine)
    client = new_engine.client()
    request = client.message("execute_request", {"code": new_engine.sample("print", text="hello")})
    frames = list(new_engine.codec.encode(request))
    for count, signature in enumerate((b"whatever", b"", b""), 1):
        frames[frames.index(DELIMITER) + 1] = signature
        client.send_raw(frames, "under a signature that nobody checks")
        deadline = new_engine.world.now + new_engine.timing.reply_deadline
        new_engine.world.run_until(
            lambda count=count: len(new_engine.answers(request)) >= count,  # type: ignore[misc]
            deadline,
        )
        if len(new_engine.answers(request)) < count:
            found = f"no answer to copy {count} of a request, under the signature {signature!r}"
            violate(found, "an answer: without a key nothing can be told apart")
