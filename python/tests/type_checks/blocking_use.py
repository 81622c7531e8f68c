"""`ferromqtt.blocking` as type checkers see it: its parameters are those of `ferromqtt.Client`."""

from typing import assert_type

from ferromqtt import ClientState, Message, ReasonCode, Reconnect
from ferromqtt.blocking import Client, Request
from ferromqtt.events import ConnectionEvent


class OwnClient(Client):
    """A subclass inherits the constructor."""


def use() -> None:
    with Client("localhost", 1883, keepalive=30, reconnect=Reconnect(max=30)) as client:
        assert_type(client, Client)
        assert_type(client.subscribe([("a/#", 1)], timeout=3), list[ReasonCode])
        client.publish("a", b"x", qos=1, retain=True, timeout=3)
        client.wait_connected(5)
        for message in client.messages(timeout=3):
            assert_type(message, Message)
            message.ack()
        assert_type(client.unacknowledged().messages, int)
        for event in client.events(timeout=3):
            assert_type(event, ConnectionEvent)
        with client.subscription("a/#", ("b", 1), maxsize=10) as messages:
            for message in messages.within(3):
                assert_type(message, Message)
            messages.unsubscribe()
        for request in client.responder("square", qos=1):
            assert_type(request, Request)
            request.respond(request.payload, content_type="text/plain")
        with client.responder("square", maxsize=10) as requests:
            assert_type(next(requests.within(3)).response_topic, str | None)
        assert_type(client.state(), ClientState)
    assert_type(OwnClient("localhost"), OwnClient)
    assert_type(OwnClient.from_url("mqtt://h", keepalive=30, strict=True), OwnClient)


def misuse(client: Client) -> None:
    client.publish("a", quality=1)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    client.subscribe(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Client("localhost", keepalife=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Client.from_url("mqtt://h", keepalife=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
