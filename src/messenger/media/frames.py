"""The protocol between the server and an image worker: msgpack, each frame after its length in 4 bytes."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

SIDE = 512
THUMB_SIDE = 128
MAX_ANSWER = 2 * 1024 * 1024
_LENGTH = 4

Side = Annotated[int, Meta(ge=1, le=SIDE)]
Encoded = Annotated[bytes, Meta(min_length=12, max_length=MAX_ANSWER)]
Reason = Literal["unsupported", "too_large", "out_of_memory"]


class Job(msgspec.Struct, frozen=True, array_like=True):
    """To a worker: an uploaded file. The answer has the same `number`."""

    number: int
    data: bytes


class Ready(msgspec.Struct, frozen=True, array_like=True, tag=0):
    """From a worker, once: it is sandboxed and accepts jobs."""


class Done(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """From a worker: both sizes as WebP, the side of the larger one, and its ThumbHash."""

    number: int
    image: Encoded
    thumb: Encoded
    side: Side
    placeholder: Annotated[bytes, Meta(min_length=5, max_length=64)]


class Refused(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """From a worker: why the file was refused."""

    number: int
    reason: Reason


Answer = Ready | Done | Refused

_encoder = msgspec.msgpack.Encoder()
_jobs = msgspec.msgpack.Decoder(Job)
_answers: msgspec.msgpack.Decoder[Answer] = msgspec.msgpack.Decoder(Ready | Done | Refused)


class BadFrame(Exception):
    """The other side violates the protocol."""


def encode(message: Job | Answer) -> bytearray:
    """The frame of a message."""
    frame = bytearray(_LENGTH)
    _encoder.encode_into(message, frame, _LENGTH)
    frame[:_LENGTH] = (len(frame) - _LENGTH).to_bytes(_LENGTH, "big")
    return frame


def length_of(head: bytes | bytearray) -> int:
    """How many bytes follow this length field."""
    return int.from_bytes(head, "big")


def decode_job(payload: bytes) -> Job:
    """Decode a job."""
    return _jobs.decode(payload)


def take_answer(received: bytearray) -> Answer | None:
    """The answer in `received`; None while it is incomplete. Raises `BadFrame`."""
    if len(received) < _LENGTH:
        return None
    length = length_of(received[:_LENGTH])
    if length > MAX_ANSWER or len(received) > _LENGTH + length:
        raise BadFrame
    if len(received) < _LENGTH + length:
        return None
    payload = bytes(received[_LENGTH:])
    received.clear()
    try:
        return _answers.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadFrame from error
