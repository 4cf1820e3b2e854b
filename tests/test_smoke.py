"""Before anything is judged: is there somebody who answers, and who does not say yes to everything?"""

from pathlib import Path

import msgspec
import pytest

from conformance.harness.deployment import ControllerDeployment
from conformance.targets import Target, TargetUnusable
from conformance.targets.descriptor import parse

HUB = Path(__file__).parent / "broken_hub.py"


def hub(fault: str) -> Target:
    """The lean hub with a fault."""
    words = msgspec.json.encode(["{python}", str(HUB), "{dir}", fault]).decode()
    return parse(
        f"""
        name = "demo"
        dialect = "ipyparallel-9"
        roles = ["controller"]
        [controller]
        command = {words}
        client_file = "{{dir}}/client.json"
        engine_file = "{{dir}}/engine.json"
        ready = "files"
        [timing]
        heartbeat_period_ms = 50
        allowed_misses = 8
        reply_deadline_s = 1.5
        """.encode(),
        Path("demo.toml"),
    )


def test_what_answers_is_there_and_stays_there() -> None:
    deployment = ControllerDeployment(hub("none"))
    first = deployment.shared()
    deployment.prove_again(is_blamed=False)
    assert deployment.shared() is first
    deployment.close()


def test_what_grants_everything_cannot_be_judged() -> None:
    with pytest.raises(TargetUnusable, match="demo: it answers a nonsense_request with ok: then no other ok means"):
        ControllerDeployment(hub("grants-everything")).shared()


def test_what_dies_of_the_unknown_is_started_again_for_the_cases() -> None:
    # Whether it may die of that is for a case to say, which needs one that lives.
    deployment = ControllerDeployment(hub("dies-of-the-unknown"))
    assert deployment.shared().is_running
    deployment.close()


def test_what_is_silent_is_not_there() -> None:
    with pytest.raises(TargetUnusable, match="nothing answers a connection_request"):
        ControllerDeployment(hub("answers-nobody")).shared()


def test_what_ends_by_itself_after_the_last_case_is_not_usable() -> None:
    deployment = ControllerDeployment(hub("none"))
    subject = deployment.shared()
    subject.terminate()
    subject.expect_end()
    # If something was found before, that may have ended it.
    deployment.prove_again(is_blamed=True)
    with pytest.raises(TargetUnusable, match="it ended after the last case"):
        deployment.prove_again(is_blamed=False)
    deployment.close()
