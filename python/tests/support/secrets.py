"""A secret, and what looks for it in all that a program leaves anywhere."""

import asyncio
import base64
import logging
import traceback
import urllib.parse
import warnings
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from ferromqtt import Client, MqttError
from ferromqtt._internals import internals_of
from support.clients import LIMIT
from support.loops import FACTORIES

Debug = Callable[[Callable[[], Coroutine[Any, Any, None]]], None]
SECRET = "s3cr3t/p+ss w%rd"

FORMS = {
    SECRET,
    SECRET[:8],
    repr(SECRET)[1:-1],
    urllib.parse.quote(SECRET, safe=""),
    urllib.parse.quote_plus(SECRET),
    SECRET.encode().hex(),
    *(
        base64.b64encode(it.encode()).decode().rstrip("=")[:-1]
        for it in (SECRET, f"u:{SECRET}", f"Bearer {SECRET}")
    ),
}
"""How the secret could look in a text."""


class Watch:
    """Collects all that anybody could read."""

    def __init__(self, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
        self._caplog = caplog
        self._capfd = capfd
        self.texts: list[str] = []

    def see(self, *things: object) -> None:
        """Look at objects the ways a program prints them; at exceptions with all they carry."""
        for thing in things:
            self.texts += [repr(thing), str(thing), f"{thing}", f"{[thing]}"]
            if isinstance(thing, BaseException):
                self.texts += traceback.format_exception(thing)
                self.texts += [repr(thing.args), repr(vars(thing))]
                # a context that "from None" suppresses is not printed
                context = None if thing.__suppress_context__ else thing.__context__
                self.see(*(it for it in (thing.__cause__, context) if it is not None))

    def check(self) -> None:
        """Search everything, what was logged and printed too."""
        formatter = logging.Formatter("%(name)s %(levelname)s %(message)s %(args)s")
        self.texts += [formatter.format(record) for record in self._caplog.records]
        self.texts += self._capfd.readouterr()
        for form in FORMS:
            for text in self.texts:
                assert form not in text, f"{form!r} is shown: {text}"


def watching(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> Iterator[Watch]:
    """Give what collects, with all loggers at DEBUG; it searches at the end."""
    caplog.set_level(logging.DEBUG)
    levels = {name: logging.getLogger(name).level for name in ("asyncio", "ferromqtt", "mqtt")}
    for name in levels:
        logging.getLogger(name).setLevel(logging.DEBUG)
    watch = Watch(caplog, capfd)
    yield watch
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    watch.check()


def debugging(loop: str, watch: Watch) -> Debug:
    """Return what runs a coroutine function in debug mode, with every callback reported as slow."""

    def report(event_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        watch.see(context)
        event_loop.default_exception_handler(context)

    def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        async def bounded() -> None:
            running = asyncio.get_running_loop()
            running.slow_callback_duration = 0
            running.set_exception_handler(report)
            async with asyncio.timeout(LIMIT * 2):
                await main()
            watch.see(*asyncio.all_tasks())

        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            with asyncio.Runner(debug=True, loop_factory=FACTORIES[loop]) as runner:
                runner.run(bounded())
        watch.see(*(warning.message for warning in caught))

    return run


def time_limit(end: str) -> float:
    """Return a short one for a server that stays silent: nothing else may end by the clock."""
    return 1 if end == "silent" else LIMIT


async def fail(watch: Watch, client: Client) -> None:
    """Enter, which must fail or end soon; look at everything on the way."""
    watch.see(client, internals_of(client).options, internals_of(client).core, client.messages)
    try:
        async with client:
            watch.see(client, asyncio.current_task())
            try:
                await client.publish("a", b"x", qos=1)
                await anext(client.messages)
            except MqttError as error:
                watch.see(error)
                raise
    except (MqttError, ValueError) as error:
        watch.see(error)
    else:
        pytest.fail("this was to fail")
    watch.see(client, internals_of(client).options, internals_of(client).core)
