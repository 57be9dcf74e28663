"""Engine processes: their environment, their output, their sockets."""

from __future__ import annotations

import asyncio
import json
import logging
import tempfile
from pathlib import Path

import pytest

from gateway_worker.adapters.engine.config import EngineConfig
from gateway_worker.adapters.engine.environment import SimulatorFile, SimulatorFileError, engine_environment
from gateway_worker.adapters.engine.output import OutputLog
from gateway_worker.adapters.engine.pool import EnginePool
from tests.support.pool_world import PoolWorld, spec, text
from tests.support.recording_listener import until

ROOT_KEY = "ab" * 32


def _simulator(folder: Path, **changes: object) -> Path:
    (folder / "ca.pem").write_text("certificate", encoding="utf-8")
    content: dict[str, object] = {"proxy": "http://127.0.0.1:8123", "ca": str(folder / "ca.pem"), "root": ROOT_KEY}
    path = folder / "simulator.json"
    path.write_text(json.dumps(content | changes), encoding="utf-8")
    return path


def test_the_environment_holds_what_is_allowed_and_nothing_else() -> None:
    """Proxies and secrets of the worker stay with the worker; the bot tag is off."""
    parent = {
        "PATH": "/bin",
        "HOME": "/root",
        "HTTPS_PROXY": "http://proxy",
        "https_proxy": "http://proxy",
        "GATEWAY_SECRET": "secret",
        "NEONIZE_BOT_TAG": "on",
    }
    assert engine_environment(parent) == {
        "PATH": "/bin",
        "HOME": "/root",
        "NEONIZE_BOT_TAG": "off",
        "PYTHONUNBUFFERED": "1",
    }
    assert engine_environment(parent, proxy="http://wanted:1")["HTTPS_PROXY"] == "http://wanted:1"


def test_the_simulator_s_proxy_and_authority_replace_all_others(tmp_path: Path) -> None:
    """No certificate of the system lets real WhatsApp in."""
    simulator = SimulatorFile.read(_simulator(tmp_path))
    parent = {"SSL_CERT_DIR": "/etc/ssl/certs", "SSL_CERT_FILE": "/etc/ssl/cert.pem"}
    environment = engine_environment(parent, proxy="http://wanted:1", simulator=simulator)
    assert environment["HTTPS_PROXY"] == "http://127.0.0.1:8123"
    assert environment["SSL_CERT_FILE"] == str(tmp_path / "ca.pem")
    assert "SSL_CERT_DIR" not in environment
    assert simulator.root == ROOT_KEY


def test_the_authority_s_path_may_be_relative_to_the_file(tmp_path: Path) -> None:
    """So a folder with both can be moved."""
    assert SimulatorFile.read(_simulator(tmp_path, ca="ca.pem")).ca == tmp_path / "ca.pem"


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"proxy": None}, "proxy: must be there"),
        ({"proxy": "127.0.0.1:8123"}, "proxy: must be a URL"),
        ({"proxy": "http://127.0.0.1"}, "proxy: must be a URL"),
        ({"proxy": "http://127.0.0.1:port"}, "proxy: must be a URL"),
        ({"ca": 5}, "ca: must be there"),
        ({"ca": "nowhere.pem"}, "ca: there is no file"),
        ({"root": ""}, "root: must be there"),
        ({"root": "abcd"}, "root: must be 64 hexadecimal digits"),
    ],
)
def test_a_wrong_key_of_the_simulator_s_file_is_named(tmp_path: Path, changes: dict[str, object], named: str) -> None:
    """With the file."""
    path = _simulator(tmp_path, **changes)
    with pytest.raises(SimulatorFileError) as caught:
        SimulatorFile.read(path)
    assert str(caught.value).startswith(f"{path}: {named}")


@pytest.mark.parametrize(
    ("content", "named"), [("{", "not JSON"), ("[]", "must be an object"), (None, "cannot be read: No such file")]
)
def test_a_simulator_s_file_that_is_none_is_named(tmp_path: Path, content: str | None, named: str) -> None:
    """Whether it is not there, not JSON or not an object."""
    path = tmp_path / "simulator.json"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(SimulatorFileError, match=named):
        SimulatorFile.read(path)


async def test_a_pool_with_a_wrong_simulator_s_file_does_not_open(world: PoolWorld, tmp_path: Path) -> None:
    """The worker refuses at its start, not at the first session."""
    path = _simulator(tmp_path, root="abcd")
    with pytest.raises(SimulatorFileError):
        async with EnginePool(world.config(simulator=path), world.listener):
            pass


