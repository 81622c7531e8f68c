"""What must hold when a world has ended. Each check returns what is wrong, as texts."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from ferromqtt import MqttError, MqttReentrantError

from .actor import MARK, Actor
from .ledger import CANCELLED, OPEN, RAISED, RETURNED, Call, Ledger, Name, Receipt

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .seen import Seen, Span

_ROUNDING = 1e-6


def each_call_has_one_outcome(ledger: Ledger) -> Iterator[str]:
    """A call returns, is cancelled, or raises one of the documented exceptions."""
    for call in ledger.calls:
        if call.outcome == OPEN or call.ends != 1:
            yield f"a call with {call.ends} outcomes: {call}"
        elif call.outcome == RAISED:
            if not isinstance(call.error, MqttError) or isinstance(call.error, MqttReentrantError):
                yield f"an exception that is not documented: {call}"
            elif call.what.startswith("publish") and call.delivery not in ("not_sent", "unknown"):
                yield f"an exception that does not tell of delivery: {call}"


def each_call_ends_in_time(ledger: Ledger) -> Iterator[str]:
    """Exactly, so only where time is virtual."""
    for call in ledger.calls:
        if call.limit is None or call.outcome == CANCELLED:
            continue
        if call.ended_at - call.begun_at > call.limit + _ROUNDING:
            yield f"it may take {call.limit:.3f} s: {call}"


def a_passing_loss_ends_nothing(ledger: Ledger, actor: Actor) -> Iterator[str]:
    """A client that reconnects leaves its block, and its calls, alone.

    Calls end by their time limits, and at QoS 2 with a session that is lost.
    """
    if not actor.plan.reconnect or actor.may_end_for_good:
        return
    # Leaving says so when it could not write everything.
    leaving = {id(call.error) for call in ledger.calls if call.what == "leave"}
    for errors in actor.losses:
        error = errors.subgroup(lambda one: isinstance(one, MqttError) and id(one) not in leaving)
        if error is not None:
            yield f"{actor.plan.name} has ended for good: {error_text(error)}"
    for call in ledger.calls:
        if call.client == actor.plan.name and "ended before the answer came" in call.text:
            yield f"a call that was to wait for the next connection: {call}"


def attempts_are_bounded(ledger: Ledger, actor: Actor, attempts: int) -> Iterator[str]:
    """One for each enter, and those of a client that reconnects have their waits between them."""
    calls = [call for call in ledger.calls if call.client == actor.plan.name]
    most = float(sum(call.what == "enter" for call in calls))
    if actor.plan.reconnect and calls:
        reconnect = actor.plan.reconnect
        shortest = reconnect["min"] * (1 - reconnect["jitter"]) * actor.pace
        lasted = max(call.ended_at for call in calls) - calls[0].begun_at
        most += lasted / shortest if shortest else float("inf")
        most *= 1 + actor.plan.further_servers  # the next one is tried at once
    if attempts > most:
        yield f"{actor.plan.name} has tried to connect {attempts} times, {most:g} are expected"


def what_was_not_sent_was_not_sent(ledger: Ledger, actor: Actor, seen: Seen) -> Iterator[str]:
    """An exception that says so is right: no PUBLISH of it has left the client."""
    for name, call in ledger.publications.items():
        if name.publisher != actor.plan.name:
            continue
        if call.delivery == "not_sent" and seen.written[name]:
            yield f"it was written {seen.written[name]} times: {call}"


def nothing_comes_from_nowhere(ledger: Ledger, actor: Actor, seen: Seen) -> Iterator[str]:
    """A message is taken as often as it was carried to the client, at most."""
    for name, times in taken(ledger, actor).items():
        if name not in ledger.publications:
            yield f"{actor.plan.name} has taken {name}, which nobody has published"
        if times > seen.carried[name]:
            took = f"{actor.plan.name} has taken {name} {times} times"
            yield f"{took}; it was carried {seen.carried[name]} times"


def qos_2_comes_once(
    ledger: Ledger, actor: Actor, seen: Seen, writers: dict[str, Seen]
) -> Iterator[str]:
    """Unless it went through QoS 1 on the way, and for as long as one client object knows of it.

    A lost session alone is no exception: the broker that has lost it does not send the message
    again, and the client that knows of it does not publish it again. It does so only if it cannot
    know: when the CONNACK that reports the loss is lost as well. QoS 0 comes once, too.
    """
    granted = {span.topic_filter: set[int]() for span in seen.spans}
    for span in seen.spans:
        granted[span.topic_filter].add(span.qos)
    counts = Counter((receipt.body, receipt.name) for receipt in receipts(ledger, actor))
    for (_, name), times in counts.items():
        qos = {q for topic_filter, of in granted.items() if matches(topic_filter, name) for q in of}
        if times == 1 or name.qos == 1 or any(min(name.qos, q) == 1 for q in qos):
            continue
        writer = writers.get(name.publisher)
        if writer is None or not (writer.hidden_losses and writer.written[name] > 1):
            yield f"{actor.plan.name} has taken {name} {times} times"


def acknowledged_messages_were_taken(ledger: Ledger, actor: Actor, seen: Seen) -> Iterator[str]:
    """What the client has acknowledged, its program has got, whatever became of the session."""
    if not actor.plan.same_object:
        return  # messages that are queued in a client that is thrown away are lost with it
    missed = seen.acknowledged - set(taken(ledger, actor))
    for name in sorted(missed, key=str):
        if name.publisher == MARK:
            continue  # the last ones are to let the program end
        yield f"{actor.plan.name} has acknowledged {name}, and its program never got it"


def acknowledged_publishes_were_taken(ledger: Ledger, actor: Actor, seen: Seen) -> Iterator[str]:
    """What was published with success came to all who were subscribed from then on to the end."""
    if not actor.plan.same_object:
        return
    got = taken(ledger, actor)
    for name, call in ledger.publications.items():
        if call.outcome != RETURNED or name.qos == 0 or name in got or name.publisher == MARK:
            continue
        for span in seen.spans:
            if span.qos and spans(span, name, call):
                yield f"{actor.plan.name} was subscribed by {span}, and never got {call}"


def order_holds(
    ledger: Ledger, actor: Actor, seen: Seen, writers: dict[str, Seen]
) -> Iterator[str]:
    """Of one publisher, topic and QoS the messages first come in the order of the calls.

    MQTT-4.6.0-6. A message of QoS 1 may come again, behind later ones. For one who has subscribed
    between the first time and the second, or who was sent the first one at QoS 0 and did not get
    it, that is the first time.
    """
    known: set[Name] = set()
    last: defaultdict[tuple[str, str, int], int] = defaultdict(lambda: -1)
    for receipt in receipts(ledger, actor):
        name = receipt.name
        if name in known:
            continue
        known.add(name)
        stream = (name.publisher, name.topic, name.qos)
        if name.number > last[stream]:
            last[stream] = name.number
            continue
        was_repeated = name.qos == 1 and writers[name.publisher].written[name] > 1
        call = ledger.publications[name]
        if not was_repeated or any(
            span.begun < call.begun and (span.ended is None or span.ended > receipt.moment)
            for span in seen.spans
            if span.qos and matches(span.topic_filter, name)
        ):
            yield f"{actor.plan.name} has taken {name} behind number {last[stream]}"


def receipts(ledger: Ledger, actor: Actor) -> list[Receipt]:
    """What an actor's program took."""
    return ledger.receipts.get(actor.plan.name, [])


