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
_UNTIL_NOTED = 0.05
"""Seconds in which a task is run that waits for an outcome, where time is real."""
_EXPIRY_PAUSE = 0.26
"""The core looks every quarter of a second for messages that have expired."""
_PUBLISHING = ("publish", "enqueue", "receipt")
_DELIVERIES = ("not_sent", "unknown")


def each_call_has_one_outcome(ledger: Ledger) -> Iterator[str]:
    """A call returns, is cancelled, or raises one of the documented exceptions."""
    for call in ledger.calls:
        if call.outcome == OPEN or call.ends != 1:
            yield f"a call with {call.ends} outcomes: {call}"
        elif call.outcome == RAISED:
            if not isinstance(call.error, MqttError) or isinstance(call.error, MqttReentrantError):
                yield f"an exception that is not documented: {call}"
            elif call.what.startswith(_PUBLISHING) and call.delivery not in _DELIVERIES:
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
        if call.what.startswith("receipt") and _ended_by_leaving(ledger, call):
            continue
        if call.client == actor.plan.name and "ended before the answer came" in call.text:
            yield f"a call that was to wait for the next connection: {call}"


def _ended_by_leaving(ledger: Ledger, receipt: Call) -> bool:
    leaving = (call for call in ledger.calls if call.what == "leave")
    return any(
        call.client == receipt.client
        and call.begun_at <= receipt.ended_at <= call.ended_at + _UNTIL_NOTED
        for call in leaving
    )


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
    if actor.plan.queues and actor.plan.queues.manual:
        return  # what is not acknowledged comes again; see `what_was_answered_never_comes_again`
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
    if _holds_what_is_gone(actor, seen):
        return
    missed = seen.acknowledged - set(taken(ledger, actor))
    for name in sorted(lost_silently(missed, ledger, actor), key=str):
        if name.publisher == MARK:
            continue  # the last ones are to let the program end
        yield f"{actor.plan.name} has acknowledged {name}, and its program never got it"


def acknowledged_publishes_were_taken(ledger: Ledger, actor: Actor, seen: Seen) -> Iterator[str]:
    """What was published with success came to all who were subscribed from then on to the end."""
    if not actor.plan.same_object:
        return
    if _holds_what_is_gone(actor, seen):
        return
    got = taken(ledger, actor)
    missed = {}
    for name, call in ledger.publications.items():
        if call.outcome != RETURNED or name.qos == 0 or name in got or name.publisher == MARK:
            continue
        if call.expires_in is not None:
            continue  # the server goes on counting
        for span in seen.spans:
            if span.qos and spans(span, name, call):
                missed[name] = f"{actor.plan.name} was subscribed by {span}, and never got {call}"
    for name in sorted(lost_silently(set(missed), ledger, actor), key=str):
        yield missed[name]


def order_holds(
    ledger: Ledger, actor: Actor, seen: Seen, writers: dict[str, Seen]
) -> Iterator[str]:
    """Of one publisher, topic and QoS the messages first come in the order of the calls.

    MQTT-4.6.0-6. A message of QoS 1 may come again, behind later ones. For one who has subscribed
    between the first time and the second, or who was sent the first one at QoS 0 and did not get
    it, that is the first time.
    """
    queues = actor.plan.queues
    if queues and queues.subscriptions and (not queues.early or actor.lives > 1):
        return  # there are two queues: what comes for a subscription that was left has another one
    lost = ledger.lost.get(actor.plan.name, {})
    known: set[Name] = set()
    last: defaultdict[tuple[str, str, int], int] = defaultdict(lambda: -1)
    for receipt in receipts(ledger, actor):
        name = receipt.name
        if name in known or any(matches(f, name) for f, number in lost.items() if number):
            continue  # one that a full queue lost may come again, by another connection
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


def _holds_what_is_gone(actor: Actor, seen: Seen) -> bool:
    """Whether messages that are not acknowledged or released may be of a session that is lost.

    A client that cannot know of the loss takes a new message with the Packet Identifier of such a
    one for its repeat. It is rare unless a queue or a program is slow.
    """
    return bool(actor.plan.queues and seen.hidden_losses)


