"""``gateway-worker send``: messages."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from gateway_worker.cli.channels import worker_api
from gateway_worker.cli.exits import UsageError
from gateway_worker.cli.options import DEFAULT_TARGET, JsonOption, SessionArgument, TargetOption, examples
from gateway_worker.cli.output import Output
from gateway_worker.cli.running import fail, run
from gateway_worker.cli.views import sent_line
from gateway_worker.cli.wording import size_words
from wagateway.worker.v1 import content_pb2, worker_pb2

app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich", add_completion=False)

MAX_IMAGE_BYTES: Final = 16 * 1024 * 1024
"""What the contract takes inline."""

DEFAULT_TIMEOUT: Final = 90.0
"""Seconds; longer than the worker itself waits for WhatsApp's acknowledgement, so that its verdict arrives."""

_STDIN: Final = "-"

RecipientArgument = Annotated[
    str,
    typer.Argument(
        metavar="TO",
        help="A phone number (+6287733760363, or local: 087733760363), or the JID of a user, group or newsletter.",
        show_default=False,
    ),
]
KeyOption = Annotated[
    str,
    typer.Option(
        "--idempotency-key",
        metavar="KEY",
        help="Makes repeating safe: the same key and message is sent once and answered alike, for 7 days.",
    ),
]
HumanOption = Annotated[
    bool, typer.Option("--human", help="Show the account typing first, for a time that fits the text.")
]
QuoteOption = Annotated[str, typer.Option("--quote", metavar="MESSAGE_ID", help="The message that this one answers.")]
TimeoutOption = Annotated[
    float, typer.Option("--timeout", metavar="SECONDS", min=0.1, help="How long to wait for WhatsApp's answer.")
]


@app.callback()
def send() -> None:
    """Send a message. Answers once WhatsApp's server acknowledged it, with the message's id.

    Whether it was delivered and read comes later: events --follow shows it.
    """


@app.command(epilog=examples("send text alpha +6287733760363 'Hello'", "send text alpha 087733760363 - < letter.txt"))
def text(
    session: SessionArgument,
    to: RecipientArgument,
    words: Annotated[
        str,
        typer.Argument(metavar="TEXT", help="The text; - reads it from standard input.", show_default=False),
    ],
    *,
    idempotency_key: KeyOption = "",
    human: HumanOption = False,
    quote: QuoteOption = "",
    timeout: TimeoutOption = DEFAULT_TIMEOUT,
    target: TargetOption = DEFAULT_TARGET,
    as_json: JsonOption = False,
) -> None:
    """Send a text, with WhatsApp's own marks: *bold*, _italic_, ~strike~."""
    request = worker_pb2.SendTextRequest(
        session_id=session,
        to=to,
        text=content_pb2.TextContent(text=sys.stdin.read() if words == _STDIN else words),
        options=_options(idempotency_key, quote, human=human),
    )
    output = Output(as_json=as_json)
    run(output, _send_text(output, target, request, timeout))


async def _send_text(output: Output, target: str, request: worker_pb2.SendTextRequest, seconds: float) -> None:
    async with worker_api(target) as api:
        response = await api.SendText(request, timeout=seconds)
    output.result(response.message, view=sent_line(response.message))


@app.command(epilog=examples("send image alpha +6287733760363 photo.jpg --caption 'Look'"))
def image(
    session: SessionArgument,
    to: RecipientArgument,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="JPEG, PNG or WebP, up to 16 MiB.", show_default=False)],
    *,
    caption: Annotated[str, typer.Option(metavar="TEXT", help="Text below the image.")] = "",
    idempotency_key: KeyOption = "",
    human: HumanOption = False,
    quote: QuoteOption = "",
    timeout: TimeoutOption = DEFAULT_TIMEOUT,
    target: TargetOption = DEFAULT_TARGET,
    as_json: JsonOption = False,
) -> None:
    """Send an image."""
    output = Output(as_json=as_json)
    request = worker_pb2.SendImageRequest(
        session_id=session,
        to=to,
        image=content_pb2.ImageContent(
            source=content_pb2.MediaSource(inline=_image_bytes(output, file)), caption=caption
        ),
        options=_options(idempotency_key, quote, human=human),
    )
    run(output, _send_image(output, target, request, timeout))


async def _send_image(output: Output, target: str, request: worker_pb2.SendImageRequest, seconds: float) -> None:
    async with worker_api(target) as api:
        response = await api.SendImage(request, timeout=seconds)
    output.result(response.message, view=sent_line(response.message))


def _image_bytes(output: Output, file: Path) -> bytes:
    """Read a file that may be sent; what it holds is for the worker to judge."""
    try:
        size = file.stat().st_size
        if size > MAX_IMAGE_BYTES:
            fail(output, UsageError(f"{file} has {size_words(size)}; an image may have 16 MiB"))
        data = file.read_bytes()
    except OSError as error:
        fail(output, UsageError(f"cannot read {file}: {error.strerror}"))
    if not data:
        fail(output, UsageError(f"{file} is empty"))
    return data


def _options(idempotency_key: str, quote: str, *, human: bool) -> content_pb2.SendOptions:
    """Return the options; those not given stay unset."""
    return content_pb2.SendOptions(
        idempotency_key=idempotency_key,
        quoted=content_pb2.QuotedMessage(message_id=quote) if quote else None,
        human=content_pb2.HumanSimulation() if human else None,
    )
