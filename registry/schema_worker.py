"""Validates values by JSON Schemas, with a library that cannot be interrupted.

What may take long is therefore validated in a process that can be killed: this file, run as
`python -I schema_worker.py`. It checks no limits; the caller has done that.
"""

from __future__ import annotations

import functools
import json
import os
import signal
import struct
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jsonschema_rs import Draft202012Validator, ValidationError

PATTERN_BYTES = 1_000_000
"""The most memory of one compiled pattern."""
HEAD = struct.Struct(">dI")
"""Before each request: the seconds that it may take, and how many bytes follow."""

READY = "ready"
"""The first line of the process, once it takes requests."""
UNUSABLE = "the schema itself cannot be used"

_MEMORY = 1 << 30
_META = {"$ref": "https://json-schema.org/draft/2020-12/schema"}
_LONGEST = 250


def validator(
    schema: Mapping[str, Any] | bool, pattern_bytes: int = PATTERN_BYTES
) -> Draft202012Validator:
    """The validator of a schema; raises ValueError where the library refuses the schema."""
    from jsonschema_rs import Draft202012Validator, ReferencingError, RegexOptions

    engine = RegexOptions(size_limit=pattern_bytes)  # in linear time for any pattern
    plain = schema if isinstance(schema, bool) else dict(schema)
    try:
        return Draft202012Validator(plain, pattern_options=engine, offline=True)
    except ReferencingError as error:
        raise ValueError(str(error)) from None


@functools.cache
def grammar() -> Draft202012Validator:
    """The validator of schemas themselves."""
    return validator(_META)


def misfit(schema: Draft202012Validator, value: Any) -> tuple[str, str] | None:
    """What is wrong with a value, and where; None where it fits."""
    from jsonschema_rs import ValidationError

    try:
        schema.validate(value)
    except ValidationError as error:
        message = error.message  # begins with the value, however long; the fault comes after it
        short = message if len(message) <= _LONGEST else f"…{message[-_LONGEST:]}"
        return short, place(error)
    except (ValueError, RecursionError):  # half a surrogate pair, or too deep for the library
        return "it contains what JSON cannot express", "$"
    return None


def place(error: ValidationError) -> str:
    """Where in the value: `$.a[0]`."""
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in error.instance_path)
    return "$" + "".join(steps)


def main() -> None:
    """Answer requests, a schema and a value each, until the input ends.

    One that takes too long ends the process: the kernel's alarm does not wait for Python.
    """
    os.nice(5)
    _bound_memory()
    validator(True)  # load the library, so that no request pays for that
    requests = sys.stdin.buffer
    _send(READY)
    while head := requests.read(HEAD.size):
        seconds, size = HEAD.unpack(head)
        signal.setitimer(signal.ITIMER_REAL, seconds)
        answer = _validated(*json.loads(requests.read(size)))
        signal.setitimer(signal.ITIMER_REAL, 0)
        _send(answer)


def _send(answer: Any) -> None:
    sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n")
    sys.stdout.buffer.flush()


def _validated(schema: Any, value: Any) -> tuple[str, str] | None:
    try:
        usable = validator(schema)
    except (ValueError, RecursionError):
        return UNUSABLE, "$"
    return misfit(usable, value)


def _bound_memory() -> None:
    import resource

    for limit, most in ((resource.RLIMIT_AS, _MEMORY), (resource.RLIMIT_CORE, 0)):
        hard = resource.getrlimit(limit)[1]
        known = hard != resource.RLIM_INFINITY and hard < most
        with suppress(ValueError, OSError):  # some systems take no such limit
            resource.setrlimit(limit, (hard if known else most, hard))


if __name__ == "__main__":
    main()
