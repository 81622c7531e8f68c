"""A keyword that does not exist is refused with the nearest one that does."""

from typing import TYPE_CHECKING, Any

import pytest

from ferromqtt import Client, Will
from support.loops import LoopRunner

if TYPE_CHECKING:
    from collections.abc import Callable

ELSEWHERE: list[tuple[str, str, str | None]] = [
    ("Client", "keep_alive", "keepalive"),
    ("Client", "client_id", "identifier"),
    ("Client", "host", "hostname"),
    ("Client", "ssl", "tls_context"),
    ("Client", "user", "username"),
    ("Client", "pw", "password"),
    ("Client", "clean_sesion", "clean_session"),
    ("Client", "session_expiry", "session_expiry_interval"),
    ("Client", "zzz", None),
    ("Will", "delay", "will_delay_interval"),
    ("Will", "contenttype", "content_type"),
    ("publish", "contenttype", "content_type"),
    ("publish", "message", "payload"),
    ("publish", "expiry", "message_expiry_interval"),
    ("publish", "user_property", "user_properties"),
    ("publish", "will_delay_interval", None),
    ("subscribe", "identifier", "subscription_identifier"),
    ("subscribe", "no_local", "options"),
    ("subscribe", "content_type", None),
    ("subscription", "manual_ack", "ack"),
    ("subscription", "queue_size", "maxsize"),
    ("enqueue", "expires", "expires_in"),
    ("enqueue", "ttl", "expires_in"),
    ("enqueue", "keep_latest", "keep"),
    ("unsubscribe", "userproperties", "user_properties"),
    ("unsubscribe", "qos", None),
]


@pytest.mark.parametrize(("what", "name", "meant"), ELSEWHERE)
def test_an_unknown_keyword_names_the_nearest(
    run: LoopRunner, what: str, name: str, meant: str | None
) -> None:
    end = f"; did you mean '{meant}'?" if meant else ""

    async def main() -> None:
        client = Client("localhost")
        calls: dict[str, Callable[..., Any]] = {
            "Client": Client,
            "Will": Will,
            "publish": client.publish,
            "enqueue": client.enqueue,
            "subscription": client.subscription,
            "subscribe": client.subscribe,
            "unsubscribe": client.unsubscribe,
        }
        with pytest.raises(TypeError) as caught:
            await calls[what]("a", **{name: 1})
        text = f"{what}() got an unexpected keyword argument {name!r}{end}"
        assert str(caught.value) == text

    run(main)


@pytest.mark.parametrize("name", ["expires_in", "keep"])
def test_publish_names_the_calls_that_have_what_it_has_not(run: LoopRunner, name: str) -> None:
    async def main() -> None:
        publish: Callable[..., Any] = Client("localhost").publish
        with pytest.raises(TypeError, match=f"^publish.. has no '{name}': `enqueue` and `publish_"):
            await publish("a", **{name: 1})

    run(main)


def test_a_subclass_with_keywords_of_its_own_is_told_of_unknown_ones() -> None:
    class Own(Client):
        def __init__(self, hostname: str, *, mine: int, **options: Any) -> None:  # noqa: ANN401
            super().__init__(hostname, **options)
            self.mine = mine

    assert Own("h", mine=1, keepalive=5).mine == 1
    with pytest.raises(TypeError, match="'keep_alive'; did you mean 'keepalive'"):
        Own("h", mine=1, keep_alive=5)
