"""On whose behalf a call is made.

The tenant is never part of a request. It is a property of the caller, kept in a context variable because gRPC fixes the
signature of handlers, and each call runs in a task, hence a context, of its own. Whoever authenticates callers replaces
:class:`DefaultPrincipal` by an interceptor that calls :func:`act_as` with what a token or a certificate says; handlers
stay as they are.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message

from gateway_worker.domain.ids import DEFAULT_TENANT, TenantId
from gateway_worker.service.interceptors import Context, Handler, Method


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller.

    Attributes:
        tenant: Whose sessions it sees.
    """

    tenant: TenantId


_current: ContextVar[Principal] = ContextVar("principal")  # without a default: a call that nobody vouched for fails


def act_as(principal: Principal) -> None:
    """Let the rest of the call under way be on behalf of ``principal``."""
    _current.set(principal)


def current_tenant() -> TenantId:
    """The tenant of the call under way; raises LookupError when no interceptor settled it."""
    return _current.get().tenant


class DefaultPrincipal:
    """Without authentication: every caller is the tenant ``default``."""

    def __init__(self) -> None:
        self._principal = Principal(DEFAULT_TENANT)

    def intercept(self, method: Method, proceed: Handler) -> Handler:  # noqa: ARG002 - the same for every method
        """See :class:`~gateway_worker.service.interceptors.Interceptor`."""
        principal = self._principal

        async def handle(request: Any, context: Context) -> Message | None:
            act_as(principal)
            return await proceed(request, context)

        return handle
