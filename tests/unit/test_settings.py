"""Settings and how a wrong one is told."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gateway_worker.settings import PREFIX, Settings, SettingsError, load_settings

EXAMPLE = Path(__file__).parents[2] / ".env.example"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No settings of the person who runs this."""
    for name in Settings.model_fields:
        monkeypatch.delenv(f"{PREFIX}{name.upper()}", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_no_settings_are_needed() -> None:
    """Everything has an embedded default, on loopback."""
    settings = load_settings()
    assert settings.listen == "127.0.0.1:50051"
    assert settings.data_dir == Path("data")
    assert settings.simulator is None


def test_the_example_describes_every_setting_with_its_default() -> None:
    """Nothing is missing, nothing is left over, and no value differs."""
    example = dict(re.findall(r"^#(GATEWAY_\w+)=(.*)$", EXAMPLE.read_text(), re.MULTILINE))
    defaults = {
        f"{PREFIX}{name.upper()}": "" if field.default is None else f"{field.default}"
        for name, field in Settings.model_fields.items()
    }
    assert example == defaults
    text = " ".join(EXAMPLE.read_text().replace("#", " ").split())
    for field in Settings.model_fields.values():
        assert field.description is not None
        assert field.description.split(".")[0].split(",")[0] in text


def test_settings_come_from_the_environment_and_a_file(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment wins over ``.env``; empty values count as unset."""
    (elsewhere / ".env").write_text("GATEWAY_LISTEN=127.0.0.1:1\nGATEWAY_DATA_DIR=/from/file\nOTHER=x\n")
    monkeypatch.setenv("GATEWAY_LISTEN", "[::1]:0")
    monkeypatch.setenv("GATEWAY_SIMULATOR", "")
    settings = load_settings()
    assert (settings.listen, settings.data_dir, settings.simulator) == ("[::1]:0", Path("/from/file"), None)


@pytest.mark.parametrize(
    ("name", "value", "accepted"),
    [
        ("LISTEN", "50051", "HOST:PORT"),
        ("LISTEN", "localhost:99999", "HOST:PORT"),
        ("LISTEN", ":50051", "HOST:PORT"),
        ("SIMULATOR", "/nowhere", "existing file"),
        ("LOG_LEVEL", "chatty", "'DEBUG', 'INFO', 'WARNING' or 'ERROR'"),
        ("LOG_FORMAT", "xml", "'auto', 'console' or 'json'"),
        ("SESSIONS_PER_ENGINE", "many", "valid integer"),
        ("SESSIONS_PER_ENGINE", "501", "less than or equal to 500"),
        ("ENGINE_MAX_RSS_MIB", "1", "greater than or equal to 100"),
        ("EVENT_RETENTION_DAYS", "0", "greater than 0"),
        ("STREAM_STALL_SECONDS", "0", "greater than or equal to 1"),
        ("DRAIN_SECONDS", "-1", "greater than or equal to 1"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_accepted(
    name: str, value: str, accepted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variable's own name, and the accepted values; never the value itself, which may be a secret."""
    monkeypatch.setenv(f"{PREFIX}{name}", value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"{PREFIX}{name}: must be ")
    assert accepted in line


def test_all_wrong_values_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody likes to fix settings one start at a time."""
    monkeypatch.setenv("GATEWAY_LISTEN", "x")
    monkeypatch.setenv("GATEWAY_LOG_LEVEL", "x")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert len(str(caught.value).splitlines()) == 2
