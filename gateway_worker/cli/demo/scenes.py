"""What happens in the demo, a function a scene. Each step names the call that did it."""

from __future__ import annotations

import os
import signal
import time
from typing import Final

from rich.text import Text

from gateway_worker.cli.demo.cast import CONTACT, CONTACT_NAME, PHONE, PHONE_NAME, SESSION, Demo
from gateway_worker.cli.demo.errors import DemoError
from gateway_worker.cli.demo.picture import make_picture
from gateway_worker.cli.demo.processes import engines_of
from gateway_worker.cli.describe import status_text
from gateway_worker.cli.qr import draw
from gateway_worker.cli.wording import content_words, size_words, ticks
from wagateway.simulator.v1 import simulator_pb2
from wagateway.worker.v1 import content_pb2, event_pb2, session_pb2, worker_pb2

_CALL_TIMEOUT: Final = 20.0

_GREETING: Final = "Selamat pagi, Siti! Your order has left the warehouse."
_CAPTION: Final = "The view from our warehouse"
_ANSWER: Final = "Terima kasih! When will it arrive?"
_AFTERWARDS: Final = "Tomorrow. (Sent after the crash, without a new scan.)"


async def meet_the_people(demo: Demo) -> None:
    """Add a phone, which owns the account, and a contact, whom it will write to."""
    await demo.control.AddPhone(
        simulator_pb2.AddPhoneRequest(number=PHONE, push_name=PHONE_NAME), timeout=_CALL_TIMEOUT
    )
    demo.stage.step("AddPhone *", f"{PHONE_NAME}'s phone, +{PHONE}: the account to be linked")
    # Silent: the scenes say when the contact reads and answers, so that a person can watch each of them happen.
    await demo.control.AddContact(
        simulator_pb2.AddContactRequest(
            number=CONTACT, push_name=CONTACT_NAME, behaviour=simulator_pb2.BEHAVIOUR_SILENT
        ),
        timeout=_CALL_TIMEOUT,
    )
    demo.stage.step("AddContact *", f"{CONTACT_NAME}, +{CONTACT}: a person with encryption keys of her own")
    await demo.stage.pause(1.5)


async def link_the_phone(demo: Demo) -> None:
    """Create a session, show its QR code, let the phone scan it, see it connected."""
    await demo.api.CreateSession(worker_pb2.CreateSessionRequest(session_id=SESSION), timeout=_CALL_TIMEOUT)
    demo.stage.step("CreateSession", f"the card of session “{SESSION}” exists; nothing is connected yet")
    started = time.monotonic()
    await demo.api.ConnectSession(worker_pb2.ConnectSessionRequest(session_id=SESSION), timeout=_CALL_TIMEOUT)
    with demo.stage.waiting("an engine starts and asks WhatsApp for a code"):
        offered = await demo.recorder.wait_for(
            "a QR code is offered", lambda event: event.HasField("pairing") and event.pairing.HasField("pairing")
        )
    demo.figures.qr_seconds = time.monotonic() - started
    demo.stage.step("ConnectSession", f"it asks to be linked: a QR code after {demo.figures.qr_seconds:.1f} s")
    code = offered.pairing.pairing.qr
    demo.stage.show(draw(code, demo.stage.console))
    with demo.stage.waiting(f"{PHONE_NAME} takes out the phone: WhatsApp, Linked devices, Link a device …"):
        await demo.stage.pause(5)
    scanned, seen = time.monotonic(), len(demo.recorder.events)
    with demo.stage.waiting("the phone scans; the device logs in"):
        await demo.control.ScanCode(simulator_pb2.ScanCodeRequest(number=PHONE, code=code), timeout=_CALL_TIMEOUT)
        demo.stage.step("ScanCode *", f"{PHONE_NAME}'s phone scanned the code")
        paired = await demo.recorder.wait_for(
            "the session is linked", lambda event: event.HasField("paired"), since=seen
        )
        demo.stage.step("SessionEvents", f"paired: linked to {paired.paired.account.phone_number}")
        connected = await demo.reached(
            session_pb2.SESSION_STATE_CONNECTED, "the linked session is connected", since=seen
        )
    demo.figures.link_seconds = time.monotonic() - scanned
    demo.stage.step(
        "SessionEvents",
        Text.assemble(
            status_text(connected.session_state.status), f", {demo.figures.link_seconds:.1f} s after the scan"
        ),
    )
    await demo.stage.pause(1.5)


