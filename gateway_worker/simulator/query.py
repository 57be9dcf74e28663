"""The frame of an info query (``iq``): what a handler gets, what it may answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from gateway_worker.simulator.binary import Node
from gateway_worker.simulator.endpoints import PN_SERVER

if TYPE_CHECKING:
    from gateway_worker.simulator.registry import Device

Handler = Callable[["Device", Node], Awaitable[list[Node]]]
"""Answers an iq of a device: returns the result's children, or raises :class:`QueryError`."""

BAD_REQUEST: Final = 400
NOT_FOUND: Final = 404
NOT_ACCEPTABLE: Final = 406
CONFLICT: Final = 409

_TEXTS: Final = {
    BAD_REQUEST: "bad-request",
    NOT_FOUND: "item-not-found",
    NOT_ACCEPTABLE: "not-acceptable",
    CONFLICT: "conflict",
}


class QueryError(Exception):
    """An iq is answered with an error.

    Attributes:
        code: The error's code.
    """

    def __init__(self, code: int) -> None:
        super().__init__(code, _TEXTS[code])
        self.code = code


def error_node(code: int) -> Node:
    """Make the element that carries an error."""
    return Node("error", {"code": str(code), "text": _TEXTS[code]})


def result(iq: Node, content: list[Node]) -> Node:
    """Make the result of an iq."""
    return Node("iq", {"from": PN_SERVER, "type": "result", "id": iq.attrs["id"]}, content)


def failure(iq: Node, code: int) -> Node:
    """Make the error that answers an iq."""
    return Node("iq", {"from": PN_SERVER, "type": "error", "id": iq.attrs["id"]}, [error_node(code)])


def require(node: Node | None) -> Node:
    """Return an element that must be there.

    Raises:
        QueryError: It is not.
    """
    if node is None:
        raise QueryError(BAD_REQUEST)
    return node
