"""Overwriting the root key in the loaded Go library: in a process of its own, as it changes that process for good."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from gateway_worker.engine.root_key import KEY_SIZE, KNOWN_ROOT, RootKeyError, install_root_key


def _library() -> Path:
    spec = importlib.util.find_spec("neonize")
    assert spec is not None
    assert spec.origin is not None
    (library,) = Path(spec.origin).parent.glob("neonize-*.so")
    return library


_SCRIPT = """
import ctypes, pathlib, re, sys
from gateway_worker.engine.root_key import KNOWN_ROOT, RootKeyError, install_root_key
library = pathlib.Path(sys.argv[1])
loaded = ctypes.CDLL(str(library))
root = bytes(range(32))
install_root_key(root, library)
content = library.read_bytes()
assert content.count(KNOWN_ROOT) == 1
offset = content.index(KNOWN_ROOT)
found = 0
for line in open("/proc/self/maps"):
    if line.rstrip().endswith(str(library)):
        start, end, file_offset = (int(part, 16) for part in re.match(r"(\\w+)-(\\w+) \\S+ (\\w+)", line).groups())
        if file_offset <= offset < file_offset + end - start and "w" in line.split()[1]:
            found += ctypes.string_at(start + offset - file_offset, 32) == root
assert found == 1, found
try:
    install_root_key(root, library)
except RootKeyError as error:
    print(error)
"""


def test_the_key_in_memory_is_overwritten_once() -> None:
    """The loaded library has the new key where the old one was; a second time the old one is missing."""
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, str(_library())], capture_output=True, text=True, timeout=60, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert bytes(range(32)).hex() in done.stdout
    assert _library().read_bytes().count(KNOWN_ROOT) == 1


def test_a_library_that_is_not_loaded_is_refused() -> None:
    """In this process nobody has loaded it, and nothing is written."""
    with pytest.raises(RootKeyError, match="not loaded"):
        install_root_key(bytes(KEY_SIZE), _library())


@pytest.mark.parametrize("copies", [0, 2])
def test_a_library_without_exactly_one_key_is_refused(tmp_path: Path, copies: int) -> None:
    """None, or more than one: it is not the library that this was made for."""
    library = tmp_path / "library.so"
    library.write_bytes(b"ELF" + KNOWN_ROOT * copies)

    with pytest.raises(RootKeyError, match=f"{copies} times, not once"):
        install_root_key(bytes(KEY_SIZE), library)


def test_wrong_arguments_are_refused(tmp_path: Path) -> None:
    """A key of another size, and a file that is not there."""
    with pytest.raises(RootKeyError, match="32 bytes, not 31"):
        install_root_key(bytes(31), _library())
    with pytest.raises(RootKeyError, match="cannot be read"):
        install_root_key(bytes(KEY_SIZE), tmp_path / "missing.so")