async def send_a_text(demo: Demo) -> None:
    """Send a text and watch its ticks."""
    seen, started = len(demo.recorder.events), time.monotonic()
    request = worker_pb2.SendTextRequest(
        session_id=SESSION, to=f"+{CONTACT}", text=content_pb2.TextContent(text=_GREETING)
    )
    sent = (await demo.api.SendText(request, timeout=_CALL_TIMEOUT)).message
    demo.figures.text_ack_ms = _ms_since(started)
    demo.figures.messages_sent += 1
    demo.stage.step("SendText", f"“{_GREETING}” WhatsApp's server has it after {demo.figures.text_ack_ms:.0f} ms")
    demo.figures.delivered_ms = await _watch_ticks(demo, sent, since=seen, started=started)


async def send_an_image(demo: Demo) -> None:
    """Send an image and watch its ticks."""
    demo.picture = make_picture()
    seen, started = len(demo.recorder.events), time.monotonic()
    request = worker_pb2.SendImageRequest(
        session_id=SESSION,
        to=f"+{CONTACT}",
        image=content_pb2.ImageContent(source=content_pb2.MediaSource(inline=demo.picture), caption=_CAPTION),
    )
    sent = (await demo.api.SendImage(request, timeout=_CALL_TIMEOUT)).message
    demo.figures.image_ack_ms = _ms_since(started)
    demo.figures.messages_sent += 1
    demo.stage.step(
        "SendImage",
        f"a JPEG of {size_words(len(demo.picture))}, encrypted and uploaded, after {demo.figures.image_ack_ms:.0f} ms",
    )
    await _watch_ticks(demo, sent, since=seen, started=started)


async def _watch_ticks(demo: Demo, sent: worker_pb2.SentMessage, *, since: int, started: float) -> float:
    """Follow a message until the contact has read it; returns the milliseconds from its call to its delivery."""

    def is_now(event: event_pb2.Event, status: event_pb2.MessageStatus.ValueType) -> bool:
        change = event.message_status
        return event.HasField("message_status") and change.message_id == sent.id and change.status == status

    with demo.stage.changing("SessionEvents") as line:
        line.add(_tick(event_pb2.MESSAGE_STATUS_SERVER_ACK))
        await demo.recorder.wait_for(
            "the message is delivered", lambda event: is_now(event, event_pb2.MESSAGE_STATUS_DELIVERED), since=since
        )
        delivered = _ms_since(started)
        line.add(_tick(event_pb2.MESSAGE_STATUS_DELIVERED))
        await demo.stage.pause(1.5)
        await demo.control.SendReceipt(
            simulator_pb2.SendReceiptRequest(contact=CONTACT, id=sent.id, kind=simulator_pb2.RECEIPT_KIND_READ),
            timeout=_CALL_TIMEOUT,
        )
        await demo.recorder.wait_for(
            "the message is read", lambda event: is_now(event, event_pb2.MESSAGE_STATUS_READ), since=since
        )
        line.add(_tick(event_pb2.MESSAGE_STATUS_READ))
    await demo.stage.pause(1)
    return delivered


async def look_into_the_inbox(demo: Demo) -> None:
    """Read what the contact's phone decrypted, and compare it with what was sent."""
    response = await demo.control.ListInbox(simulator_pb2.ListInboxRequest(contact=CONTACT), timeout=_CALL_TIMEOUT)
    text, image = _only(response, _GREETING), _only(response, _CAPTION)
    demo.stage.step("ListInbox *", f"{CONTACT_NAME} reads: “{text.text}”")
    if image.media != demo.picture:
        raise DemoError("the image that the contact decrypted is not the one that was sent")
    demo.stage.step(
        "ListInbox *", f"… and sees the image, “{image.text}”: {size_words(len(image.media))}, byte for byte the same"
    )
    await demo.stage.pause(2)


def _only(inbox: simulator_pb2.ListInboxResponse, text: str) -> simulator_pb2.ReceivedMessage:
    """Return the one message with a text. Raises DemoError when there is none, or more."""
    found = [message for message in inbox.messages if message.text == text]
    if len(found) != 1:
        raise DemoError(f"the contact has {len(found)} messages “{text}” instead of one")
    return found[0]


