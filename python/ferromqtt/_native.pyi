"""The Rust part of the package. Users see `Message` and `MessagesIterator` of it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from types import GenericAlias
from typing import Any, ClassVar, Generic, Self, TypeAlias, final

from typing_extensions import TypeVar, disjoint_base

from ferromqtt.exceptions import PayloadError
from ferromqtt.outcomes import Published
from ferromqtt.properties import Properties
from ferromqtt.reasons import ReasonCode
from ferromqtt.topic import Topic, TopicLike

__all__ = [
    "MAX_BYTES",
    "Batches",
    "Broker",
    "Core",
    "Decoding",
    "End",
    "EndKind",
    "EventReader",
    "Hint",
    "Host",
    "Link",
    "Message",
    "MessagesIterator",
    "OutboxFolder",
    "Phase",
    "ProxyHandshake",
    "Race",
    "Recorder",
    "ScriptShrinker",
    "SubscriptionQueue",
    "TestAuthority",
    "TopicTemplate",
    "TypedMessage",
    "WebSocketServer",
    "WebSocketTransport",
    "__version__",
    "acknowledge_committed",
    "admit_request",
    "authority",
    "check_filter",
    "check_responder",
    "check_text",
    "draw_faults",
    "failure_text",
    "hold_for_transaction",
    "is_unacknowledged",
    "open_outbox",
    "payload_bytes",
    "play_faults",
    "profile_table",
    "property_table",
    "proxy_of_url",
    "purge_delay",
    "python_code",
    "recording_diff",
    "recording_text",
    "server_of_url",
    "settle_profile",
    "websocket_headers",
    "wildcard_matches",
]

_M_co = TypeVar("_M_co", bound=Message, default=Message, covariant=True)
_T_co = TypeVar("_T_co", default=Any, covariant=True)

__version__: str

MAX_BYTES: int
"""The most bytes of a string or of binary data in a packet."""

def admit_request(core: Core, message: Message, request: TypedMessage[Any]) -> bool: ...
def check_responder(version: int) -> None: ...
def is_unacknowledged(message: Message) -> bool: ...
def check_filter(text: str) -> bool:
    """Tell whether a Topic Filter is of a shared subscription; ValueError for a malformed one."""

def check_text(what: str, text: str, shown: str = "", /) -> None:
    """Raise ValueError for a text that no packet can hold.

    `what` begins the error; `shown` follows it where the text is to be shown.
    """

def property_table() -> list[tuple[int, str, str, str, int, int, bool, tuple[int, ...]]]:
    """Return all properties of MQTT 5.0, in the order of their identifiers.

    Of each the identifier, the name in words, the key in dictionaries, what its values are ("flag",
    "number", "text", "binary" or "pair"), from which number and to which, whether it repeats, and
    the types of the packets that may hold it, where 0 is the will.
    """

def recording_diff(first: str, second: str, times: bool) -> str: ...
def recording_text(path: str) -> str: ...
def profile_table() -> list[tuple[dict[str, Any], dict[str, str]]]:
    """Return all server profiles: of each its figures, and where they come from."""

def settle_profile(
    name: str, host: str, port: int | None, over: str, *, tls: bool, names_server: bool
) -> tuple[bool, int | None, str | None, bool, int | None]:
    """Return what a profile settles for a client that connects to this host.

    Whether TLS is to be spoken, the port, the protocol that TLS is to offer, whether the server
    speaks 5.0, and how many messages may be in flight.
    """

def wildcard_matches(wildcard: str, topic: str) -> bool | None:
    """Tell whether a wildcard of aiomqtt's matches a topic; None when it is malformed."""

def open_outbox(
    path: str,
    maxsize: int | None,
    maxbytes: int | None,
    overflow: str,
    max_age: float | None,
    quarantine: bool,
    sync: tuple[str, float],
    client_identifier: str,
) -> OutboxFolder:
    """Open the folder of an outbox, for a thread that may block; OSError says why it cannot be."""

@final
class OutboxFolder:
    """A folder that is open, until a client takes it up."""

    @property
    def client_identifier(self) -> str: ...
    def close(self) -> None: ...

