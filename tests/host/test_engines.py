"""The embedded engines: what they store survives, what they open is closed to others, and they end with us."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import nats
import psutil
import pytest
import structlog.testing
import urllib3
from nats.errors import Error as NatsError
from nats.js.api import StreamConfig

from files import ObjectStore, ObjectStoreSettings, StoreUnavailableError
from host.children import Child, ChildSpec
from host.engines import (
    DataDirInUseError,
    EmbeddedNats,
    EmbeddedS3,
    Engine,
    EngineMissingError,
    NatsCluster,
    NatsConfig,
    PortInUseError,
    nats_config_text,
)
from host.engines.folder import EngineFolder
from host.engines.ports import choose_ports
from tests.host.processes import is_running, until, until_gone
from tests.waiting import seen


async def publish(url: str, *payloads: bytes) -> None:
    async with await nats.connect(url, allow_reconnect=False) as client:
        stream = client.jetstream()
        await stream.add_stream(StreamConfig(name="TEST", subjects=["test"]))
        for payload in payloads:
            await stream.publish("test", payload)


async def stored(url: str) -> list[bytes]:
    async with await nats.connect(url, allow_reconnect=False) as client:
        stream = client.jetstream()
        last = (await stream.stream_info("TEST")).state.last_seq
        messages = [await stream.get_msg("TEST", seq) for seq in range(1, last + 1)]
        return [message.data or b"" for message in messages]


def store_of(engine: EmbeddedS3) -> ObjectStore:
    return ObjectStore(
        ObjectStoreSettings(engine.endpoint, engine.access_key, engine.secret_key, "videos", secure=False)
    )


async def read_when_found(store: ObjectStore, key: str) -> bytes | None:
    """Read from a store that has just started: it answers before it has found its volumes again."""

    async def read() -> bytes | None:
        try:
            return await store.read(key)
        except StoreUnavailableError:
            return None

    return await seen(read, lambda content: content is not None)


def listening(pid: int) -> list[tuple[str, int]]:
    connections = psutil.Process(pid).net_connections("tcp")
    return [(found.laddr.ip, found.laddr.port) for found in connections if found.status == psutil.CONN_LISTEN]


def small_files(data_dir: Path) -> list[Path]:
    return [path for path in data_dir.glob("*/*") if path.is_file()]


def sockets_outside(ports: list[int]) -> list[Path]:
    return [path for port in ports for path in Path("/tmp").glob(f"seaweedfs-*-{port}.sock")]


async def kill_and_await_restart(engine: Engine) -> None:
    killed = engine.pid
    assert killed is not None
    os.kill(killed, signal.SIGKILL)
    await until(lambda: engine.pid not in {None, killed})
    await engine.wait_ready()


async def test_killed_nats_comes_back_where_it_was_with_every_message(tmp_path: Path) -> None:
    async with EmbeddedNats(tmp_path) as engine:
        url = engine.url
        await publish(url, b"one", b"two")
        await kill_and_await_restart(engine)
        assert engine.url == url
        assert await stored(url) == [b"one", b"two"]


async def test_connected_client_survives_a_killed_nats(tmp_path: Path) -> None:
    async with (
        EmbeddedNats(tmp_path) as engine,
        await nats.connect(engine.url, max_reconnect_attempts=-1, reconnect_time_wait=0.1) as client,
    ):
        await kill_and_await_restart(engine)
        await until(lambda: client.is_connected)
        await client.flush(timeout=5)


async def test_next_start_finds_the_same_address_credentials_and_messages(tmp_path: Path) -> None:
    async with EmbeddedNats(tmp_path) as engine:
        url = engine.url
        await publish(url, b"one")
    async with EmbeddedNats(tmp_path) as engine:
        assert engine.url == url
        assert await stored(url) == [b"one"]


async def test_nats_refuses_strangers(tmp_path: Path) -> None:
    async with EmbeddedNats(tmp_path) as engine:
        with pytest.raises(NatsError, match=r"(?i)authorization"):
            await nats.connect(f"nats://127.0.0.1:{engine.port}", allow_reconnect=False)


async def test_nats_takes_a_message_of_eight_megabytes(tmp_path: Path) -> None:
    async with EmbeddedNats(tmp_path) as engine, await nats.connect(engine.url) as client:
        assert client.max_payload == 8 * 1024 * 1024


@pytest.mark.parametrize("engine_kind", [EmbeddedNats, EmbeddedS3])
async def test_second_engine_on_a_data_directory_is_refused(
    tmp_path: Path, engine_kind: Callable[[Path], Engine]
) -> None:
    async with engine_kind(tmp_path) as first:
        with pytest.raises(DataDirInUseError, match=f"in use by process {os.getpid()}"):
            await engine_kind(tmp_path).start()
        assert first.pid is not None
        assert is_running(first.pid)


async def test_server_that_outlives_its_parent_still_holds_the_folder(tmp_path: Path) -> None:
    """Should the kernel's signal ever fail to end one, no second one may write the same files."""
    folder = EngineFolder(tmp_path / "engine")
    lock = await folder.lock()
    async with Child(ChildSpec("server", ("sleep", "60"), tmp_path / "server.log", pass_fds=(lock,))):
        folder.unlock()
        with pytest.raises(DataDirInUseError):
            await EngineFolder(tmp_path / "engine").lock()
    await EngineFolder(tmp_path / "engine").lock()