async def receive_an_answer(demo: Demo) -> None:
    """Let the contact answer; see the message arrive on the stream."""
    seen, started = len(demo.recorder.events), time.monotonic()
    await demo.control.Say(simulator_pb2.SayRequest(contact=CONTACT, phone=PHONE, text=_ANSWER), timeout=_CALL_TIMEOUT)
    demo.stage.step("Say *", f"{CONTACT_NAME} answers on her phone")
    event = await demo.recorder.wait_for(
        "the answer arrives",
        lambda event: event.HasField("message") and event.message.content.text.text == _ANSWER,
        since=seen,
    )
    demo.figures.answer_ms = _ms_since(started)
    sender = event.message.sender_name or event.message.sender.phone_number
    demo.stage.step(
        "SessionEvents",
        f"message #{event.sequence} from {sender}: “{content_words(event.message.content)}” "
        f"after {demo.figures.answer_ms:.0f} ms",
    )
    await demo.stage.pause(2)


async def kill_the_engine(demo: Demo) -> None:
    """Kill the process that holds the connection, and see the session come back by itself."""
    engines = engines_of(demo.worker.pid)
    if not engines:
        raise DemoError("the worker has no engine process to kill")
    seen, started = len(demo.recorder.events), time.monotonic()
    for engine in engines:
        os.kill(engine, signal.SIGKILL)
    processes = " and ".join(map(str, engines))
    demo.stage.step("kill -9", f"{processes}: the process that held the connection is dead")
    lost = await demo.reached(session_pb2.SESSION_STATE_RECONNECTING, "the session is seen as reconnecting", since=seen)
    demo.figures.lost_seconds = time.monotonic() - started
    demo.stage.step("SessionEvents", status_text(lost.session_state.status))
    with demo.stage.waiting("a new engine starts and logs in with the keys on disk"):
        await demo.reached(session_pb2.SESSION_STATE_CONNECTED, "the session is connected again", since=seen)
    demo.figures.reconnect_seconds = time.monotonic() - started
    demo.stage.step(
        "SessionEvents",
        Text.assemble(("connected", "green"), f" again {demo.figures.reconnect_seconds:.1f} s after the kill, no scan"),
    )
    await demo.stage.pause(1.5)


async def send_once_more(demo: Demo) -> None:
    """Send a message over the new connection, and find it with the contact."""
    seen, started = len(demo.recorder.events), time.monotonic()
    request = worker_pb2.SendTextRequest(
        session_id=SESSION, to=f"+{CONTACT}", text=content_pb2.TextContent(text=_AFTERWARDS)
    )
    sent = (await demo.api.SendText(request, timeout=_CALL_TIMEOUT)).message
    demo.figures.messages_sent += 1
    demo.stage.step("SendText", f"“{_AFTERWARDS}”")
    await _watch_ticks(demo, sent, since=seen, started=started)
    response = await demo.control.ListInbox(simulator_pb2.ListInboxRequest(contact=CONTACT), timeout=_CALL_TIMEOUT)
    _only(response, _AFTERWARDS)
    demo.stage.step("ListInbox *", f"{CONTACT_NAME} has it, once")


async def check_the_stream(demo: Demo) -> None:
    """Count the events: a hole or a repeat in the sequence would be a lost or a doubled one."""
    figures, recorder = demo.figures, demo.recorder
    figures.events = sum(1 for _ in recorder.durable())
    figures.events_lost, figures.events_repeated = recorder.holes(), recorder.repeats()
    figures.messages_received = sum(1 for event in recorder.durable() if event.HasField("message"))
    if figures.events_lost or figures.events_repeated:
        raise DemoError(f"of the events {figures.events_lost} are lost and {figures.events_repeated} came twice")
    demo.stage.step("SessionEvents", f"{figures.events} events on one stream, numbered without a hole or a repeat")


def _tick(status: event_pb2.MessageStatus.ValueType) -> Text:
    mark, word, style = ticks(status)
    return Text(f"{mark} {word}", style=style)


def _ms_since(started: float) -> float:
    return 1000 * (time.monotonic() - started)


SCENES: Final = (
    ("The people", (meet_the_people,)),
    ("Link a phone to a session", (link_the_phone,)),
    ("Send", (send_a_text, send_an_image)),
    ("What the contact sees", (look_into_the_inbox,)),
    ("Receive", (receive_an_answer,)),
    ("Survive a crash", (kill_the_engine, send_once_more, check_the_stream)),
)
