"""The root command: what there is, how it starts, and how it fails."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

import pytest
import typer

from gateway_worker.cli import root
from gateway_worker.cli.lazy import LazyCommand
from tests.support.command_line import Cli

COMMANDS = ["demo", "serve", "simulate", "sessions", "pair", "send", "events", "health"]


def test_help_lists_every_command_and_the_exit_codes(cli: Cli) -> None:
    """The help says what there is, where to begin, and what scripts may rely on."""
    result = cli("--help")
    assert result.code == 0
    for name in COMMANDS:
        assert f"│ {name} " in result.out
    assert "gateway-worker demo shows it all" in result.words
    assert "3 cannot reach it" in result.words


def test_help_needs_none_of_the_heavy_modules() -> None:
    """So it answers at once: gRPC, protobuf and QR drawing are for the commands that use them."""
    program = (
        "import sys\n"
        "from gateway_worker.cli.root import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'grpc', 'google.protobuf', 'qrcode', 'PIL', 'pydantic', 'uvloop'} & set(sys.modules)\n"
        "sys.stderr.write(' '.join(heavy))"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_help_with_examples(cli: Cli, name: str) -> None:
    """Each command can be imported, is called what it is listed as, and explains itself."""
    result = cli(name, "--help")
    assert result.code == 0
    assert f"Usage: gateway-worker {name}" in result.out
    if name not in {"sessions", "send"}:  # groups, whose commands have the examples
        assert "Example" in result.out
    assert "--install-completion" not in result.out
    assert max(map(len, result.out.splitlines())) <= 80


@pytest.mark.parametrize(
    "arguments", [["sessions", "create"], ["send", "image"], ["simulate", "contact", "add"], ["simulate", "run"]]
)
def test_commands_of_groups_have_examples(cli: Cli, arguments: list[str]) -> None:
    """Below groups as well."""
    assert f"gateway-worker {' '.join(arguments)}" in cli(*arguments, "--help").out.partition("Example")[2]


def test_version(cli: Cli) -> None:
    """The version is the package's."""
    assert cli("--version").out == f"gateway-worker {version('gateway-worker')}\n"


def test_an_unknown_command_is_wrong_usage(cli: Cli) -> None:
    """Usage errors have exit code 2 and no traceback."""
    result = cli("frobnicate")
    assert result.code == 2
    assert "No such command 'frobnicate'" in result.words


def fail() -> None:
    """Fail as nobody expected."""
    raise RuntimeError("two\nlines")


def test_a_defect_is_one_line_for_users(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """No user is shown a traceback."""
    monkeypatch.setattr(LazyCommand, "load", lambda _: fail())
    monkeypatch.delenv(root.TRACEBACK_VARIABLE, raising=False)
    result = cli("health")
    assert result.code == 70
    assert result.err.splitlines()[0] == "internal error: RuntimeError: two lines"
    assert "Traceback" not in result.err


def test_a_defect_shows_where_it_is_on_request(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who reports it can see it."""
    monkeypatch.setattr(LazyCommand, "load", lambda _: fail())
    monkeypatch.setenv(root.TRACEBACK_VARIABLE, "1")
    result = cli("health")
    assert result.code == 70
    assert "Traceback" in result.err
    assert "raise RuntimeError" in result.err


def test_ctrl_c_ends_with_130(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """As shells expect."""

    def interrupted() -> None:
        raise KeyboardInterrupt

    app = typer.Typer()
    app.command()(interrupted)
    monkeypatch.setattr(LazyCommand, "load", lambda _: typer.main.get_command(app))
    assert cli("health").code == 130


def test_colours_are_left_out_of_pipes(cli: Cli) -> None:
    """A pipe gets plain text."""
    assert "\x1b" not in cli("--help").out
