"""What a test asks a `TestBroker` for beside serving clients: faults, and what happened."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import ferromqtt
from ferromqtt._broker_host import Host
from ferromqtt._checks import check_number, check_qos, wrong_type
from ferromqtt._faults import (
    UNSET,
    Duration,
    Fault,
    Link,
    PacketKind,
    duration_text,
    kind_of,
    text_of,
)
from ferromqtt._native import Broker, play_faults
from ferromqtt._turn import TURN
from ferromqtt.reasons import ReasonCode
from ferromqtt.types import PropertiesLike

if TYPE_CHECKING:
    import ferromqtt.testing

_CHART_LINES = 30
_KEEPS = ("sessions", "retained")
_AGAIN = 0.1
"""Seconds after which `idle` looks at clients again whose messages may have expired."""
_SECONDS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class BrokerFaults:
    """The part of a `TestBroker` that makes faults, and says what happened.

    Calls that make faults raise RuntimeError on a broker that replays a recording.
    """

    _broker: Broker | None
    _host: Host | None
    _begun: Sequence[Fault] = ()
    """Rules of which some have no action yet."""

    # Faults

    def sends(
        self,
        kind: int | None = None,
        *,
        client: str | None = None,
        topic: str | None = None,
        qos: int | None = None,
        packet_id: int | None = None,
    ) -> Fault:
        """Begin a rule for packets that the broker sends: `broker.sends(PUBACK).nth(3).lose()`.

        Args:
            kind: The type of packet, a `PacketKind`; None for any.
            client: Only packets of the client with this Client Identifier.
            topic: Only PUBLISH to a topic that this Topic Filter matches, also where a Topic Alias
                stands for it; SUBSCRIBE and UNSUBSCRIBE with such a filter; CONNECT with such a
                will.
            qos: Only PUBLISH of this QoS, and SUBSCRIBE whose highest it is.
            packet_id: Only packets with this Packet Identifier.

        Raises:
            TypeError: An argument has the wrong type.
            ValueError: There is no such type of packet, or QoS.

        """
        return self._rule("sends", kind, client, topic, qos, packet_id)

    def receives(
        self,
        kind: int | None = None,
        *,
        client: str | None = None,
        topic: str | None = None,
        qos: int | None = None,
        packet_id: int | None = None,
    ) -> Fault:
        """Begin a rule for packets that the broker receives, with the arguments of `sends`."""
        return self._rule("receives", kind, client, topic, qos, packet_id)

    def _rule(
        self,
        side: str,
        kind: int | None,
        client: str | None,
        topic: str | None,
        qos: int | None,
        packet_id: int | None,
    ) -> Fault:
        of_kind = kind_of(kind)
        place = f"{side} {of_kind.name if of_kind else 'any'}"
        if client is not None:
            place += f" client {text_of('client', client)}"
        if topic is not None:
            place += f" topic {text_of('topic', topic)}"
        if qos is not None:
            place += f" qos {check_qos(qos)}"
        if packet_id is not None:
            if not isinstance(packet_id, int) or isinstance(packet_id, bool):
                raise wrong_type("packet_id", "int", packet_id)
            place += f" packet_id {packet_id}"
        fault = Fault(self._acting, self._flush, place)
        self._begun = [*(begun for begun in self._begun if not begun.has_action()), fault]
        return fault

    def refuse_connections(self, reason: int | ReasonCode, text: str | None = None) -> Fault:
        """Refuse the next CONNECT, or the next ones: `refuse_connections(0x89).times(3)`."""
        return self.receives(PacketKind.CONNECT).refuse(reason, text)

    def unused_faults(self) -> list[str]:
        """Return the texts of the rules that never fired although they were expected to.

        Those are all but rules that fire always, with a probability, or are optional. A test that
        has some does not test what it says. Nor does one that has begun a rule, and never said what
        it does.
        """
        return (self._broker.unused_faults() if self._broker else []) + self._without_action()

    def _without_action(self) -> list[str]:
        return [
            f"{fault} (which does nothing: end it with lose(), cut() or another action)"
            for fault in self._begun
            if not fault.has_action()
        ]

    def seed_faults(self, seed: int) -> None:
        """Draw random numbers from this seed: of rules from now on, of garbage, of jitter.

        The same seed, rules and traffic give the same faults. Default: 0.
        """
        if not isinstance(seed, int) or isinstance(seed, bool):
            raise wrong_type("seed", "int", seed)
        self._acting().set_fault_seed(seed % (1 << 64))

    def play_faults(self, script: str) -> None:
        """Put a script of faults to work: a line for each rule or event, as a failing seed has it.

        ```python
        broker.play_faults("sends PUBACK nth 3 lose, cut")
        broker.play_faults("at packet 40 restart down_for 2s keeps sessions retained")
        broker.play_faults("at 3s partition for 5s")
        ```

        The text of a rule is what `str` of a `Fault` returns. Events count the packets that the
        broker sends and receives from now on, or the time.

        Raises:
            TypeError: It is no str.
            ValueError: A line is neither rule nor event, or a rule makes no sense.

        """
        if not isinstance(script, str):
            raise wrong_type("script", "str", script)
        play_faults(self._acting(), script)
        self._flush()

    def link(self, client_identifier: str) -> Link:
        """Return the link of a client, for faults of the network."""
        _check_identifier(client_identifier)
        return Link(self._acting, self._flush, client_identifier)

    def partition(self, *, hang: bool = False) -> None:
        """Cut the broker off: nothing passes on any link, and no end of one, until `heal`.

        What is sent meanwhile arrives then, as TCP sends it again. New connections are refused in
        memory and closed at once on a socket; with `hang` they are accepted, and nothing passes.
        """
        self._acting().partition(hang)
        self._flush()

    def heal(self) -> None:
        """End a partition, or the time that the broker is down."""
        self._acting().heal()
        self._flush()

    async def restart(self, down_for: Duration = 0, *, keep: Iterable[str] = _KEEPS) -> None:
        """Restart the broker, and wait until it is up again.

        Every link is reset, no will is published, and new connections are refused for `down_for`.

        Args:
            down_for: How long.
            keep: What survives: "sessions", "retained", both or neither.

        Raises:
            ValueError: It could keep something else.

        """
        keeps = set(keep) if not isinstance(keep, str) else {keep}
        if not keeps <= set(_KEEPS):
            raise ValueError("keep must be of 'sessions' and 'retained'")
        time = duration_text("down_for", down_for)
        self._acting().restart(time, "sessions" in keeps, "retained" in keeps)
        self._flush()
        await asyncio.sleep(_seconds(time))

    def forget_session(self, client_identifier: str) -> bool:
        """Forget a client's session, and cut its link; False when there is none."""
        return self._done(self._acting().forget_session(_check_identifier(client_identifier)))

    def take_over(self, client_identifier: str) -> bool:
        """Disconnect a client as another one with its identifier does; False without a client."""
        return self._done(self._acting().take_over(_check_identifier(client_identifier)))

    def kill(self, client_identifier: str) -> bool:
        """Reset a client's link; its will is published at once. False without a link."""
        return self._done(self._acting().kill_client(_check_identifier(client_identifier)))

    def send(
        self,
        client_identifier: str,
        kind: int,
        *,
        packet_id: int | None = None,
        reason: int | ReasonCode | None = None,
        reasons: Sequence[int | ReasonCode] | None = None,
        session_present: bool | None = None,
        topic: str | None = None,
        payload: str | bytes | None = None,
        qos: int | None = None,
        dup: bool | None = None,
        retain: bool | None = None,
        properties: PropertiesLike | None = None,
    ) -> bool:
        """Send a client a packet that the broker would not: `send("pump-7", PUBACK, packet_id=7)`.

        It is coded by the version of the client's link, which leaves out what 3.x does not have.
        The rules for faults see it. What no packet holds, `send_raw` sends.

        Args:
            client_identifier: Whom to.
            kind: The type of packet, a `PacketKind` that servers send.
            packet_id: Packet Identifier of an acknowledgement, and of PUBLISH at QoS 1 and 2.
            reason: Reason Code of CONNACK, an acknowledgement, DISCONNECT or AUTH. Default: 0.
            reasons: Reason Codes of SUBACK or UNSUBACK, one for each filter.
            session_present: Session Present of CONNACK. Default: False.
            topic: Topic Name of PUBLISH; also what is none.
            payload: Application Message of PUBLISH. Default: empty.
            qos: QoS of PUBLISH. Default: 0.
            dup: DUP flag of PUBLISH. Default: False.
            retain: Retain flag of PUBLISH. Default: False.
            properties: Properties of 5.0, as for `Client.publish`.

        Returns:
            Whether the client has a link.

        Raises:
            TypeError: An argument has the wrong type.
            ValueError: No server sends such a packet, it lacks a field or has none such, or a
                field cannot have this value.

        """
        from ferromqtt._server_packets import native_fields  # noqa: PLC0415 - seldom used

        of_kind = kind_of(kind)
        if of_kind is None:
            raise wrong_type("kind", "a PacketKind", kind)
        plain = {
            "packet_id": packet_id,
            "session_present": session_present,
            "topic": topic,
            "qos": qos,
            "dup": dup,
            "retain": retain,
        }
        fields = native_fields(of_kind, plain, payload, reason, reasons, properties)
        client = _check_identifier(client_identifier)
        return self._done(self._acting().send_packet(client, of_kind, fields))

    def send_raw(self, client_identifier: str, data: bytes) -> bool:
        """Send a client these bytes, past all rules; False when it has no link."""
        if not isinstance(data, bytes):
            raise wrong_type("data", "bytes", data)
        return self._done(self._acting().send_raw(_check_identifier(client_identifier), data))

    async def publish(
        self, topic: str, payload: str | bytes = b"", *, qos: int = 0, retain: bool = False
    ) -> None:
        """Publish a message from the broker itself, to all that subscribe to it.

        Raises:
            TypeError: An argument has the wrong type.
            ValueError: It is no Topic Name, or no QoS.

        """
        if not isinstance(topic, str):
            raise wrong_type("topic", "str", topic)
        data = payload.encode() if isinstance(payload, str) else payload
        if not isinstance(data, bytes):
            raise wrong_type("payload", "str or bytes", payload)
        self._acting().publish(topic, data, check_qos(qos), bool(retain))
        self._flush()

    # What happened

    def published(self, topic: str = "#") -> list[ferromqtt.testing.JournalMessage]:
        """Return the messages that the broker accepted to topics that match, oldest first.

        Wills are among them; a QoS 2 message that came twice is there once, and what was refused
        is not. The journal holds the newest 10,000.

        Raises:
            ValueError: It is no Topic Filter.

        """
        from ferromqtt._journal import messages_of  # noqa: PLC0415 - for those who look

        return messages_of(self._broker, topic) if self._broker else []

    def packets(
        self, kind: int | None = None, *, client: str | None = None, side: str | None = None
    ) -> list[ferromqtt.testing.JournalPacket]:
        """Return the packets that went by, oldest first; the journal holds the newest 10,000.

        Args:
            kind: Only packets of this type, a `PacketKind`.
            client: Only those of the client with this Client Identifier.
            side: Only those that the broker `"sends"`, or `"receives"`.

        Raises:
            ValueError: There is no such type of packet, or side.

        """
        if side not in (None, "sends", "receives"):
            raise ValueError(f"side must be 'sends' or 'receives', not {side!r}")
        of_kind = kind_of(kind)
        from ferromqtt._journal import packets_of  # noqa: PLC0415 - for those who look

        return packets_of(self._broker, of_kind, client, side) if self._broker else []

    def connects(self) -> list[ferromqtt.testing.JournalPacket]:
        """Return the CONNECT packets that came."""
        return self.packets(PacketKind.CONNECT, side="receives")

    def chart(self) -> str:
        """Return the newest 30 packets and changes of links as a sequence chart."""
        return self._broker.chart(_CHART_LINES) if self._broker else ""

    async def wait_for(
        self,
        topic: str,
        payload: str | bytes | None = None,
        *,
        json: Any = UNSET,  # noqa: ANN401 - whatever JSON holds
        qos: int | None = None,
        retain: bool | None = None,
        count: int = 1,
        within: Duration = 5.0,
    ) -> list[ferromqtt.testing.JournalMessage]:
        """Wait until the broker has accepted messages, and return them; those from before count.

        Args:
            topic: Topic Filter of the messages.
            payload: Their payload, if it matters.
            json: What their payload holds as JSON, if it matters.
            qos: The QoS that they were published with, if it matters.
            retain: The retain flag that they were published with, if it matters.
            count: How many, at least.
            within: How long to wait, in the loop's time.

        Raises:
            AssertionError: They did not come. The text names the messages that come nearest, the
                rules for faults that never fired, and what happened last.
            TypeError: An argument has the wrong type.
            ValueError: An argument is wrong; `count` is below 1.

        """
        __tracebackhide__ = True  # pytest shows the test's line, not these
        from ferromqtt._journal import Wanted  # noqa: PLC0415 - for those who look

        wanted = Wanted.of(topic, payload, json, qos, retain)
        check_number("count", count, least=1)
        limit = _seconds(duration_text("within", within))
        host = self._host_of_loop()
        core = self._core()
        seen, found = _accepted(core), wanted.found(core)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit):
                while len(found) < count:
                    await host.changed()
                    found += wanted.found(core, after=seen)
                    seen = _accepted(core)
        if len(found) >= count:
            return found
        times = "" if count == 1 else f" {count} times, but {len(found)} times,"
        headline = f"no message matched{times} within {limit:g} s"
        raise AssertionError(wanted.explain(core, headline))

    def check_published(
        self,
        topic: str,
        payload: str | bytes | None = None,
        *,
        json: Any = UNSET,  # noqa: ANN401 - whatever JSON holds
        qos: int | None = None,
        retain: bool | None = None,
        times: int = 1,
    ) -> None:
        """Check that the broker has accepted exactly so many messages as described, so far.

        What has not happened yet is no mistake of the program: wait for it first, or for `idle`
        where a message must not come (`times=0`). The arguments are those of `wait_for`.

        Raises:
            AssertionError: It has not. Or `times` is 0, and the broker is not idle: what must not
                come could be on its way.
            TypeError: An argument has the wrong type.
            ValueError: An argument is wrong; `times` is negative.

        """
        __tracebackhide__ = True  # pytest shows the test's line, not these
        from ferromqtt._journal import Wanted  # noqa: PLC0415 - for those who look

        wanted = Wanted.of(topic, payload, json, qos, retain)
        check_number("times", times, least=0)
        core = self._core()
        self._check_journal(core)
        found = len(wanted.found(core))
        if found == times:
            if times == 0 and not self.is_idle():
                raise self._with_chart(
                    AssertionError(
                        f"times=0 proves nothing for {topic!r} while the test broker is not idle, "
                        "since a message may still be on its way: await broker.idle() first, or "
                        "compare broker.published(...) with [] where that is meant"
                    )
                )
            return
        headline = f"{found} messages matched, and not {times}:"
        if times == 1 and not found:
            headline = "no message matched"
        raise AssertionError(wanted.explain(core, headline))

    @staticmethod
    def _check_journal(core: Broker) -> None:
        """Raise when the journal has lost messages, so that counting them proves nothing."""
        __tracebackhide__ = True
        counts = core.accepted()
        if counts is None:
            raise AssertionError("the broker keeps no journal: its option journal_packets is 0")
        accepted, dropped = counts
        if dropped:
            raise AssertionError(
                f"the journal holds the newest {accepted - dropped} of {accepted} messages, so "
                "that the others cannot be counted: give the broker a larger journal_packets or "
                "journal_bytes"
            )

    def is_idle(self) -> bool:
        """Whether there is nothing that `idle` would wait for.

        A QoS 0 message that was published a moment ago is not seen: its client sends it when the
        event loop goes on, which `idle` lets it do.
        """
        return self._broker is None or (
            self._broker.is_idle()
            and (self._host is None or self._host.is_idle())
            and not self._has_outgoing()
        )

    async def idle(self, within: Duration = 5.0) -> None:
        """Wait until nothing is to be done, instead of sleeping for a while.

        That is: no message is queued for a connected client or in flight, no byte or packet is on
        its way in the broker, in a link or in a connection in memory, and no client that `client`
        has returned has a message in its outgoing queue. It sees neither what is on its way in a
        socket, nor what the program is about to do.

        Raises:
            TimeoutError: It took longer than `within`, in the loop's time. Its text says what is
                pending, and its note is the `chart`.

        """
        limit = _seconds(duration_text("within", within))
        host = self._host_of_loop()
        try:
            async with asyncio.timeout(limit):
                await TURN  # clients write what they have been given in this turn
                while not self.is_idle():
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(_AGAIN if self._has_outgoing() else None):
                            await host.changed()
                    await TURN
        except TimeoutError:
            pending = "; ".join(self._unfinished())
            error = TimeoutError(f"The test broker is not idle after {limit:g} s: {pending}")
            raise self._with_chart(error) from None

    def _unfinished(self) -> list[str]:
        lines = self._core().unfinished()
        if self._has_outgoing():
            lines.append("a client has messages that are not sent and acknowledged to the end")
        return lines or ["bytes are on their way in a connection in memory"]

    def _with_chart(self, error: Exception) -> Exception:
        error.add_note(self.chart())
        return error

    # What the broker has

    def _has_outgoing(self) -> bool:
        raise NotImplementedError

    def _core(self) -> Broker:
        raise NotImplementedError

    def _acting(self) -> Broker:
        raise NotImplementedError

    def _host_of_loop(self) -> Host:
        raise NotImplementedError

    def _flush(self) -> None:
        host = self._host
        if not host:
            return
        host.watches_input = True
        if host.loop is _running_loop() or not host.loop.is_running():
            host.flush()
        else:  # from another thread
            host.loop.call_soon_threadsafe(host.flush)

    def _done(self, done: bool) -> bool:
        self._flush()
        return done


def _accepted(core: Broker) -> int:
    counts = core.accepted()
    return counts[0] if counts else 0


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _check_identifier(client_identifier: str) -> str:
    if not isinstance(client_identifier, str):
        raise wrong_type("client_identifier", "str", client_identifier)
    return client_identifier


def _seconds(duration: str) -> float:
    number = duration.rstrip("nusmhd")
    try:
        return float(number) * _SECONDS[duration[len(number) :]]
    except (KeyError, ValueError):
        raise ValueError(f"{duration!r} is no duration such as '3s' or '50ms'") from None
