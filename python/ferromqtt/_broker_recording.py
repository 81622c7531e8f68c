"""The part of a `TestBroker` that records what goes by, and plays a recording again."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Self

from ferromqtt._broker_faults import BrokerFaults
from ferromqtt._broker_options import BrokerOptions
from ferromqtt._checks import wrong_type
from ferromqtt._native import Broker, Recorder
from ferromqtt._recording import ReplayError, is_same_file, path_of, recorder
from ferromqtt.exceptions import MqttError

LOOPBACK = "127.0.0.1"


class BrokerRecording(BrokerFaults):
    """A broker whose core can record, or stand for a recording."""

    _options: BrokerOptions
    _recorder: Recorder | None = None
    _recording: str | None = None
    """The file that is replayed."""
    _watched: list[Broker] | None = None
    """What was made, one for each start, if somebody looks at it after a stop too."""

    if TYPE_CHECKING:

        def __init__(self, host: str, port: int, *, listen: bool) -> None: ...

    @classmethod
    def from_recording(
        cls,
        recording: str | os.PathLike[str],
        host: str = LOOPBACK,
        port: int = 0,
        *,
        listen: bool = True,
        record: str | os.PathLike[str] | None = None,
        record_payloads: bool = False,
    ) -> Self:
        """Make a broker that plays the server's side of a recording again.

        ```python
        async with TestBroker.from_recording("session.mqttlog", listen=False) as broker:
            await report_level(broker)
        ```

        The program under test has to do what it did when it was recorded: each connection plays the
        next link of the recording with the same Client Identifier (one whose identifier is not in
        the recording, the next of all), and its packets have to be of the same type, topic or
        filters, and QoS, and acknowledge the same messages. Payloads and properties may differ.
        What the server sent then is sent again, with the Packet Identifiers that the client has
        now, and as much later as then: in a `VirtualLoop` that takes no time. PINGREQ is answered
        whenever it comes. See docs/recordings.md.

        The first packet that does not fit closes all connections, and leaving `async with` raises
        `ReplayError`, as it does when something is left of the recording. It is raised from
        the MqttError that the program then got; any other exception that leaves the block gets it
        as a note instead. `check_replay` says the same at any time.

        What happened can be asked as of any broker: `published`, `packets`, `chart`, `wait_for`,
        `check_published`, `idle`. Rules, `link`, `restart`, `publish` and other verbs raise
        RuntimeError.

        Args:
            recording: The file of a recording with payloads.
            host: As for the constructor, and so are the others.
            port: Likewise.
            listen: Likewise.
            record: Likewise; a replay that is recorded can be compared by `diff`.
            record_payloads: Likewise.

        Raises:
            OSError: The file cannot be read, or the one to record to cannot be made.
            ValueError: It is no recording, has no payloads, or is the file to record to; or an
                argument is wrong.
            TypeError: An argument has the wrong type.
        """
        path = path_of("recording", recording)
        if record is not None and is_same_file(path, record):
            raise ValueError(
                "record names the recording that is replayed, which would be emptied: give another "
                "file"
            )
        broker = cls(host, port, listen=listen)
        broker._recording = path
        broker._broker = broker._new_broker()
        broker._record(record, record_payloads)
        return broker

    def _record(self, record: str | os.PathLike[str] | None, payloads: bool) -> None:
        """Open the file to record to, if there is to be one."""
        if not isinstance(payloads, bool):
            raise wrong_type("record_payloads", "bool", payloads)
        self._recorder = recorder(record, payloads)
        if self._recorder is not None:
            self._core().record(self._recorder)

    def _new_broker(self) -> Broker:
        broker = Broker(**self._options)
        if self._recording is not None:
            broker.replay(self._recording)
        if self._recorder is not None:
            broker.record(self._recorder)
        if self._watched is not None:
            self._watched.append(broker)
        return broker

    def _watch(self) -> list[Broker]:
        """Return the core, to which the cores of later starts are added."""
        if self._watched is None:
            self._watched = [self._core()]
        return self._watched

    def check_replay(self) -> None:
        """Check that the replay went as it was recorded, and is finished.

        Does nothing for a broker that replays nothing, or is stopped.

        Raises:
            ReplayError: What came and what was expected, or what is left.
        """
        if failure := self._replay_failure():
            raise ReplayError(failure)

    def _replay_failure(self) -> str | None:
        return self._broker.replay_failure() if self._broker else None

    def _core(self) -> Broker:
        if self._broker is None:
            raise RuntimeError("The test broker is stopped: start it first")
        return self._broker

    def _acting(self) -> Broker:
        """Return the broker for what a replay does not do."""
        if self._recording is not None:
            raise RuntimeError(
                "A test broker that replays a recording makes no faults, has no sessions and sends "
                "nothing of its own: it plays what was recorded. Use a TestBroker of its own for "
                "this"
            )
        return self._core()


def tell_replay_failure(failure: str, error: BaseException | None) -> None:
    """Raise for a replay that failed, or add it to what leaves the block for another reason.

    Raises:
        ReplayError: No exception leaves, or the MqttError that the replay gave the program.
    """
    if error is None or isinstance(error, MqttError):
        raise ReplayError(failure) from error
    error.add_note(failure)