async def test_asked_for_port_is_taken_or_refused(tmp_path: Path) -> None:
    port = choose_ports(["wanted"])["wanted"]
    async with EmbeddedNats(tmp_path, port=port) as engine:
        assert engine.url.endswith(f"@127.0.0.1:{port}")
    with socket.create_server(("127.0.0.1", port)), pytest.raises(PortInUseError, match=str(port)):
        await EmbeddedNats(tmp_path, port=port).start()
    async with EmbeddedNats(tmp_path, port=port) as engine:
        assert engine.port == port


async def test_port_taken_since_the_last_start_is_replaced(tmp_path: Path) -> None:
    async with EmbeddedNats(tmp_path) as engine:
        port = engine.port
    with socket.create_server(("127.0.0.1", port)):
        async with EmbeddedNats(tmp_path) as engine:
            assert engine.port != port
            await publish(engine.url, b"one")


async def test_engine_that_cannot_write_says_why(tmp_path: Path) -> None:
    (tmp_path / "nats").mkdir()
    (tmp_path / "nats" / "jetstream").write_text("a file where a folder should be")
    engine = EmbeddedNats(tmp_path)
    with pytest.raises(RuntimeError, match=r"nats-server: ended with status 1 (?s:.*)not a directory"):
        await engine.start()
    (tmp_path / "nats" / "jetstream").unlink()
    async with engine:
        await publish(engine.url, b"one")


async def test_missing_program_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    for engine in (EmbeddedNats(tmp_path), EmbeddedS3(tmp_path)):
        with pytest.raises(EngineMissingError, match=r"\./client '\.\[embedded\]'"):
            await engine.start()


async def test_three_configurations_make_a_cluster(tmp_path: Path) -> None:
    names = ("one", "two", "three")
    clients = choose_ports(names)
    peers = choose_ports(names)
    monitors = choose_ports(names)
    async with AsyncExitStack() as running:
        for name in names:
            cluster = NatsCluster("trio", peers[name], tuple(peers.values()))
            path = tmp_path / f"{name}.conf"
            config = NatsConfig(name, clients[name], monitors[name], tmp_path / name, "us", "p4ss", cluster)
            path.write_text(nats_config_text(config))
            program = Path(sys.executable).with_name("nats-server")
            spec = ChildSpec(name, (str(program), "-c", str(path)), tmp_path / f"{name}.log")
            await running.enter_async_context(Child(spec))
        servers = [f"nats://us:p4ss@127.0.0.1:{port}" for port in clients.values()]
        async with await nats.connect(servers, connect_timeout=5, max_reconnect_attempts=100) as client:
            stream = client.jetstream()
            async with asyncio.timeout(30):
                while True:
                    try:
                        await stream.add_stream(StreamConfig(name="R", subjects=["r"], num_replicas=3))
                        # By its id it is stored once, however often it is sent.
                        acknowledged = await stream.publish("r", b"x", timeout=10, headers={"Nats-Msg-Id": "x"})
                        break
                    except NatsError:  # no leader yet, of the servers or of the stream
                        await asyncio.sleep(0.1)
            assert acknowledged.seq == 1


async def test_killed_s3_comes_back_where_it_was_with_every_object(tmp_path: Path) -> None:
    async with EmbeddedS3(tmp_path) as engine:
        endpoint, store = engine.endpoint, store_of(engine)
        await store.ensure_bucket()
        await store.put_bytes("a", b"content" * 100_000, content_type="video/mp4")
        await kill_and_await_restart(engine)
        assert engine.endpoint == endpoint

        assert await read_when_found(store, "a") == b"content" * 100_000
    async with EmbeddedS3(tmp_path) as engine:
        assert (engine.endpoint, store_of(engine).settings) == (endpoint, store.settings)
        assert await read_when_found(store, "a") == b"content" * 100_000


