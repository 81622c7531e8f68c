"""Recordings: who writes them, and what can be said about them."""

from __future__ import annotations

import os

from ferromqtt._checks import wrong_type
from ferromqtt._native import Recorder, recording_diff, recording_text


class ReplayError(AssertionError):
    """A program did something else than when it was recorded, or less."""


def check(record: str | os.PathLike[str] | None, payloads: object) -> None:
    """Check what a broker or client is to record.

    Raises:
        TypeError: `record` is no path.
        ValueError: `record_payloads` is given, and nothing is recorded.
    """
    if record is not None:
        path_of("record", record)
    elif payloads:
        raise ValueError("record_payloads says what is recorded: give record, the file, too")


def recorder(record: str | os.PathLike[str] | None, payloads: object) -> Recorder | None:
    """Open the file of a recording, if there is to be one.

    Raises:
        TypeError: As `check`.
        ValueError: As `check`.
        OSError: The file cannot be made, or another recorder writes to it.
    """
    check(record, payloads)
    return None if record is None else Recorder(path_of("record", record), bool(payloads))


def is_same_file(recording: str, record: str | os.PathLike[str]) -> bool:
    """Return whether both paths lead to one file that exists.

    Raises:
        TypeError: `record` is no path.
    """
    try:
        return os.path.samefile(  # noqa: PTH121 - nothing else here needs pathlib
            recording, path_of("record", record)
        )
    except OSError:
        return False  # one of them is not there, or cannot be looked at


def path_of(name: str, path: str | os.PathLike[str]) -> str:
    """Return the path as text.

    Raises:
        TypeError: It is no path.
    """
    if not isinstance(path, str | os.PathLike):
        raise wrong_type(name, "a path", path)
    return os.fsdecode(path)


def diff(
    first: str | os.PathLike[str], second: str | os.PathLike[str], *, times: bool = False
) -> str:
    """Return what is different in two recordings; an empty text when nothing is.

    Links belong together by their Client Identifier, and packets of a direction by type and topic;
    then they are compared field by field. Not compared are times, the order of packets of different
    directions, and the numbers of Packet Identifiers: an acknowledgement has to answer the same
    packet. Of payloads the hashes are compared, also where a recording has no more than those.

    Args:
        first: The file of a recording.
        second: The file of another.
        times: Whether times are compared too, in milliseconds since each link was opened.

    Raises:
        OSError: A file cannot be read.
        ValueError: A file is no recording.
    """
    return recording_diff(path_of("first", first), path_of("second", second), times)


def show(recording: str | os.PathLike[str]) -> str:
    """Return a recording for people, a line for each packet.

    Args:
        recording: The file.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is no recording.
    """
    return recording_text(path_of("recording", recording))