def payload_bytes(payload: object) -> bytes: ...
def authority(host: str, port: int) -> str:
    """Return host and port as an address for people."""

def failure_text(address: str, phase: Phase, reason: str, hint: Hint | None) -> str:
    """Return the text of an attempt to connect that failed."""

def proxy_of_url(url: str) -> tuple[int, str, int, bool, str | None, bytes | None]:
    """Return what a proxy's URL says: kind, host, port, remote names, user name, password."""

def server_of_url(url: str, *, alone: bool = False) -> tuple[dict[str, Any], bool]:
    """Return the arguments of `ferromqtt.Client` in a server's URL, and whether it is one with TLS.

    `alone`: it is the URL of one of several servers, which says nothing of the client.
    """

def hold_for_transaction(message: Message) -> None:
    """Have a message of an exactly-once handler acknowledged by `acknowledge_committed` alone."""

def acknowledge_committed(message: Message) -> None:
    """Acknowledge a message of an exactly-once handler, whose transaction is committed."""

def purge_delay() -> int:
    """Milliseconds until memory that the module has freed goes back to the operating system."""

@disjoint_base
class Message:
    """A message that was received."""

    def __init__(
        self,
        topic: str | Topic,
        payload: bytes,
        qos: int,
        retain: bool,
        mid: int,
        properties: Properties | None,
    ) -> None: ...
    topic: Topic
    """The topic it was published to."""
    payload: bytes
    """The payload."""
    qos: int
    """The QoS it was sent with: 0, 1 or 2."""
    retain: bool
    """Whether the server had kept it before."""
    mid: int
    """The Packet Identifier; 0 at QoS 0."""
    properties: Properties | None
    """The properties on MQTT 5.0, otherwise None."""
    @property
    def dup(self) -> bool:
        """Whether the DUP flag was set: the server has sent it before."""
    @dup.setter
    def dup(self, dup: bool, /) -> None: ...
    @property
    def payload_format_indicator(self) -> int | None: ...
    @property
    def message_expiry_interval(self) -> int | None: ...
    @property
    def content_type(self) -> str | None: ...
    @property
    def response_topic(self) -> str | None: ...
    @property
    def correlation_data(self) -> bytes | None: ...
    @property
    def user_properties(self) -> list[tuple[str, str]]: ...
    @property
    def subscription_identifiers(self) -> list[int]: ...
    @property
    def params(self) -> dict[str, str]:
        """The named levels of the topic, by name, of a subscription with templates."""
    @property
    def value(self: TypedMessage[_T_co]) -> _T_co:  # type: ignore[misc]  # for those that have one
        """What a codec has made of the payload. AttributeError for a message that came by none."""
    def ack(self) -> Awaitable[None]:
        """Acknowledge the message at the call, whether the result is awaited or not."""

    def reject(
        self, reason_code: int | ReasonCode = 128, *, reason_string: str | None = None
    ) -> Awaitable[None]:
        """Acknowledge the message with a Reason Code that refuses it (5.0)."""

    def __lt__(self, other: Message, /) -> bool: ...
    def __gt__(self, other: Message, /) -> bool: ...

@disjoint_base
class TypedMessage(Message, Generic[_T_co]):
    """A message of a subscription with templates or a codec."""

    def __new__(
        cls,
        topic: str | Topic,
        payload: bytes,
        qos: int,
        retain: bool,
        mid: int,
        properties: Properties | None,
    ) -> Self: ...
    def __class_getitem__(cls, key: object) -> GenericAlias: ...
    @property
    def value(self) -> _T_co:
        """What the codec has made of the payload. Raises `error` where it cannot."""
    @property
    def error(self) -> PayloadError | None:
        """Why the payload cannot be decoded; None if it can."""

@final
class Decoding:
    """How the messages of a subscription are read: by its templates, and by its codec."""

    def __new__(
        cls,
        templates: list[TopicTemplate],
        decode: Callable[[bytes], object] | None,
        codec: str,
    ) -> Self: ...
    def apply(self, message: Message) -> TypedMessage:
        """Return the message as one that is read in this way, and leave the other one empty."""

