"""How messages are protected, where a controller is told to do it otherwise: other hashes, no key, CURVE.

Sources: jupyter_client, messaging.rst, "The Wire Protocol", and kernels.rst, "Connection files"; measured on
ipyparallel 9.2.0 and ipykernel 7.4.0.
"""

import re

from conformance.harness.case import requirement, settings
from conformance.harness.controller import Controller
from conformance.harness.expect import ok
from conformance.harness.verdict import violate
from protocol.connection import Z85
from protocol.wire import DELIMITER, Codec


@settings(signature_scheme="hmac-sha512")
@requirement("wire.signature-scheme")
def test_messages_are_signed_with_the_hash_that_the_file_names(started_controller: Controller) -> None:
    for which, file in started_controller.instance.on_disk().items():
        if file.values.get("signature_scheme") != "hmac-sha512":
            violate(f"{file.values.get('signature_scheme')!r} in the {which} file", "hmac-sha512, as it was told")
    client = started_controller.client()
    client.answer_to(client.send("connection_request", {}), requirement="wire.signature-scheme").expect(
        ok("connection_reply")
    )
    # What is signed with the hash of everybody else is not signed at all.
    usual = Codec(started_controller.client_file.key.encode())
    client.send_raw("signed with another hash", usual.encode(client.make("connection_request", {})))
    client.expect_silence("a message that is signed with SHA-256")


@settings(empty_key=True)
@requirement("wire.empty-key-unsigned")
def test_without_a_key_nothing_is_signed_and_every_signature_is_taken(started_controller: Controller) -> None:
    if started_controller.client_file.key:
        violate("a key in the client file", "an empty one, as it was told")
    client = started_controller.client()
    frames = [bytes(frame) for frame in started_controller.codec.encode(client.make("connection_request", {}))]
    if frames[1]:
        raise AssertionError("the kit itself signs without a key")
    for signature in (b"", b"anything", b""):
        client.send_raw("without a key any signature will do", [DELIMITER, signature, *frames[2:]])
        reply = client.receive()
        if reply is None:
            violate(f"no answer to a request with the signature {signature!r}", "an answer, again and again")
        reply.expect(ok("connection_reply"))
        if bytes(reply.observation.frames[1]):
            violate(f"the signature {bytes(reply.observation.frames[1])!r} without a key", "an empty frame")


@settings(curve=True)
@requirement("connection.curve-empties-key")
def test_with_curve_the_files_have_the_servers_key_and_no_other(started_controller: Controller) -> None:
    for which, file in started_controller.instance.on_disk().items():
        key = file.values.get("curve_serverkey")
        if not isinstance(key, str) or not re.fullmatch(Z85, key):
            violate(f"curve_serverkey of another form in the {which} file", "40 characters of Z85")
        if file.values.get("key") != "":
            violate(f"a key for signatures in the {which} file", "an empty one: CURVE has the keys")
