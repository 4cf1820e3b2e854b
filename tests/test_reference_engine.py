"""The reference engine: what code can do and see on it, how it ends, and its heart."""

import math
import operator
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq
from reference_cluster import PATIENCE, Cluster, children, cluster, is_alive, wait_for

from conformance.reference import objects
from conformance.reference.client import Client, RemoteError
from conformance.reference.code import Mailbox, Worker
from conformance.reference.heart import DeviceHeart
from protocol.messages import build
from protocol.roles.base import Finished, Output, Run
from protocol.roles.engine import Outcome

pytestmark = pytest.mark.skipif(not Path("/proc/self/comm").exists(), reason="the processes are looked up in /proc")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster with one engine, which every test leaves usable."""
    with cluster(tmp_path_factory.mktemp("cluster"), engines=1) as made:
        yield made


@pytest.fixture(scope="module")
def client(shared: Cluster) -> Iterator[Client]:
    with shared.client() as found:
        found.wait_for_engines(1)
        yield found


# -- code --------------------------------------------------------------------------------------------------------------


def test_output_comes_in_order_and_apart(client: Client) -> None:
    code = "import sys\nfor n in range(1000):\n    print(n)\nprint('oh', file=sys.stderr)\nn * 2"
    result = client.execute(code, engine=0)
    assert result.get(PATIENCE)["status"] == "ok"
    assert result.output("stdout") == "".join(f"{n}\n" for n in range(1000))
    assert result.output("stderr") == "oh\n"
    assert result.displayed() == [{"text/plain": "1998"}]
    # What nobody fetched meanwhile is joined.
    assert len(client.machine.outputs(result.msg_id)) < 200


def test_a_thread_that_is_left_behind_writes_for_the_code_that_began_it(client: Client) -> None:
    begin = (
        "import threading\nsaid, go = threading.Event(), threading.Event()\n"
        "threading.Thread(target=lambda: (print('a'), said.set(), go.wait(), print('b'))).start()\n"
        # A line is written in two pieces, and the code that began the thread must not end between them.
        "said.wait()"
    )
    first = client.execute(begin, engine=0)
    assert first.output("stdout") == "a\n"
    second = client.execute("go.set()", engine=0)
    second.get(PATIENCE)
    assert client.run(lambda: first.output("stdout") == "a\nb\n", PATIENCE)
    assert second.output("stdout") == ""


def test_an_error_shows_the_lines_of_the_user_and_none_of_ours(client: Client) -> None:
    client.execute("def inverse(x):\n    return 1 / x", engine=0).get(PATIENCE)
    with pytest.raises(RemoteError) as caught:
        client.execute("inverse(0)", engine=0).get(PATIENCE)
    text = "\n".join(caught.value.traceback)
    assert caught.value.ename == "ZeroDivisionError"
    assert "return 1 / x" in text
    assert "conformance" not in text


@pytest.mark.parametrize(
    ("code", "ename"),
    [
        ("(", "SyntaxError"),
        ("raise SystemExit(3)", "SystemExit"),
        ("input()", "EOFError"),
        ("None.x", "AttributeError"),
    ],
)
def test_an_engine_survives_whatever_code_raises(client: Client, code: str, ename: str) -> None:
    with pytest.raises(RemoteError, match=ename):
        client.execute(code, engine=0).get(PATIENCE)
    assert client.apply(math.factorial, 3, engine=0).get(PATIENCE) == 6


def test_the_namespace_lasts_until_it_is_cleared(client: Client) -> None:
    client.execute("class Kept: pass\nkept = [Kept()]", engine=0).get(PATIENCE)
    assert client.execute("import pickle; pickle.loads(pickle.dumps(kept)); kept", engine=0).get(PATIENCE)
    client.control("clear_request", {}, engine=0).get(PATIENCE)
    with pytest.raises(RemoteError, match="NameError"):
        client.execute("kept", engine=0).get(PATIENCE)


def test_expressions_are_answered_one_by_one(client: Client) -> None:
    content = {"code": "a = 2", "silent": True, "user_expressions": {"good": "a * 3", "bad": "b"}}
    values = client.request("mux", "execute_request", content, engine=0).get(PATIENCE)["user_expressions"]
    assert values["good"] == {"status": "ok", "data": {"text/plain": "6"}, "metadata": {}}
    assert values["bad"]["status"] == "error"
    assert values["bad"]["ename"] == "NameError"


def test_arguments_and_results_of_every_kind_arrive(client: Client) -> None:
    large = os.urandom(100_000)
    assert client.apply(operator.concat, large, b"x", engine=0).get(PATIENCE) == large + b"x"
    assert client.apply(sorted, [3, 1, 2], engine=0, reverse=True).get(PATIENCE) == [3, 2, 1]
    assert client.apply(dict, {"a": (1, {2})}, engine=0).get(PATIENCE) == {"a": (1, {2})}


@pytest.mark.parametrize("buffers", [(), (b"no pickle", b"nor this"), (b"\x80\x04N.", b"\x80\x04N.")])
def test_buffers_that_are_no_call_are_refused(client: Client, buffers: tuple[bytes, ...]) -> None:
    with pytest.raises(RemoteError):
        client.request("mux", "apply_request", {}, engine=0, buffers=buffers).get(PATIENCE)


def test_a_real_client_finds_the_namespace_and_a_place_to_display(client: Client) -> None:
    serialize, util = pytest.importorskip("ipyparallel.serialize"), pytest.importorskip("ipyparallel.util")

    def call(function: Any, *args: Any, **keywords: Any) -> Any:
        buffers = serialize.pack_apply_message(function, args, keywords)
        return client.request("mux", "apply_request", {}, engine=0, is_call=True, buffers=buffers).get(PATIENCE)

    call(util._push, pushed=7)
    assert call(util._pull, "pushed") == 7
    assert client.execute("pushed + 1", engine=0).get(PATIENCE)["status"] == "ok"
    shown = client.execute("from IPython.display import display, HTML; display(HTML('<b>'))", engine=0)
    shown.output("stdout")
    assert shown.displayed()[0]["text/html"] == "<b>"


def test_control_is_answered_while_code_runs(client: Client) -> None:
    running = client.execute("import time\nwhile True: time.sleep(0.01)", engine=0)
    assert client.run(lambda: any(one.msg_type == "execute_input" for one in running._published()), PATIENCE)
    queued = client.apply(math.factorial, 3, engine=0)
    client.abort([queued], engine=0)
    (aborted,) = queued.answers(PATIENCE)
    assert aborted.status == "aborted"
    client.control("signal_request", {"sig": "SIGINT"}, engine=0).get(PATIENCE)
    with pytest.raises(RemoteError, match="KeyboardInterrupt"):
        running.get(PATIENCE)


@pytest.mark.parametrize("sig", ["SIGNOTHING", 0, 999, None, [2], True])
def test_a_signal_that_does_not_exist_is_refused(client: Client, sig: object) -> None:
    with pytest.raises(RemoteError):
        client.control("signal_request", {"sig": sig}, engine=0).get(PATIENCE)
    assert client.apply(math.factorial, 3, engine=0).get(PATIENCE) == 6


def test_an_interrupt_of_nothing_harms_nothing(client: Client) -> None:
    client.control("signal_request", {"sig": int(signal.SIGINT)}, engine=0).get(PATIENCE)
    assert client.apply(math.factorial, 4, engine=0).get(PATIENCE) == 24


# -- the end -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Cluster, Client]]:
    """A cluster with an engine that may end."""
    with cluster(tmp_path, "--misses", "600", engines=1) as made, made.client() as found:
        found.wait_for_engines(1)
        yield made, found


def test_an_engine_that_is_killed_while_working_is_reported_at_once(pair: tuple[Cluster, Client]) -> None:
    made, client = pair
    pid = client.apply(os.getpid, engine=0).get(PATIENCE)
    working = client.apply(time.sleep, 600, engine=0)
    os.kill(pid, signal.SIGKILL)
    # Heartbeats alone would need a minute.
    assert client.run(lambda: not client.machine.engines.uuids, PATIENCE)
    with pytest.raises(RemoteError, match="died"):
        working.get(PATIENCE)
    assert made.engines[0].wait(PATIENCE) == 128 + signal.SIGKILL


@pytest.mark.parametrize(
    "code", ["pass", "import time; time.sleep(600)", "while True:\n  try:\n    while True: pass\n  except: pass"]
)
def test_a_shutdown_ends_an_engine_whatever_it_does(pair: tuple[Cluster, Client], code: str) -> None:
    made, client = pair
    running = client.execute(code, engine=0)
    assert client.run(lambda: any(one.msg_type == "execute_input" for one in running._published()), PATIENCE)
    client.shutdown(0)
    assert made.engines[0].wait(PATIENCE) == 0
    assert running.answers(PATIENCE)
    assert client.run(lambda: not client.machine.engines.uuids, PATIENCE)


@pytest.mark.parametrize("options", [(), ("--no-warden",)])
def test_a_signal_ends_an_engine_in_order(tmp_path: Path, options: tuple[str, ...]) -> None:
    with cluster(tmp_path, engines=1, engine_options=options) as made, made.client() as client:
        client.wait_for_engines(1)
        engine = made.engines[0]
        below = children(engine.pid)
        assert len(below) == (0 if options else 1)
        engine.terminate()
        _, errors = engine.communicate(timeout=PATIENCE)
        assert (engine.returncode, errors) == (0, "")
        assert not any(map(is_alive, below))
        assert client.run(lambda: not client.machine.engines.uuids, PATIENCE)


def test_an_engine_ends_with_its_warden(pair: tuple[Cluster, Client]) -> None:
    made, client = pair
    below = children(made.engines[0].pid)
    made.engines[0].kill()
    assert wait_for(lambda: not any(map(is_alive, below)))
    assert client.run(lambda: not client.machine.engines.uuids, PATIENCE)


def test_an_engine_without_a_controller_gives_up_in_words(tmp_path: Path) -> None:
    from conformance.reference import engine

    with pytest.raises(engine.EngineError, match="is the controller running"):
        engine.await_file(tmp_path / "engine.json", patience=0.0)


def test_an_engine_that_hears_no_pings_ends(tmp_path: Path) -> None:
    with cluster(tmp_path, engines=1, engine_options=("--max-misses", "2")) as made:
        with made.client() as client:
            client.wait_for_engines(1)
        made.controller.kill()
        assert made.engines[0].wait(PATIENCE) == 255


# -- the heart ---------------------------------------------------------------------------------------------------------


def test_a_heart_beats_whatever_the_interpreter_does_and_leaves_no_thread() -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    ping, pong, copy = context.socket(zmq.XPUB), context.socket(zmq.ROUTER), context.socket(zmq.SUB)
    copy.subscribe(b"")
    ports = [each.bind_to_random_port("tcp://127.0.0.1") for each in (ping, pong, copy)]
    threads = set(threading.enumerate())
    heart = DeviceHeart(*(f"tcp://127.0.0.1:{port}" for port in ports), b"engine")
    try:
        assert ping.recv() == b"\x01"
        while not copy.poll(10):
            # A publisher that connects hears of its subscriber a moment later.
            ping.send(b"early")
            assert pong.recv_multipart() == [b"engine", b"early"]
        ping.send(b"last of these")
        assert pong.recv_multipart() == [b"engine", b"last of these"]
        while copy.recv_multipart() != [b"", b"last of these"]:
            pass
        for text in (b"1.5", b"", b"<IDS|MSG>", bytes(range(256))):
            ping.send(text)
            assert pong.recv_multipart() == [b"engine", text]
            assert copy.recv_multipart() == [b"", text]
        assert heart.is_beating
    finally:
        heart.stop()
        heart.stop()
        for each in (ping, pong, copy):
            each.close(linger=0)
        context.term()
    assert not heart.is_beating
    assert set(threading.enumerate()) == threads


def test_a_heart_beats_while_the_interpreter_is_held(tmp_path: Path) -> None:
    # A C function that holds the interpreter's lock for longer than it takes to give a silent engine up.
    hold = "import ctypes\nctypes.PyDLL(None).usleep(1500000)"
    with cluster(tmp_path, "--misses", "6", engines=1) as made, made.client() as client:
        client.wait_for_engines(1)
        before = client.engines
        assert client.execute(hold, engine=0).get(PATIENCE)["status"] == "ok"
        assert client.ask("connection_request", {}).get(PATIENCE)["engines"] == {str(n): u for n, u in before.items()}


# -- the pieces, without sockets ---------------------------------------------------------------------------------------


def closure() -> Any:
    outside = 3
    return lambda x: x * outside


def canned(*args: Any) -> list[Any]:
    """A call of a closure as a real client sends it."""
    serialize = pytest.importorskip("ipyparallel.serialize")
    return [bytes(buffer) for buffer in serialize.pack_apply_message(closure(), args, {})]


def test_a_closure_of_a_real_client_is_called() -> None:
    function, args, keywords = objects.unpack(canned(7), {})
    assert function(*args, **keywords) == 21


def test_without_ipyparallel_a_closure_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    buffers = canned(7)
    monkeypatch.setattr(objects, "has_ipyparallel", lambda: False)
    with pytest.raises(objects.UnpackError, match="ipyparallel is not installed"):
        objects.unpack(buffers, {})


def test_without_ipyparallel_large_bytes_still_travel_beside_the_pickle(monkeypatch: pytest.MonkeyPatch) -> None:
    large = b"x" * 100_000
    buffers = objects.pack(operator.add, (large, b"y"), {})
    assert large in buffers
    monkeypatch.setattr(objects, "has_ipyparallel", lambda: False)
    function, args, _ = objects.unpack(buffers, {})
    assert function(*args) == large + b"y"


def test_real_clients_understand_our_calls_and_results() -> None:
    serialize = pytest.importorskip("ipyparallel.serialize")
    buffers = objects.pack(operator.add, (b"x" * 5000, b"y"), {})
    function, args, keywords = serialize.unpack_apply_message([bytes(each) for each in buffers], {})
    assert function(*args, **keywords) == b"x" * 5000 + b"y"
    value, rest = serialize.deserialize_object([bytes(each) for each in objects.pack_value(b"z" * 5000)])
    assert (value, rest) == (b"z" * 5000, [])


def test_only_what_was_said_is_unpacked() -> None:
    good = objects.pack(operator.add, (1, 2), {})
    for bad in (good[:3], [*good, good[-1]], [good[1], good[1]], [good[0], good[0]], good[:1]):
        with pytest.raises(objects.UnpackError):
            objects.unpack(bad, {})


def test_output_is_joined_until_it_is_fetched() -> None:
    mailbox = Mailbox()
    for text in ("a", "b"):
        mailbox.write(1, "stdout", text)
    mailbox.write(1, "stderr", "c")
    mailbox.post(Finished(1, None))
    mailbox.write(1, "stdout", "d")
    assert mailbox.fetch() == [
        Output(1, "stream", {"name": "stdout", "text": "ab"}),
        Output(1, "stream", {"name": "stderr", "text": "c"}),
        Finished(1, None),
        Output(1, "stream", {"name": "stdout", "text": "d"}),
    ]
    assert mailbox.fetch() == []


class UnmetDependency(Exception):
    """As ipyparallel names it."""


def refuse() -> None:
    raise UnmetDependency("not here")


def test_a_refusal_says_that_another_engine_may_run_the_task() -> None:
    mailbox = Mailbox()
    worker = Worker(mailbox)
    request = build("apply_request", msg_id="m", buffers=objects.pack(refuse, (), {}))
    worker.put(Run(1, "apply", request))
    worker.end()
    before = sys.stdout, sys.stdin, sys.modules["__main__"], signal.getsignal(signal.SIGINT)
    worker.serve()
    assert before == (sys.stdout, sys.stdin, sys.modules["__main__"], signal.getsignal(signal.SIGINT))
    (finished,) = mailbox.fetch()
    assert isinstance(finished, Finished)
    assert isinstance(finished.result, Outcome)
    assert finished.result.dependencies_met is False
    assert finished.result.content["ename"] == "UnmetDependency"


def test_nothing_of_the_suite_is_loaded_with_the_controller() -> None:
    code = (
        "import sys, conformance.reference.controller, conformance.reference.warden, conformance.reference.client\n"
        "print([name for name in ('pytest', 'hypothesis', 'rich', 'jsonschema', 'ipyparallel') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"
