"""Requests are checked against the rules that the contract states, before anything else looks at them."""

from __future__ import annotations

from typing import Any

import protovalidate
from google.protobuf.message import Message

from gateway_worker.domain.errors import InvalidArgumentError
from gateway_worker.service.interceptors import Context, Handler, Method
from gateway_worker.service.request_rules import further_violations
from gateway_worker.service.rule_texts import describe

_MAX_VIOLATIONS = 16  # nobody reads more, and a status has little room


class RequestValidation:
    """Refuses requests that break a rule of the contract, naming the fields and what is accepted.

    The rules are those of ``buf.validate`` in the .proto files, and the few that it cannot state
    (:mod:`gateway_worker.service.request_rules`).
    """

    def __init__(self) -> None:
        self._validator = protovalidate.Validator()  # compiles a message's rules when it first sees one

    def intercept(self, method: Method, proceed: Handler) -> Handler:  # noqa: ARG002 - the same for every method
        """See :class:`~gateway_worker.service.interceptors.Interceptor`."""

        async def handle(request: Any, context: Context) -> Message | None:
            self.check(request)
            return await proceed(request, context)

        return handle

    def check(self, request: Message) -> None:
        """Raise InvalidArgumentError when ``request`` breaks a rule. Never repeats a value of the request."""
        descriptor: Any = request.DESCRIPTOR  # its class depends on the implementation of protobuf
        broken = self._validator.collect_violations(request)
        violations = [describe(rule, descriptor) for rule in broken[:_MAX_VIOLATIONS]]
        violations.extend(further_violations(request))
        if violations:
            raise InvalidArgumentError(*violations[:_MAX_VIOLATIONS])