@final
class MessagesIterator:
    """The messages of a client; each goes to one task, first come first served."""

    def __aiter__(self) -> AsyncIterator[Message]: ...
    def __anext__(self) -> Coroutine[Any, Any, Message]: ...
    def __len__(self) -> int: ...
    def batches(self, max: int = 100) -> Batches:  # noqa: A002 - a limit, by the name for one
        """Iterate over lists of 1 to `max` messages that are there, without waiting for more.

        Raises ValueError for a `max` below 1.
        """

@final
class Batches(Generic[_M_co]):
    """The messages of a client or a subscription in lists, from `messages.batches()`."""

    def __class_getitem__(cls, key: object) -> GenericAlias: ...
    def __aiter__(self) -> AsyncIterator[list[_M_co]]: ...
    def __anext__(self) -> Coroutine[Any, Any, list[_M_co]]: ...

@final
class EndKind:
    """Why a connection ended, or did not come about."""

    def __int__(self) -> int: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    REFUSED: ClassVar[EndKind]
    DISCONNECTED: ClassVar[EndKind]
    PROTOCOL_VIOLATION: ClassVar[EndKind]
    TOO_LARGE: ClassVar[EndKind]
    TRANSPORT: ClassVar[EndKind]
    TIMEOUT: ClassVar[EndKind]
    OTHER: ClassVar[EndKind]
    CLOSED: ClassVar[EndKind]

@final
class End:
    """The end of a connection."""

    @property
    def kind(self) -> EndKind: ...
    @property
    def code(self) -> int: ...
    @property
    def text(self) -> str: ...
    @property
    def remedy(self) -> str: ...
    @property
    def address(self) -> str: ...

@final
class Phase:
    """The phases of connecting."""

    def __int__(self) -> int: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    RESOLVE: ClassVar[Phase]
    TCP: ClassVar[Phase]
    UNIX: ClassVar[Phase]
    PROXY: ClassVar[Phase]
    TLS: ClassVar[Phase]
    WEBSOCKET: ClassVar[Phase]
    CONNECT: ClassVar[Phase]

@final
class Hint:
    """What to do about failures whose symptom is known."""

    def __int__(self) -> int: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    UNKNOWN_NAME: ClassVar[Hint]
    RESOLVER_UNREACHABLE: ClassVar[Hint]
    NOBODY_LISTENS: ClassVar[Hint]
    NO_ROUTE: ClassVar[Hint]
    NO_SOCKET: ClassVar[Hint]
    SOCKET_PERMISSION: ClassVar[Hint]
    LOCAL_PORT_IN_USE: ClassVar[Hint]
    LOCAL_PORT_RESERVED: ClassVar[Hint]
    LOCAL_ADDRESS: ClassVar[Hint]
    SPEAKS_NO_TLS: ClassVar[Hint]
    SPEAKS_NO_TLS_FOR_WEBSOCKET: ClassVar[Hint]
    NO_WEBSOCKET: ClassVar[Hint]
    NO_PROXY: ClassVar[Hint]
    UNANSWERED: ClassVar[Hint]
    CERTIFICATE_NAME: ClassVar[Hint]
    CERTIFICATE_ISSUER: ClassVar[Hint]
    CERTIFICATE_TIME: ClassVar[Hint]
    CLIENT_CERTIFICATE: ClassVar[Hint]
    NO_COMMON_TLS: ClassVar[Hint]