async def test_s3_finds_its_objects_again_on_other_ports(tmp_path: Path) -> None:
    async with EmbeddedS3(tmp_path) as engine:
        endpoint = engine.endpoint
        await store_of(engine).ensure_bucket()
        await store_of(engine).put_bytes("a", b"x", content_type="text/plain")
    (tmp_path / "s3" / "ports.json").unlink()
    async with EmbeddedS3(tmp_path) as engine:
        assert engine.endpoint != endpoint
        assert await read_when_found(store_of(engine), "a") == b"x"


async def test_engines_listen_on_loopback_only_and_keep_secrets_from_others(tmp_path: Path) -> None:
    async with EmbeddedNats(tmp_path) as nats_server, EmbeddedS3(tmp_path) as s3:
        for engine in (nats_server, s3):
            assert engine.pid is not None
            assert {address for address, _ in listening(engine.pid)} == {"127.0.0.1"}
            command = " ".join(psutil.Process(engine.pid).cmdline())
            assert s3.secret_key not in command
        secrets = [s3.secret_key, nats_server.url.split(":")[2].partition("@")[0]]
        secret_files = [path for path in small_files(tmp_path) if any(s in path.read_text() for s in secrets)]
        assert len(secret_files) == 4
        assert all(path.stat().st_mode & 0o077 == 0 for path in secret_files)
        assert all((tmp_path / name).stat().st_mode & 0o077 == 0 for name in ("nats", "s3", "logs"))


async def test_objects_cannot_be_reached_around_s3(tmp_path: Path) -> None:
    async with EmbeddedS3(tmp_path) as engine:
        store = store_of(engine)
        await store.ensure_bucket()
        await store.put_bytes("a", b"content", content_type="text/plain")
        assert engine.pid is not None
        pid = engine.pid
        await until(lambda: len(listening(pid)) == 10)  # some services come up after S3
        ports = [port for _, port in listening(pid)]

        def ask(method: str, port: int, path: str) -> tuple[int, bytes]:
            try:
                answer = urllib3.request(
                    method, f"http://127.0.0.1:{port}{path}", body=b"forged", retries=False, timeout=5.0
                )
            except urllib3.exceptions.ProtocolError:  # a gRPC port
                return 400, b""
            return answer.status, answer.data

        for port in ports:
            for method in ("GET", "PUT", "POST", "DELETE"):
                for path in ("/buckets/videos/a", "/videos/a", "/buckets/videos/", "/dir/assign", "/col/delete"):
                    status, content = await asyncio.to_thread(ask, method, port, path)
                    assert status >= 400, (method, port, path, content)
        assert await store.list_keys("") == ["a"]
        assert await store.read("a") == b"content"


async def test_only_allowed_origins_may_read_answers(tmp_path: Path) -> None:
    def allowed_for(url: str, origin: str) -> str | None:
        return urllib3.request("GET", url, headers={"Origin": origin}).headers.get("Access-Control-Allow-Origin")

    async with EmbeddedS3(tmp_path, allowed_origins=["http://localhost:8080"]) as engine:
        store = store_of(engine)
        await store.ensure_bucket()
        await store.put_bytes("a", b"x", content_type="text/plain")
        url = store.presign_get("a", 60)
        assert await asyncio.to_thread(allowed_for, url, "http://localhost:8080") == "http://localhost:8080"
        assert await asyncio.to_thread(allowed_for, url, "http://evil.example") is None


async def test_s3_stops_by_itself_after_work_and_leaves_nothing_outside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Its maintenance comes when it likes, and a stop then takes 11 s; how long it may take is not what is tested here.
    monkeypatch.setattr(EmbeddedS3, "stop_timeout_s", 20.0)
    async with EmbeddedS3(tmp_path) as engine:
        store = store_of(engine)
        await store.ensure_bucket()
        await store.put_bytes("a", os.urandom(20_000_000), content_type="video/mp4")
        await store.read("a")
        pid = engine.pid
        assert pid is not None
        ports = [port for _, port in listening(pid)]
        assert sockets_outside(ports)
        with structlog.testing.capture_logs() as events:
            await engine.stop()
    assert events == []  # it was not killed for taking too long
    assert not is_running(pid)
    assert sockets_outside(ports) == []


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM])
async def test_engines_end_with_the_process_that_started_them(tmp_path: Path, ending: signal.Signals) -> None:
    command = (sys.executable, "-m", "tests.host.parent_program", "engines", str(tmp_path))
    parent = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    pids = json.loads(await parent.stdout.readline())
    assert len(pids) == 2
    assert all(map(is_running, pids))
    parent.send_signal(ending)
    status = await parent.wait()
    assert status == (0 if ending == signal.SIGTERM else -signal.SIGKILL)
    await until_gone(*pids)
    # And the data directory is free again at once.
    async with EmbeddedNats(tmp_path), EmbeddedS3(tmp_path):
        pass