def only_what_was_answered_is_acknowledged(
    ledger: Ledger, actor: Actor, seen: Seen
) -> Iterator[str]:
    """A client acknowledges for a program that does so itself only what a full queue has lost."""
    if not actor.plan.queues or not actor.plan.queues.manual:
        return
    if _holds_what_is_gone(actor, seen):
        return
    early = seen.acknowledged - ledger.answered.get(actor.plan.name, set())
    for name in sorted(lost_silently(early, ledger, actor), key=str):
        yield f"{actor.plan.name} has acknowledged {name} for its program"


def what_was_answered_never_comes_again(
    ledger: Ledger, actor: Actor, writers: dict[str, Seen]
) -> Iterator[str]:
    """At QoS 2, from when the program has acknowledged the copy of the connection that there is."""
    if "queue_type" in actor.plan.options:
        return  # in such a queue are also the copies of former connections
    settled = ledger.settled.get(actor.plan.name, {})
    lowest = min(actor.plan.filters.values(), default=0)
    for receipt in receipts(ledger, actor):
        name = receipt.name
        if name.qos < 2 or lowest < 2 or receipt.moment <= settled.get(name, receipt.moment):
            continue
        writer = writers.get(name.publisher)
        if writer is None or not (writer.hidden_losses and writer.written[name] > 1):
            yield f"{actor.plan.name} has taken {name} again, which it has acknowledged"


def discarded_messages_had_a_reason(
    ledger: Ledger, actor: Actor, *, exact_time: bool
) -> Iterator[str]:
    """One that is replaced has a follower, one that is expired was in time, and so on."""
    if not actor.plan.queues:
        return
    own = [(n, c) for n, c in ledger.publications.items() if n.publisher == actor.plan.name]
    last = {name.topic: call.begun for name, call in own if call.latest}
    drops = actor.plan.queues.outgoing["overflow"].startswith("drop_")
    for name, call in own:
        if call.discarded == "replaced" and not (call.latest and last[name.topic] > call.begun):
            yield f"nothing has replaced it: {call}"
        if call.discarded == "dropped" and not drops:
            yield f"the queue does not drop: {call}"
        if call.discarded != "expired" or not exact_time:
            continue
        # One whose time was over before the queue had capacity for it ends when that accepts it.
        end = max(call.begun_at + (call.expires_in or 0.0), call.accepted_at)
        if call.expires_in is None or not 0 <= call.ended_at - end + _ROUNDING < _EXPIRY_PAUSE:
            yield f"it may wait for {call.expires_in} s: {call}"


def nothing_is_sent_too_late(ledger: Ledger, actor: Actor, seen: Seen) -> Iterator[str]:
    """A message that may wait so long is not written for the first time behind that."""
    for name, call in ledger.publications.items():
        if name.publisher != actor.plan.name or call.expires_in is None:
            continue
        waited = seen.first_written.get(name, call.begun_at) - call.begun_at
        if waited > call.expires_in + _ROUNDING:
            yield f"it was written after {waited:.3f} s of {call.expires_in:.3f} s: {call}"


def lost_silently(missed: set[Name], ledger: Ledger, actor: Actor) -> set[Name]:
    """Return what is missing, without messages of queues that say that they have lost as many."""
    lost = ledger.lost.get(actor.plan.name, {})
    explained = set()
    for topic_filter, number in lost.items():
        of_queue = {name for name in missed if matches(topic_filter, name)}
        if len(of_queue) <= number:
            explained |= of_queue
    return missed - explained


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
        problems += only_what_was_answered_is_acknowledged(ledger, actor, seen)
        problems += what_was_answered_never_comes_again(ledger, actor, writers)
        if exact_time:
            problems += nothing_is_sent_too_late(ledger, actor, seen)
        problems += discarded_messages_had_a_reason(ledger, actor, exact_time=exact_time)
        problems += order_holds(ledger, actor, seen, writers)
    return problems
