"""What clients ask and answer: the payloads of these worlds, and their codec."""

from __future__ import annotations

import json
from dataclasses import dataclass

BAD = b"{bad "
"""The begin of a payload that the codec cannot decode."""


@dataclass(frozen=True)
class Job:
    """One request, or with `done` its answer. `by` and `number` tell it from all others."""

    by: str
    number: int
    done: bool = False


class JobCodec:
    """From jobs to payloads and back."""

    def encode(self, job: Job) -> str:
        return json.dumps([job.by, job.number, job.done])

    def decode(self, payload: bytes) -> Job:
        by, number, done = json.loads(payload)
        return Job(by, number, done)


JOBS = JobCodec()


def bad_payload(job: Job) -> bytes:
    """Return a payload that is no job for the codec, and names one all the same."""
    return BAD + f"{job.by} {job.number}".encode()


def of_bad_payload(payload: bytes) -> Job:
    """Return the job that a bad payload names."""
    by, number = payload.removeprefix(BAD).decode().split()
    return Job(by, int(number))