@disjoint_base
class Core:
    """The engine on an event loop; `ferromqtt._driver.Protocol` completes it."""

    def __new__(cls, seed: int) -> Self: ...
    address: str
    traces_packets: bool
    is_cut: bool
    @property
    def client_identifier(self) -> str: ...
    @property
    def connack(self) -> dict[str, Any] | None: ...
    def stats(self) -> dict[str, int]: ...
    @property
    def connected(self) -> bool: ...
    @property
    def idle(self) -> bool: ...
    @property
    def attached(self) -> bool: ...
    @property
    def transport(self) -> asyncio.Transport | None: ...
    @property
    def last_op(self) -> int: ...
    pending_calls_threshold: int
    max_calls: int
    backlog_thresholds: tuple[int, int]
    message_sink: Callable[[Message], object] | None
    parker: Callable[[], object] | None
    manual_ack: bool
    keeps_identifiers: bool
    def identifiers_written(self, sequence: int) -> None: ...
    def configure(self, outbox: OutboxFolder | None = None, **options: object) -> None: ...
    def take_up_outbox(self, folder: OutboxFolder) -> bool: ...
    def outbox_descriptor(self) -> int | None: ...
    def outbox_woken(self) -> None: ...
    def outbox_is_writing(self) -> bool: ...
    def close_outbox(self) -> bool: ...
    def give_up_outbox(self) -> None: ...
    def forget_outbox(self) -> int | None: ...
    def outbox_stats(self) -> dict[str, Any] | None: ...
    def await_stored(self, key: int) -> asyncio.Future[None]: ...
    @property
    def state(self) -> str: ...
    @property
    def reconnects(self) -> bool: ...
    def set_credentials(self, user_name: str | None, password: str | bytes | None) -> None: ...
    def fail_credentials(self, why: str) -> None: ...
    def read_events(self) -> EventReader: ...
    def begin(self, event_loop: asyncio.AbstractEventLoop, address: str) -> None: ...
    def has_accepted(self, address: str) -> bool: ...
    def disconnect(self, with_will: bool = False) -> None: ...
    def leave(self, with_will: bool, wait: bool, limit: float | None) -> None: ...
    def drain(self, limit: float | None) -> None: ...
    @property
    def is_draining(self) -> bool: ...
    @property
    def undone(self) -> tuple[int, int, int]: ...
    @property
    def all_written(self) -> bool: ...
    @property
    def was_aborted(self) -> bool: ...
    @property
    def protocol(self) -> int: ...
    def count_line(self, line: str, times: int) -> int | None: ...
    def end_messages(self) -> None: ...
    def publish(
        self,
        topic: str | Topic,
        payload: object,
        qos: int,
        retain: bool,
        properties: dict[str, object] | None,
        timeout: float,
    ) -> Awaitable[None] | None: ...
    def record(self, recorder: Recorder) -> None:
        """Record each transport that is opened from now on."""
    def set_outgoing_queue(
        self, maxsize: int | None, maxbytes: int | None, policy: str
    ) -> None: ...
    def enqueue(
        self,
        message: tuple[str | Topic, object, int, bool, dict[str, object] | None],
        timeout: float | None,
        expires_in: float | None,
        keep_latest: bool,
    ) -> tuple[asyncio.Future[Published], int, asyncio.Future[int] | None, int, bool]: ...
    def release_receipt(self, key: int) -> None: ...
    def publish_many(
        self,
        messages: list[tuple[str | Topic, object, int, bool, dict[str, object] | None]],
        timeout: float,
    ) -> tuple[list[asyncio.Future[Published] | Exception | None], list[int]]: ...
    def subscribe(
        self,
        filters: list[tuple[str, int, bool, bool, int]],
        properties: dict[str, object] | None,
        timeout: float,
    ) -> asyncio.Future[list[int]]: ...
    def unsubscribe(
        self, filters: list[str], properties: dict[str, object] | None, timeout: float
    ) -> asyncio.Future[list[int]]: ...
    def request(
        self,
        message: tuple[str | Topic, object, int, bool, dict[str, object] | None],
        timeout: float,
    ) -> asyncio.Future[Message]: ...
    def respond(
        self,
        asked: dict[str, object] | None,
        payload: object,
        qos: int,
        retain: bool,
        properties: dict[str, object] | None,
        timeout: float,
    ) -> asyncio.Future[None]: ...
    def begin_authentication(self, data: bytes | None, why: str | None) -> bool: ...
    def check_re_authenticate(self) -> int: ...
    def re_authenticate(self, connection: int, data: bytes | None) -> asyncio.Future[None]: ...
    def abandon(self, op: int) -> None: ...
    def answer_auth(self, data: bytes | None) -> str | None: ...
    def take_foreign_waiters(self) -> list[asyncio.Future[None]]: ...
    def messages(self) -> MessagesIterator: ...
    def take_message(self) -> Message | None: ...
    def discard(self, message: object) -> None: ...
    def acknowledge(self, mid: int, qos: int) -> bool: ...
    def unacknowledged(self) -> tuple[int, float | None, int]: ...
    def resume_reading(self) -> None: ...
    def flush(self) -> None: ...
    def timer_fired(self) -> None: ...