async def test_an_engine_gets_its_options_and_environment(
    world: PoolWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The socket's path is short and private."""
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    monkeypatch.setenv("GATEWAY_SECRET", "secret")
    simulator = _simulator(tmp_path)
    sockets = tmp_path / ("long" * 30)
    pool = await world.pool(simulator=simulator, socket_directory=sockets)
    await pool.start(spec("t/a"))
    note = world.noted("engine")[0]
    assert note["environment"]["HTTPS_PROXY"] == "http://127.0.0.1:8123"
    assert note["environment"]["NEONIZE_BOT_TAG"] == "off"
    assert "GATEWAY_SECRET" not in note["environment"]
    arguments = dict(zip(note["arguments"][3::2], note["arguments"][4::2], strict=True))
    engine = pool.engines()[0]
    assert arguments["--id"] == engine.engine_id
    assert arguments["--spool"] == str(world.spools / engine.engine_id)
    assert arguments["--simulator"] == str(simulator)
    socket = Path(arguments["--socket"])
    assert len(str(socket)) < 108
    assert socket.parent.stat().st_mode & 0o777 == 0o700
    await pool.drain()
    assert (world.spools.stat().st_mode & 0o777) == 0o700


async def test_the_folder_of_the_sockets_goes_with_the_pool(world: PoolWorld) -> None:
    """Nothing is left in the system's folder for temporary files."""
    with tempfile.TemporaryDirectory() as folder:  # a path that is short enough for a socket
        sockets = Path(folder)
        async with EnginePool(world.config(socket_directory=sockets), world.listener) as pool:
            await pool.start(spec("t/a"))
            assert len(list(sockets.glob("*/*.sock"))) == 1
        assert list(sockets.iterdir()) == []


async def test_what_an_engine_prints_is_logged(world: PoolWorld, caplog: pytest.LogCaptureFixture) -> None:
    """JSON lines as they are meant, everything else at debug level, and the engine is never held up."""
    caplog.set_level(logging.DEBUG)
    record = {"level": "WARNING", "logger": "gateway_worker.engine.host", "message": "careful", "session": "t/a"}
    script = {"prints": ["Press Ctrl+C to exit"], "complains": [json.dumps(record), '{"level": 5}', "{no json"]}
    pool = await world.pool(script=script)
    await pool.start(spec("t/a"))
    await pool.send(text("t/a", "flood 20000"))
    await pool.send(text("t/a", "hello"))
    await until(lambda: sum("xxx" in entry.message or "####" in entry.message for entry in caplog.records) == 20000)
    relayed = next(entry for entry in caplog.records if entry.name == "gateway_worker.engine.host")
    engine_id = pool.engines()[0].engine_id
    assert (relayed.levelno, relayed.message) == (logging.WARNING, f"engine {engine_id}: careful")
    assert relayed.__dict__["session"] == "t/a"
    printed = {entry.message: entry.levelno for entry in caplog.records if entry.name == "gateway_worker.engine.prints"}
    assert printed[f"engine {engine_id}: Press Ctrl+C to exit"] == logging.DEBUG
    assert f'engine {engine_id}: {{"level": 5}}' in printed
    assert f"engine {engine_id}: {{no json" in printed


def test_numbers_codes_and_keys_are_masked(caplog: pytest.LogCaptureFixture) -> None:
    """The Go core prints them."""
    caplog.set_level(logging.DEBUG)
    key = "mGqDm0zOUqOyRRtRWpqTjXH4hZ9V6xHkqTWn0Yw0p1E="
    OutputLog("e").feed(f"code ABCD-1234 for 6281200000001@s.whatsapp.net key {key} in 1234 ms\n".encode())
    assert caplog.messages == ["engine e: code ####-#### for ######@s.whatsapp.net key ###### in 1234 ms"]


def test_lines_are_put_together_and_cut(caplog: pytest.LogCaptureFixture) -> None:
    """However they arrive; of a line without an end only the beginning is kept."""
    caplog.set_level(logging.DEBUG)
    log = OutputLog("e")
    for piece in (b"first ", b"line\nsecond", b"\n\n", b". " * 20_000, b". " * 40_000, b" end\nth", b"ird\n"):
        log.feed(piece)
    assert [message[:20] for message in caplog.messages] == [
        "engine e: first line",
        "engine e: second",
        "engine e: . . . . . ",
        "engine e: third",
    ]
    assert len(caplog.messages[2]) <= 16 * 1024 + 10


CRASH = """\
fatal error: concurrent map writes

goroutine 81 [running]:
main.Neonize({0xc000123456, 0x24}, 6281200000001)
	/src/main.go:731 +0x1b5
"""


@pytest.mark.parametrize(
    "first",
    [
        "fatal error: concurrent map writes",
        "panic: runtime error: invalid memory address or nil pointer dereference",
        "SIGSEGV: segmentation violation",
        "[signal SIGSEGV: segmentation violation code=0x1 addr=0x0 pc=0x7f]",
        "Fatal Python error: Segmentation fault",
    ],
)
async def test_a_crash_report_is_one_error(caplog: pytest.LogCaptureFixture, first: str) -> None:
    """Its first lines, numbers masked; the hundreds of stacks after them are not."""
    stream = asyncio.StreamReader()
    report = CRASH.replace("fatal error: concurrent map writes", first) + "goroutine stack\n" * 500
    stream.feed_data(report.encode())
    stream.feed_eof()
    await OutputLog("e").pump(stream)
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.message.startswith(f"engine e crashed:\n{first}\n")
    assert "6281200000001" not in record.message
    assert record.message.count("\n") < 30


async def test_a_crash_report_is_not_held_back(caplog: pytest.LogCaptureFixture) -> None:
    """Go survives a panic that somebody recovers: the report must not wait for the stream's end."""
    stream = asyncio.StreamReader()
    pump = asyncio.create_task(OutputLog("e").pump(stream))
    stream.feed_data(b"panic: something\n")
    await until(lambda: caplog.records)
    stream.feed_data(b"rest without an end")
    stream.feed_eof()
    await pump
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("clients_per_engine", 0),
        ("lifecycle_concurrency", 0),
        ("abandoned_linkings", 0),
        ("import_attempts", 0),
        ("recycle_descriptor_share", 0.0),
        ("recycle_descriptor_share", 1.5),
        ("housekeeping_interval", 0.0),
        ("command", ()),
    ],
)
def test_impossible_settings_are_named(tmp_path: Path, field: str, value: object) -> None:
    """At the start, not when they first matter."""
    settings: dict[str, object] = {field: value}
    with pytest.raises(ValueError, match=field):
        EngineConfig(spool_directory=tmp_path, **settings)  # type: ignore[arg-type]