def taken(ledger: Ledger, actor: Actor) -> Counter[Name]:
    """How often an actor's program took each message."""
    return Counter(receipt.name for receipt in receipts(ledger, actor))


def matches(topic_filter: str, name: Name) -> bool:
    """Whether a filter of these worlds matches."""
    return topic_filter in (name.topic, "chaos/+")


def spans(span: Span, name: Name, call: Call) -> bool:
    """Whether a subscription was there from before a publish to the end of the world."""
    return span.ended is None and span.begun < call.begun and matches(span.topic_filter, name)


def error_text(error: BaseException) -> str:
    """Return what an exception says, or those of a group."""
    if isinstance(error, BaseExceptionGroup):
        return f"{type(error).__name__}: {', '.join(map(error_text, error.exceptions))}"
    return repr(error)


def all_of(ledger: Ledger, actors: dict[Actor, Seen], *, exact_time: bool) -> list[str]:
    """Return everything that is wrong."""
    problems = [*each_call_has_one_outcome(ledger)]
    if exact_time:
        problems += each_call_ends_in_time(ledger)
    writers = {actor.plan.name: seen for actor, seen in actors.items()}
    for actor, seen in actors.items():
        problems += seen.problems
        problems += a_passing_loss_ends_nothing(ledger, actor)
        problems += what_was_not_sent_was_not_sent(ledger, actor, seen)
        problems += nothing_comes_from_nowhere(ledger, actor, seen)
        problems += qos_2_comes_once(ledger, actor, seen, writers)
        problems += acknowledged_messages_were_taken(ledger, actor, seen)
        problems += acknowledged_publishes_were_taken(ledger, actor, seen)
        problems += order_holds(ledger, actor, seen, writers)
    return problems