@disjoint_base
class Link:
    """The protocol object of one transport; `ferromqtt._link.Link` completes it."""

    def __new__(cls, core: Core) -> Self: ...
    @property
    def is_current(self) -> bool: ...
    def give_up(self, reason: str | None, is_final: bool) -> None: ...
    def connection_made(self, transport: asyncio.BaseTransport) -> None: ...
    def connection_lost(self, exc: Exception | None) -> None: ...
    def eof_received(self) -> bool | None: ...
    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...
    def get_buffer(self, sizehint: int) -> memoryview: ...
    def buffer_updated(self, nbytes: int) -> None: ...

@final
class SubscriptionQueue:
    """The queue of one subscription, until it is closed."""

    def __new__(
        cls,
        core: Core,
        maxsize: int | None,
        maxbytes: int | None,
        overflow: str,
        manual_ack: bool,
        decoding: Decoding | None,
        of_requests: bool,
    ) -> Self: ...
    def subscribe(
        self,
        filters: list[tuple[str, int, bool, bool, int]],
        properties: dict[str, object] | None,
        timeout: float,
    ) -> asyncio.Future[list[int]]: ...
    def declare(
        self,
        filters: list[tuple[str, int, bool, bool, int]],
        properties: dict[str, object] | None,
    ) -> None: ...
    def messages(self) -> MessagesIterator: ...
    def take_message(self) -> Message | None: ...
    def __len__(self) -> int: ...
    def take_lost(self) -> int: ...
    @property
    def answer(self) -> list[tuple[str, int]]: ...
    @property
    def not_subscribed(self) -> list[tuple[str, int]]: ...
    @property
    def is_closed(self) -> bool: ...
    def close(self) -> None: ...
    def unsubscribe(self) -> tuple[list[str], asyncio.Future[list[int]]] | None: ...

@final
class EventReader:
    """A reader of the events of a connection."""

    def take(self) -> tuple[str, dict[str, Any]] | None: ...
    @property
    def ended(self) -> bool: ...
    def wait(self) -> asyncio.Future[None]: ...
    def stop_waiting(self) -> None: ...

_Packet: TypeAlias = tuple[
    tuple[float, bool, int, str],
    tuple[int | None, int | None, int | None, str | None, bool, str],
    tuple[str, bytes, int, bool, bool] | None,
]

