"""Start and end of an engine process."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from typing import Final

import uvloop
from grpc import aio

from gateway_worker.engine import logs
from gateway_worker.engine.addresses import AddressFinder
from gateway_worker.engine.binding import GoLibrary, LibraryError, library_path
from gateway_worker.engine.commands import Commands
from gateway_worker.engine.convert.users import AddressBook
from gateway_worker.engine.health import HealthMonitor
from gateway_worker.engine.host import Host
from gateway_worker.engine.intake import Intake, Wakeup
from gateway_worker.engine.lifeline import OrphanedError, die_with
from gateway_worker.engine.names import NameFinder
from gateway_worker.engine.options import (
    Options,
    UnusableStartError,
    check_environment,
    parse_options,
    read_simulator,
)
from gateway_worker.engine.pump import Pump
from gateway_worker.engine.root_key import RootKeyError, install_root_key
from gateway_worker.engine.server import EngineServicer
from gateway_worker.engine.spool.writer import SpoolInUseError, SpoolWriter
from wagateway.engine.v1 import engine_pb2_grpc

logger = logging.getLogger(__name__)

EXIT_OK: Final = 0
EXIT_EVENTS_LOST: Final = 1
EXIT_UNUSABLE: Final = 2
EXIT_FAILED: Final = 3
"""Exit statuses: all is well; events could not be written to the spool; the engine could not start; it has a defect."""

_CLOSING: Final = 10.0
_GRACE: Final = 0.5
_UNLIMITED: Final = -1
_SWITCH_INTERVAL: Final = 0.001
"""Seconds after which a callback's thread gets the interpreter from a busy event loop. Until it has it, events wait in
Go, where a crash loses them; with the default of 5 ms that is a fifth as many a second."""


def main(arguments: list[str] | None = None) -> None:
    """Run an engine until it is told to end. Does not return: the process exits with one of the statuses above."""
    options = parse_options(sys.argv[1:] if arguments is None else arguments)
    logs.configure(options.log_level)
    try:
        die_with(options.parent)
        status = _run(options)
    except (UnusableStartError, LibraryError, RootKeyError, OrphanedError, SpoolInUseError, OSError) as error:
        logger.critical("the engine cannot start: %s", error)
        status = EXIT_UNUSABLE
    except Exception:
        logger.exception("the engine failed")
        status = EXIT_FAILED
    sys.stdout.flush()
    sys.stderr.flush()
    # Not sys.exit: the interpreter would wait for the threads of clients that never return, or take itself apart under
    # the callbacks that Go may still make.
    os._exit(status)


def _run(options: Options) -> int:
    check_environment(os.environ)
    sys.setswitchinterval(_SWITCH_INTERVAL)
    simulator = read_simulator(options.simulator, os.environ) if options.simulator else None
    path = library_path()
    library = GoLibrary(path)
    if simulator is not None:
        install_root_key(simulator.root, path)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(options, library))


async def _serve(options: Options, library: GoLibrary) -> int:
    wakeup = Wakeup(asyncio.get_running_loop())
    writer = SpoolWriter(options.spool, wakeup)
    intake = Intake(writer, wakeup)
    host = Host(library, intake, options.max_sessions)
    host.on_login = NameFinder(library, host, intake).on_login
    book = AddressBook()
    finder = AddressFinder(library, host, book)
    pump = Pump(
        options.engine_id,
        options.spool,
        writer=writer,
        intake=intake,
        wakeup=wakeup,
        book=book,
        find_addresses=finder.find,
    )
    servicer = EngineServicer(Commands(library, host, writer, pump), pump)
    _handle_signals(servicer)
    server = await _start_server(options, servicer)
    monitor = asyncio.create_task(HealthMonitor(library, host, pump).run(), name="health")
    logger.info("engine %s serves on %s", options.engine_id, options.socket)
    await servicer.ending.wait()
    try:
        async with asyncio.timeout(_CLOSING):
            await host.close()
    except TimeoutError:
        intake.give_up()
        logger.error("not all clients could be stopped in time")  # noqa: TRY400 - the timeout's traceback says nothing
    await servicer.finish()
    monitor.cancel()
    await server.stop(_GRACE)
    writer.close()
    if intake.lost:
        logger.critical("%d events could not be written to the spool and are lost", intake.lost)
        return EXIT_EVENTS_LOST
    return EXIT_OK


def _handle_signals(servicer: EngineServicer) -> None:
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, servicer.ending.set)
    # Ctrl-C in a terminal reaches the whole process group, but when an engine ends is the worker's to say.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


async def _start_server(options: Options, servicer: EngineServicer) -> aio.Server:
    server = aio.server(
        options=[
            ("grpc.max_send_message_length", _UNLIMITED),  # one event can be larger than a batch may be
            ("grpc.max_receive_message_length", _UNLIMITED),
            ("grpc.so_reuseport", 0),
        ]
    )
    engine_pb2_grpc.add_EngineServiceServicer_to_server(servicer, server)
    options.socket.unlink(missing_ok=True)
    previous = os.umask(0o177)  # who may open the socket may send in every session's name
    try:
        server.add_insecure_port(f"unix:{options.socket}")
    except RuntimeError as error:
        raise UnusableStartError(f"cannot serve on {options.socket}: {error}") from error
    finally:
        os.umask(previous)
    await server.start()
    return server
