"""What an engine's process finds in its environment: fixed at its start, and nothing by accident.

The Go core copies the environment when its library is loaded, so these variables have no effect later.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

# What a process needs to find its interpreter, libraries, certificates, home and language. No proxies: a proxy that is
# set for the worker's other programs must not silently carry WhatsApp's traffic.
_INHERITED = (
    "HOME",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "LD_LIBRARY_PATH",
    "PATH",
    "PYTHONHOME",
    "PYTHONPATH",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TMPDIR",
    "TZ",
)
_ROOT_KEY = re.compile(r"[0-9a-fA-F]{64}")


class SimulatorFileError(ValueError):
    """The file that should tell how to reach a simulator is not usable; the message names file and key."""


@dataclass(frozen=True, slots=True)
class SimulatorFile:
    """How to reach a server that plays WhatsApp.

    Attributes:
        proxy: URL of its HTTP proxy.
        ca: PEM file with the authority that signed its certificates.
        root: Its Noise root key, 32 bytes in hex.
    """

    proxy: str
    ca: Path
    root: str

    @classmethod
    def read(cls, path: Path) -> SimulatorFile:
        """Read and check a simulator's JSON file.

        Raises:
            SimulatorFileError: It cannot be read, or a key is missing or wrong.
        """
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise SimulatorFileError(f"{path}: cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise SimulatorFileError(f"{path}: not JSON in UTF-8") from error
        if not isinstance(content, dict):
            raise SimulatorFileError(f"{path}: must be an object with the keys proxy, ca and root")
        proxy, ca, root = (_text(path, content, key) for key in ("proxy", "ca", "root"))
        if not _is_proxy(proxy):
            raise SimulatorFileError(f"{path}: proxy: must be a URL such as http://127.0.0.1:8123")
        ca_path = path.parent.joinpath(ca).resolve()
        if not ca_path.is_file():
            raise SimulatorFileError(f"{path}: ca: there is no file {ca_path}")
        if _ROOT_KEY.fullmatch(root) is None:
            raise SimulatorFileError(f"{path}: root: must be 64 hexadecimal digits")
        return cls(proxy=proxy, ca=ca_path, root=root)


def engine_environment(
    parent: Mapping[str, str] = os.environ, *, proxy: str = "", simulator: SimulatorFile | None = None
) -> dict[str, str]:
    """Environment of a new engine.

    Args:
        parent: The worker's own environment.
        proxy: URL of the proxy to use towards WhatsApp; empty: none.
        simulator: The simulator to use instead; its proxy is used then.
    """
    environment = {name: parent[name] for name in _INHERITED if name in parent}
    environment["NEONIZE_BOT_TAG"] = "off"  # else recipients see every message marked as written by an AI
    environment["PYTHONUNBUFFERED"] = "1"  # the last lines before a crash are the ones that matter
    if simulator is not None:
        environment.pop("SSL_CERT_DIR", None)
        environment["HTTPS_PROXY"] = simulator.proxy
        environment["SSL_CERT_FILE"] = str(simulator.ca)
    elif proxy:
        environment["HTTPS_PROXY"] = proxy
    return environment


def _text(path: Path, content: dict[str, object], key: str) -> str:
    value = content.get(key)
    if not isinstance(value, str) or not value:
        raise SimulatorFileError(f"{path}: {key}: must be there, as text")
    return value


def _is_proxy(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 0) > 0
    except ValueError:  # a port that is no number
        return False