@final
class Broker:
    def __new__(cls, **options: object) -> Self: ...
    @staticmethod
    def options() -> list[tuple[str, str, str | None, str | None, str | None]]:
        """Return all options.

        Of each: its name, annotation and default, and the unit and help of its argument on the
        command line. None is a default that goes without saying, or an option without an argument.
        """
    def replay(self, path: str) -> None: ...
    def record(self, recorder: Recorder) -> None: ...
    def replay_failure(self) -> str | None: ...
    def run_on(self, event_loop: asyncio.AbstractEventLoop) -> None:
        """Take the time from this loop from now on; before, it is the system's."""
    def open(self) -> int: ...
    def receive(self, connection: int, data: bytes) -> None: ...
    def take_output(self) -> list[tuple[int, bytes]]: ...
    def take_closed(self) -> list[tuple[int, bool]]: ...
    def pause_output(self, connection: int) -> None: ...
    def resume_output(self, connection: int) -> None: ...
    def closed(self, connection: int) -> None: ...
    def timeout(self) -> float | None: ...
    def handle_timeout(self) -> None:
        """Do what is due.

        To be called when the shortest time is over that `timeout` has returned since the last call.
        """
    @property
    def dropped(self) -> int: ...
    def stats(self) -> tuple[int, int, int, int, int, int, int]: ...
    def session(self, client_identifier: str) -> tuple[bool, int, int, int, int, int] | None: ...
    def disconnect_client(
        self, client_identifier: str, reason: int, server_reference: str | None
    ) -> bool: ...
    def is_reachable(self) -> bool: ...
    def input_paused(self, connection: int) -> bool: ...
    def is_idle(self) -> bool: ...
    def add_fault(self, rule: str) -> int: ...
    def change_fault(self, fault: int, rule: str) -> None: ...
    def remove_fault(self, fault: int) -> bool: ...
    def release_fault(self, fault: int) -> int: ...
    def fault_fired(self, fault: int) -> int: ...
    def unused_faults(self) -> list[str]: ...
    def explain_unused_faults(self) -> list[str]: ...
    def unfinished(self) -> list[str]: ...
    def set_fault_seed(self, seed: int) -> None: ...
    def linked_clients(self) -> list[str]: ...
    def cut_link(self, client: str, reset: bool) -> bool: ...
    def half_open_link(self, client: str) -> bool: ...
    def stall_link(self, client: str, sends: bool, on: bool) -> bool: ...
    def limit_link(self, client: str, rate: int) -> bool: ...
    def slow_link(self, client: str, latency: str, jitter: str) -> bool: ...
    def cut_link_after(self, client: str, sends: bool, count: int) -> bool: ...
    def partition(self, hangs: bool) -> None: ...
    def heal(self) -> None: ...
    def restart(self, down_for: str, sessions: bool, retained: bool) -> None: ...
    def forget_session(self, client: str) -> bool: ...
    def take_over(self, client: str) -> bool: ...
    def kill_client(self, client: str) -> bool: ...
    def send_packet(self, client: str, kind: int, fields: dict[str, object]) -> bool: ...
    def send_raw(self, client: str, data: bytes) -> bool: ...
    def publish(self, topic: str, payload: bytes, qos: int, retain: bool) -> None: ...
    def packets(
        self, kind: int | None, client: str | None, sends: bool | None
    ) -> list[_Packet]: ...
    def published(
        self, topic: str, after: int
    ) -> list[tuple[float, str, str, bytes, int, bool]]: ...
    def accepted(self) -> tuple[int, int] | None: ...
    def chart(self, most: int) -> str: ...
    def explain_missing(
        self,
        headline: str,
        topic: str,
        payload: bytes | None,
        qos: int | None,
        retain: bool | None,
    ) -> str: ...

@final
class WebSocketServer:
    """The server's side of a WebSocket without a socket; its host moves the bytes."""

    def __new__(cls) -> Self: ...
    def receive(self, data: bytes) -> bytes:
        """Take bytes from the socket, and return what they carry."""
    def send(self, data: bytes) -> None:
        """Send bytes, in one frame."""
    def take_output(self) -> bytes:
        """Return what is to be written now."""
    def close(self) -> None:
        """Close it, behind what was sent."""
    @property
    def is_closed(self) -> bool:
        """Whether it is over."""

@final
class TestAuthority:
    """A certificate authority for one test broker. Its private key is in memory alone."""

    def __new__(cls) -> Self: ...
    @property
    def certificate(self) -> str:
        """Its own certificate, in PEM form."""
    def issue(self, host: str) -> tuple[str, str]:
        """Return a certificate for a host, and the private key, in PEM form."""

@final
class ScriptShrinker:
    """Shortens the scripts of a run that fails: try each candidate, and report what came of it."""

    def __new__(cls, scripts: list[str], most_tries: int) -> Self: ...
    def candidate(self) -> list[str] | None: ...
    def report(self, failed: bool) -> None: ...
    def shortest(self) -> list[str]: ...
    @property
    def tries(self) -> int: ...

def draw_faults(
    seed: int,
    *,
    cuts: float,
    lost_acks: float,
    duplicates: float,
    delays: float,
    restarts: int,
    partitions: int,
    packets: int,
) -> str:
    """Return the text of the script that a seed draws."""

