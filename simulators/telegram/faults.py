"""Injected faults: what goes wrong, for which bot and methods, and how often."""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Literal

from simulators.telegram.params import Params

Kind = Literal["answer", "drop", "lose", "html", "delay"]
KINDS: tuple[Kind, ...] = ("answer", "drop", "lose", "html", "delay")


@dataclass(slots=True)
class Fault:
    """One fault for `times` calls, after `skip` that succeed; always after `seconds` of delay.

    answer: `status` with `description` and `parameters`, nothing is done. drop: the connection is
    cut and nothing is done. lose: the call is done, then the connection is cut. html: a proxy's
    page with `status` (502 by default). delay: only the delay. With `has` it applies only to calls
    that have this parameter, with `says` only to those whose text contains this.
    """

    kind: Kind
    method: str = "*"
    bot: int | None = None
    chat: int | None = None
    has: str = ""
    says: str = ""
    times: int = 1
    skip: int = 0
    status: int = 500
    description: str = "Internal Server Error"
    parameters: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0

    def fits(self, bot: int, method: str, params: Params) -> bool:
        """Whether the fault applies to this call; `method` is in lower case."""
        return (
            self.bot in (None, bot)
            and (self.chat is None or self.chat == params.integer("chat_id"))
            and (not self.has or self.has in params.values)
            and (not self.says or self.says in str(params.values.get("text", "")))
            and fnmatchcase(method, self.method.lower())
        )


class Faults:
    """The open faults, in the order in which they were set."""

    def __init__(self) -> None:
        self.open: list[Fault] = []

    def add(self, fault: Fault) -> Fault:
        """Adds one fault."""
        self.open.append(fault)
        return fault

    def clear(self) -> None:
        """Removes all faults."""
        self.open.clear()

    def take(self, bot: int, method: str, params: Params) -> Fault | None:
        """The fault that applies to this call, counted down by one."""
        for fault in self.open:
            if not fault.fits(bot, method, params):
                continue
            if fault.skip > 0:
                fault.skip -= 1
                continue
            fault.times -= 1
            if fault.times <= 0:
                self.open.remove(fault)
            return fault
        return None
