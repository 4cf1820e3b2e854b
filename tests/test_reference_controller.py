"""The reference controller as a user meets it: files, ends, restarts, networks, keys, and wrong usage."""

import json
import math
import os
import shutil
import signal
import socket
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq
from reference_cluster import CONTROLLER, PATIENCE, Cluster, children, cluster, is_alive, run, try_to_start, wait_for

from conformance.files import read_connection_file
from conformance.reference.client import Client, ClientError, RemoteError, Silence
from protocol.connection import ClientFile, EngineFile, check_pair
from protocol.messages import build

pytestmark = pytest.mark.skipif(not Path("/proc/self/comm").exists(), reason="the processes are looked up in /proc")

NAMES = {"hub", "iopub", "mux", "control", "tasks", "broadcast", "hearts"}


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory with a short name, as addresses of ipc need it."""
    path = Path(tempfile.mkdtemp(prefix="ippkit-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


def one_sentence(text: str) -> bool:
    return text.startswith("ippkit: ") and text.count("\n") == 1 and "Traceback" not in text


# -- files and ends ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_everything_and_leaves_nothing(directory: Path, number: int) -> None:
    with cluster(directory) as made:
        client = read_connection_file(made.client_file, ClientFile)
        engine = read_connection_file(made.engine_file, EngineFile)
        check_pair(client, engine)
        for file, kind in ((made.client_file, ClientFile), (made.engine_file, EngineFile)):
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
            assert list(json.loads(file.read_bytes())) == list(kind.keys)
        parts = made.parts()
        assert set(parts) >= {name[:8] for name in NAMES}
        made.controller.send_signal(number)
        _, errors = made.controller.communicate(timeout=PATIENCE)
        assert made.controller.returncode == 0
        assert errors == ""
        assert not any(map(is_alive, parts.values()))
        assert list(directory.iterdir()) == []


@pytest.mark.parametrize("way", ["a signal", "a request"])
def test_whoever_waits_for_a_task_is_told_that_it_will_not_end(directory: Path, way: str) -> None:
    with cluster(directory, engines=1) as made, made.client() as client:
        client.wait_for_engines(1)
        tasks = [client.submit(time.sleep, 600) for _ in range(3)]
        assert client.run(lambda: client.ask("queue_request", {"targets": None}).get()["0"]["tasks"] == 1, PATIENCE)
        if way == "a signal":
            made.controller.terminate()
        else:
            client.shutdown_controller()
        for task in tasks:
            (answer,) = task.answers(PATIENCE)
            assert answer.status == "error"
        assert made.controller.wait(PATIENCE) == 0


def test_a_signal_to_one_process_ends_all_in_order(directory: Path) -> None:
    with cluster(directory) as made:
        os.kill(made.parts()["mux"], signal.SIGTERM)
        assert made.controller.wait(PATIENCE) == 0
        assert list(directory.iterdir()) == []


def test_nothing_outlives_a_killed_supervisor(directory: Path) -> None:
    with cluster(directory) as made:
        parts = made.parts()
        made.controller.kill()
        assert wait_for(lambda: not any(map(is_alive, parts.values())))


@pytest.mark.parametrize("name", ["hub", "mux", "tasks", "hearts"])
def test_the_death_of_a_process_ends_the_controller_with_its_name(directory: Path, name: str) -> None:
    with cluster(directory) as made:
        parts = made.parts()
        os.kill(parts[name], signal.SIGKILL)
        _, errors = made.controller.communicate(timeout=PATIENCE)
        assert made.controller.returncode == 3
        assert f"{name} ended by signal 9" in errors
        assert not any(map(is_alive, parts.values()))
        assert not made.client_file.exists()
        assert not made.engine_file.exists()


# -- wrong usage -------------------------------------------------------------------------------------------------------


def test_a_directory_has_one_controller(directory: Path) -> None:
    with cluster(directory) as made:
        status, errors = try_to_start(directory)
        assert status == 3
        assert one_sentence(errors)
        assert str(made.controller.pid) in errors
        with made.client() as client:
            assert client.engines == {}


def test_a_directory_that_cannot_be_written_is_named(directory: Path) -> None:
    (directory / "file").touch()
    status, errors = try_to_start(directory / "file" / "below")
    assert status == 3
    assert one_sentence(errors)
    assert "below" in errors


@pytest.mark.parametrize(
    ("options", "named", "wanted"),
    [
        (("--db", "sqlite:"), "sqlite", 4),
        (("--db", "nowhere"), "nowhere", 4),
        # An address, but not of this machine.
        (("--ip", "192.0.2.1"), "192.0.2.1", 3),
        (("--ip", "tcp://127.0.0.1"), "tcp://127.0.0.1", 4),
        (("--engine-ip", "lo"), "lo", 4),
    ],
)
def test_what_cannot_work_is_said_in_one_sentence(
    directory: Path, options: tuple[str, ...], named: str, wanted: int
) -> None:
    status, errors = try_to_start(directory, *options)
    assert status == wanted
    assert one_sentence(errors)
    assert named in errors
    assert list(directory.iterdir()) == []


def test_a_busy_port_is_named(directory: Path) -> None:
    with cluster(directory) as made:
        port = read_connection_file(made.client_file, ClientFile).mux
        made.controller.kill()
        made.controller.communicate()
        with socket.socket() as taken:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            assert wait_for(lambda: _bind(taken, port))
            taken.listen()
            status, errors = try_to_start(directory, "--restore")
        assert status == 3
        assert one_sentence(errors)
        assert str(port) in errors
        # Who holds the port may give it back, and then the same files are right again.
        assert made.client_file.exists()


def _bind(taken: socket.socket, port: int) -> bool:
    try:
        taken.bind(("127.0.0.1", port))
    except OSError:
        return False
    return True


# -- restarts ----------------------------------------------------------------------------------------------------------


def test_a_restored_controller_goes_on_with_its_engines(directory: Path) -> None:
    with cluster(directory, "--registration-timeout", "1", engines=2) as made, made.client() as client:
        client.wait_for_engines(2)
        before = made.client_file.read_bytes(), made.engine_file.read_bytes(), client.engines
        made.controller.kill()
        made.controller.communicate()
        # One of the engines is lost together with the controller.
        lost = made.engines.pop()
        for pid in (*children(lost.pid), lost.pid):
            os.kill(pid, signal.SIGKILL)
        lost.communicate()
        made.start("--restore", "--registration-timeout", "1")
        assert wait_for(lambda: len(client.ask("connection_request", {}).get(PATIENCE)["engines"]) == 1)
        assert (made.client_file.read_bytes(), made.engine_file.read_bytes()) == before[:2]
        (number,) = client.ask("connection_request", {}).get()["engines"]
        assert before[2][int(number)]
        assert client.apply(math.factorial, 5, engine=before[2][int(number)]).get(PATIENCE) == 120
        assert client.submit(math.factorial, 4).get(PATIENCE) == 24


def test_a_controller_that_may_be_restored_keeps_its_files(directory: Path) -> None:
    with cluster(directory, "--restore") as made:
        made.controller.terminate()
        _, errors = made.controller.communicate(timeout=PATIENCE)
        assert "nothing to restore" in errors
        assert {file.name for file in directory.iterdir()} >= {made.client_file.name, made.engine_file.name}


def test_what_had_no_curve_is_not_restored_with_it(directory: Path) -> None:
    with cluster(directory) as made:
        made.controller.kill()
        made.controller.communicate()
    status, errors = try_to_start(directory, "--restore", "--curve")
    assert status == 3
    assert one_sentence(errors)
    assert "CURVE" in errors


def test_files_that_contradict_each_other_are_not_restored(directory: Path) -> None:
    with cluster(directory, "--restore") as made:
        key = read_connection_file(made.client_file, ClientFile).key
        made.controller.terminate()
        made.controller.communicate(timeout=PATIENCE)
        values = json.loads(made.engine_file.read_bytes())
        made.engine_file.write_text(json.dumps(values | {"key": "another"}))
        made.controller = run(*CONTROLLER, "--dir", str(directory), "--restore")
        assert wait_for(lambda: _key(made.client_file) not in (None, key))
        check_pair(
            read_connection_file(made.client_file, ClientFile), read_connection_file(made.engine_file, EngineFile)
        )


def _key(file: Path) -> str | None:
    try:
        return read_connection_file(file, ClientFile).key
    except Exception:
        return None


def test_results_on_disk_survive_a_crash(directory: Path) -> None:
    database = f"sqlite:{directory / 'records.db'}"
    with cluster(directory, "--db", database, engines=1) as made, made.client() as client:
        client.wait_for_engines(1)
        done = [client.submit(math.factorial, number) for number in range(5)]
        client.wait(done, PATIENCE)
        msg_ids = [result.msg_id for result in done]
        # What a query has shown must be there afterwards.
        assert wait_for(lambda: client.ask("result_request", _status(msg_ids)).get()["completed"] == msg_ids)
        made.controller.kill()
        made.controller.communicate()
        made.start("--restore", "--db", database)
        assert client.ask("result_request", _status(msg_ids)).get(PATIENCE)["completed"] == msg_ids


def _status(msg_ids: list[str]) -> dict[str, object]:
    return {"msg_ids": msg_ids, "status_only": True}


# -- one process does not hold up the others ---------------------------------------------------------------------------


def test_a_hub_that_is_stopped_delays_no_task(directory: Path) -> None:
    with cluster(directory, engines=2) as made, made.client() as client:
        client.wait_for_engines(2)
        client.wait([client.submit(math.factorial, 3), client.apply(math.factorial, 3, engine=0)])
        hub = made.parts()["hub"]
        os.kill(hub, signal.SIGSTOP)
        try:
            started = time.monotonic()
            results = [client.submit(math.factorial, number) for number in range(100)]
            results += [client.apply(math.factorial, number, engine=number % 2) for number in range(100)]
            client.wait([*results, client.control("clear_request", {}, engine=1)], PATIENCE)
            # With the Hub in the way it would take until the end of the patience.
            assert time.monotonic() - started < PATIENCE / 4
        finally:
            os.kill(hub, signal.SIGCONT)
        # What it missed it hears of now.
        history = len(results) + 2
        assert wait_for(lambda: len(client.ask("history_request", {}).get()["history"]) == history)


# -- networks and keys -------------------------------------------------------------------------------------------------


def everything_works(made: Cluster) -> None:
    with made.client() as client:
        client.wait_for_engines(2)
        assert client.apply(math.factorial, 5, engine=0).get(PATIENCE) == 120
        assert client.submit(math.factorial, 6).get(PATIENCE) == 720
        assert client.broadcast(math.factorial, 3).values(PATIENCE) == [6, 6]
        assert client.execute("print('heard')", engine=1).output("stdout", PATIENCE) == "heard\n"
        client.control("clear_request", {}, engine=0).get(PATIENCE)
        with pytest.raises(RemoteError, match="ZeroDivisionError"):
            client.execute("1 / 0").get(PATIENCE)


@pytest.mark.parametrize("depth", [0, 3])
def test_a_tree_of_any_depth_reaches_all(directory: Path, depth: int) -> None:
    with cluster(directory, "--broadcast-depth", str(depth), engines=3) as made, made.client() as client:
        client.wait_for_engines(3)
        assert len(read_connection_file(made.engine_file, EngineFile).broadcast) == 2**depth
        apart = client.broadcast(os.getpid).values(PATIENCE)
        assert len(set(apart)) == 3
        assert client.broadcast(os.getpid, is_coalescing=True).values(PATIENCE) == apart


def test_clients_and_engines_may_come_from_different_networks(directory: Path) -> None:
    with cluster(directory, "--engine-ip", "127.0.0.2", engines=2) as made:
        assert read_connection_file(made.client_file, ClientFile).interface == "tcp://127.0.0.1"
        assert read_connection_file(made.engine_file, EngineFile).interface == "tcp://127.0.0.2"
        everything_works(made)


def test_engines_may_come_from_everywhere_and_clients_from_here(directory: Path) -> None:
    with cluster(directory, "--ip", "127.0.0.1", "--engine-ip", "*", engines=1) as made, made.client() as client:
        client.wait_for_engines(1, PATIENCE)
        assert client.submit(abs, -3).get(PATIENCE) == 3


def test_a_cluster_can_do_without_a_network(directory: Path) -> None:
    with cluster(directory, "--transport", "ipc", engines=2) as made:
        assert read_connection_file(made.client_file, ClientFile).interface.startswith("ipc://")
        everything_works(made)
        for engine in made.engines:
            engine.terminate()
            engine.wait(PATIENCE)
        made.controller.terminate()
        assert made.controller.wait(PATIENCE) == 0
        assert list(directory.iterdir()) == []


def test_with_curve_everything_works_and_strangers_get_nothing(directory: Path) -> None:
    with cluster(directory, "--curve", engines=2) as made:
        client_file = read_connection_file(made.client_file, ClientFile)
        engine_file = read_connection_file(made.engine_file, EngineFile)
        assert client_file.key == engine_file.key == ""
        everything_works(made)
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        with made.client() as friend:
            asked = friend.codec.encode(build("connection_request", msg_id="stranger"))
            strangers = []
            for key in (None, zmq.curve_keypair()[0]):
                for file, name, kind in (
                    (client_file, "registration", zmq.DEALER),
                    (client_file, "mux", zmq.DEALER),
                    (client_file, "notification", zmq.SUB),
                    (client_file, "iopub", zmq.SUB),
                    (engine_file, "hb_ping", zmq.SUB),
                ):
                    stranger = context.socket(kind)
                    stranger.linger = 0
                    if key is not None:
                        stranger.curve_publickey, stranger.curve_secretkey = zmq.curve_keypair()
                        stranger.curve_serverkey = key
                    if kind == zmq.SUB:
                        stranger.subscribe(b"")
                    stranger.connect(file.address(name))
                    if kind == zmq.DEALER:
                        stranger.send_multipart(asked)
                    strangers.append(stranger)
            # Pings, output, notifications and answers go to everybody else meanwhile.
            made.engine()
            friend.wait_for_engines(3)
            assert friend.execute("print(1)", engine=0).output("stdout", PATIENCE) == "1\n"
            assert not any(stranger.poll(0) for stranger in strangers)
        context.destroy(linger=0)


def test_who_has_an_old_key_is_told_by_silence_and_in_words(directory: Path) -> None:
    with cluster(directory, "--curve") as made:
        values = json.loads(made.client_file.read_bytes())
        old = directory / "old.json"
        old.touch(mode=0o600)
        old.write_text(json.dumps(values | {"curve_serverkey": zmq.curve_keypair()[0].decode()}))
        with pytest.raises(Silence, match="hub did not answer"):
            Client.from_file(old, timeout=0.5)


# -- bad input ---------------------------------------------------------------------------------------------------------


def test_garbage_on_every_socket_harms_nobody_and_is_told_once(directory: Path) -> None:
    with cluster(directory, engines=2) as made:
        client_file = read_connection_file(made.client_file, ClientFile)
        engine_file = read_connection_file(made.engine_file, EngineFile)
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        secret = b"a payload that nobody may read in a log"
        forged = [b"<IDS|MSG>", b"0" * 64, b'{"msg_id": "x", "msg_type": "shutdown_request"}', b"{}", b"{}", b"{}"]
        rubbish = [[b""], [secret], [b"", b"<IDS|MSG>"], forged, [b"<IDS|MSG>"] * 9, [secret] * 50]
        addresses = [
            (file.address(name) if name != "broadcast" else file.addresses(name)[0])
            for file in (client_file, engine_file)
            for name in file.ports
            if name not in ("notification", "hb_ping")
        ]
        strangers = []
        for address in addresses:
            kind = zmq.PUB if address in (engine_file.address("iopub"), client_file.address("iopub")) else zmq.DEALER
            stranger = context.socket(kind)
            stranger.linger = 1000
            stranger.connect(address)
            strangers.append(stranger)
            for _ in range(3):
                for frames in rubbish:
                    stranger.send_multipart(frames)
        everything_works(made)
        for stranger in strangers:
            stranger.close()
        context.term()
        everything_works(made)
        made.controller.terminate()
        _, errors = made.controller.communicate(timeout=PATIENCE)
        assert "dropped frames" in errors
        assert "Traceback" not in errors
        assert secret.decode() not in errors
        assert client_file.key not in errors
        lines = [line for line in errors.splitlines() if "times)" not in line]
        assert len(lines) == len(set(lines))


def test_an_engine_that_is_not_there_is_no_request(directory: Path) -> None:
    with cluster(directory) as made, made.client() as client:
        with pytest.raises(RemoteError, match="no engine 7"):
            client.apply(math.factorial, 3, engine=7).get(PATIENCE)
        with pytest.raises(ClientError, match="no engine 7"):
            client.submit(math.factorial, 3, targets=[7])