def play_faults(broker: Broker, script: str) -> None: ...
def python_code(script: str) -> str: ...

@final
class Recorder:
    def __new__(cls, path: str, payloads: bool) -> Self: ...
    def finish(self) -> None: ...

@final
class TopicTemplate:
    """A filter whose wildcards have names: `room/{room}/temp`."""

    def __new__(cls, value: str) -> Self: ...
    @property
    def value(self) -> str:
        """The template as text."""
    @property
    def filter(self) -> str:
        """The filter to subscribe to, with `+` and `#` in place of the names."""
    @property
    def names(self) -> tuple[str, ...]:
        """The names, in their order."""
    def params(self, topic: TopicLike) -> dict[str, str] | None:
        """Return what the named levels of a topic are, by name; None without a match."""
    def topic(self, **values: str | int) -> str:
        """Return the topic with these values in place of the names."""
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __reduce__(self) -> tuple[type[Self], tuple[str]]: ...

@final
class Host:
    """A host in the form that each layer needs.

    Raises ValueError for an empty one, and for a name that IDNA does not allow.
    """

    def __new__(cls, text: str) -> Self: ...
    @property
    def resolver_name(self) -> str:
        """What the system's resolver is asked for: interface and final dot are kept."""
    @property
    def name(self) -> str:
        """What TLS verifies and HTTP names: no interface, no final dot."""

def websocket_headers(host: Host, port: int, secure: bool) -> list[tuple[str, str]]:
    """Return the headers that a WebSocket request usually has; any of them may be changed."""

@disjoint_base
class WebSocketTransport:
    """A WebSocket on the transport of a socket.

    It is the protocol of that transport, and the transport of `above`, a `Core`, which is connected
    once the server has accepted. `_on_answer` of the subclass is called then, and with the error
    when the server refuses, or speaks something else; it returns whether anybody waits for that.

    Raises ValueError for a path or header that would not be one line of the request.
    """

    def __new__(
        cls, above: asyncio.BufferedProtocol, path: str, headers: list[tuple[str, str]]
    ) -> Self: ...
    def connection_made(self, transport: asyncio.BaseTransport) -> None: ...
    def connection_lost(self, exc: Exception | None) -> None: ...
    def eof_received(self) -> None: ...
    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...
    def get_buffer(self, sizehint: int) -> memoryview: ...
    def buffer_updated(self, nbytes: int) -> None: ...
    def write(self, data: bytes | memoryview) -> None: ...
    def close(self) -> None: ...
    def abort(self) -> None: ...
    def can_write_eof(self) -> bool: ...
    def write_eof(self) -> None: ...

@final
class ProxyHandshake:
    """Asks a proxy for a connection. `kind` is 1 for SOCKS4, 2 for SOCKS5, 3 for HTTP.

    Without `remote_names`, `host` must be an address. Raises ConnectionError (OSError) when this
    kind of proxy cannot be asked for such a host, ValueError for other wrong arguments.
    """

    def __new__(
        cls,
        kind: int,
        host: Host,
        port: int,
        *,
        remote_names: bool,
        username: str | None,
        password: str | bytes | None,
    ) -> Self: ...
    def to_transmit(self) -> bytes:
        """Return all that is to be written now, b"" for nothing."""
    def receive(self, data: bytes) -> bool:
        """Take the proxy's answer; True when the connection is made. No bytes mean that it ended.

        Raises ConnectionError when the proxy refuses, or speaks something else.
        """

@final
class Race:
    """Which of several addresses to connect to, and when (RFC 8305). Times are since its start."""

    def __new__(cls, families: list[int]) -> Self: ...
    def start(self, elapsed: float) -> list[int]:
        """Return the attempts to be started now, by their place in the list."""
    def wait(self, elapsed: float) -> float | None:
        """Return the seconds until `start` has another one.

        It is inf when only an attempt's end brings more, None when every attempt has failed.
        """
    def failed(self, index: int, elapsed: float) -> None:
        """An attempt has failed."""
