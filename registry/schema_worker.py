"""Validates values by JSON Schemas, with a library that cannot be interrupted.

What may take long is therefore validated in a process that can be killed: this file, run as
`python -I schema_worker.py`. It checks no limits; the caller has done that.
"""

from __future__ import annotations

import json
import os
import signal
import struct
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, BinaryIO

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

    engine = RegexOptions(size_limit=pattern_bytes)  # in linear time, whatever the pattern
    plain = schema if isinstance(schema, bool) else dict(schema)
    try:
        return Draft202012Validator(plain, pattern_options=engine, offline=True)
    except ReferencingError as error:
        raise ValueError(str(error)) from None


def grammar() -> Draft202012Validator:
    """The validator of schemas themselves."""
    return validator(_META)


def misfit(judge: Draft202012Validator, value: Any) -> tuple[str, str] | None:
    """What is wrong with a value, and where; None where it fits."""
    from jsonschema_rs import ValidationError

    try:
        judge.validate(value)
    except ValidationError as error:
        return _end_of(error.message), place(error)
    except (ValueError, RecursionError):  # half a surrogate pair, or too deep for the library
        return "it holds what JSON cannot hold", "$"
    return None


def _end_of(message: str) -> str:
    """A message begins with the value, however long that is; what is wrong with it comes after."""
    return message if len(message) <= _LONGEST else f"…{message[-_LONGEST:]}"


def place(error: ValidationError) -> str:
    """Where in the value: `$.a[0]`."""
    return "$" + "".join(_steps(error.instance_path))


def _steps(path: Iterable[str | int]) -> Iterable[str]:
    return (f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)


def main() -> None:
    """Answer requests, a schema and a value each, until the input ends.

    One that takes too long ends the process: the kernel's alarm does not wait for Python.
    """
    os.nice(5)
    _bound_memory()
    validator(True)  # load the library, so that no request pays for that
    questions, answers = sys.stdin.buffer, sys.stdout.buffer
    _tell(answers, READY)
    while head := questions.read(HEAD.size):
        seconds, size = HEAD.unpack(head)
        signal.setitimer(signal.ITIMER_REAL, seconds)
        answer = _answered(questions, size)
        signal.setitimer(signal.ITIMER_REAL, 0)
        _tell(answers, answer)


def _tell(answers: BinaryIO, answer: Any) -> None:
    answers.write(json.dumps(answer).encode() + b"\n")
    answers.flush()


def _answered(questions: BinaryIO, size: int) -> tuple[str, str] | None:
    schema, value = json.loads(questions.read(size))
    try:
        judge = validator(schema)
    except (ValueError, RecursionError):
        return UNUSABLE, "$"
    return misfit(judge, value)


def _bound_memory() -> None:
    import resource

    for limit, most in ((resource.RLIMIT_AS, _MEMORY), (resource.RLIMIT_CORE, 0)):
        hard = resource.getrlimit(limit)[1]
        known = hard != resource.RLIM_INFINITY and hard < most
        with suppress(ValueError, OSError):  # some systems take no such limit
            resource.setrlimit(limit, (hard if known else most, hard))


if __name__ == "__main__":
    main()
