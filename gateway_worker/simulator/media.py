"""The media hosts: encrypted blobs that clients upload by HTTPS POST and fetch by GET.

A blob is known by the SHA-256 of its bytes, which is also the token that an upload must carry, so a damaged upload is
noticed here and not by whoever downloads it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import logging
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qs, urlsplit

from gateway_worker.simulator.endpoints import StoredMedia
from gateway_worker.simulator.errors import InvalidError, NotFoundError

MEDIA_HOST: Final = "mmg.whatsapp.net"
"""The one host name that clients are told to use for media."""

MAX_BLOB: Final = 128 << 20
"""Bytes of the largest upload that is taken."""

_PATH_PREFIX: Final = "/v/t62.7118-24/"
_UPLOAD_PREFIXES: Final = ("/mms/", "/newsletter/")
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What a media host answers.

    Attributes:
        status: The status code.
        body: The body.
        content_type: Its media type.
    """

    status: HTTPStatus
    body: bytes = b""
    content_type: str = "application/octet-stream"


class MediaStore:
    """The blobs, in memory, within a budget: the oldest give way to the newest.

    Args:
        budget: Bytes that all blobs together may take.
        auth: Secret that uploads must present; clients get it in the answer to ``media_conn``.
    """

    def __init__(self, budget: int, auth: str) -> None:
        self.auth = auth
        self._budget = budget
        self._used = 0
        self._blobs: dict[str, bytes] = {}

    def store(self, data: bytes) -> StoredMedia:
        """Store a blob; the same bytes are stored once.

        Raises:
            InvalidError: It is empty or larger than :data:`MAX_BLOB` or the budget.
        """
        if not 0 < len(data) <= min(MAX_BLOB, self._budget):
            raise InvalidError(f"media has 1 to {min(MAX_BLOB, self._budget)} bytes, not {len(data)}")
        name = hashlib.sha256(data).hexdigest()
        if name not in self._blobs:
            self._blobs[name] = data
            self._used += len(data)
            while self._used > self._budget:
                oldest = next(iter(self._blobs))
                self._used -= len(self._blobs.pop(oldest))
                _logger.info("media %s was dropped to stay within %d bytes", oldest, self._budget)
        # Clients append further parameters with "&", so the path must already have a query.
        direct_path = f"{_PATH_PREFIX}{name}.enc?ccb=11-4"
        return StoredMedia(url=f"https://{MEDIA_HOST}{direct_path}", direct_path=direct_path)

    def load(self, location: str) -> bytes:
        """Return a blob by its direct path or URL.

        Raises:
            NotFoundError: Nothing is stored there.
        """
        blob = self._blobs.get(self._name(location))
        if blob is None:
            raise NotFoundError("no media is stored under this path")
        return blob

    def answer(self, method: str, target: str, body: bytes) -> HttpAnswer:
        """Answer an HTTP request to a media host."""
        url = urlsplit(target)
        query = parse_qs(url.query)
        if method in ("GET", "HEAD") and url.path.startswith(_PATH_PREFIX):
            blob = self._blobs.get(self._name(url.path))
            return HttpAnswer(HTTPStatus.NOT_FOUND) if blob is None else HttpAnswer(HTTPStatus.OK, blob)
        if method in ("POST", "DELETE") and url.path.startswith(_UPLOAD_PREFIXES):
            if not hmac.compare_digest(query.get("auth", [""])[0], self.auth):
                return HttpAnswer(HTTPStatus.UNAUTHORIZED)
            return self._upload(query, body) if method == "POST" else self._delete(query)
        return HttpAnswer(HTTPStatus.NOT_FOUND)

    def _upload(self, query: dict[str, list[str]], body: bytes) -> HttpAnswer:
        digest = _unbase64(query.get("token", [""])[0])
        if digest != hashlib.sha256(body).digest():
            return HttpAnswer(HTTPStatus.BAD_REQUEST, b"the token is not the body's SHA-256", "text/plain")
        try:
            stored = self.store(body)
        except InvalidError as error:
            return HttpAnswer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, str(error).encode(), "text/plain")
        name = self._name(stored.direct_path)
        answer = {"url": stored.url, "direct_path": stored.direct_path, "handle": name, "object_id": name}
        return HttpAnswer(HTTPStatus.OK, json.dumps(answer).encode(), "application/json")

    def _delete(self, query: dict[str, list[str]]) -> HttpAnswer:
        """Delete the blob that the ``d_md`` parameter names: its direct path, in base64."""
        path = _unbase64(query.get("d_md", [""])[0]).decode(errors="replace")
        blob = self._blobs.pop(self._name(path), None)
        if blob is None:
            return HttpAnswer(HTTPStatus.NOT_FOUND)
        self._used -= len(blob)
        return HttpAnswer(HTTPStatus.OK)

    @staticmethod
    def _name(location: str) -> str:
        path = urlsplit(location).path
        return path.removeprefix(_PATH_PREFIX).removesuffix(".enc") if path.startswith(_PATH_PREFIX) else ""


def _unbase64(text: str) -> bytes:
    """Decode URL-safe base64 with or without padding; nothing for what is not base64."""
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error:
        return b""
