"""Who answers: a Script, and one for tests that follows rules and queues of turns."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from simulators.messages import shape
from simulators.messages.forms import read_turns
from simulators.messages.turns import HttpError, Part, Text, Turn
from simulators.messages.validate import ModelRequest

Answer = Turn | Part | str | Callable[[ModelRequest], Turn]


class Script(Protocol):
    """What the simulator asks for an answer."""

    def answer(self, request: ModelRequest) -> Turn:
        """The turn that answers a request."""
        ...


@dataclass(slots=True)
class Rule:
    """A queue of turns for the requests that fit all of its conditions.

    `system`, `user`: a text that the system prompt, or the person's last message, contains;
    `again`: the last turn of the queue is given forever.
    """

    turns: deque[Answer]
    system: str | None = None
    user: str | None = None
    model: str | None = None
    when: Callable[[ModelRequest], bool] | None = None
    again: bool = False

    def fits(self, request: ModelRequest) -> bool:
        """Whether this rule has a turn for the request."""
        return (
            bool(self.turns)
            and (self.system is None or self.system in request.system_text)
            and (self.user is None or self.user in request.user_text)
            and (self.model is None or self.model in (request.model.id, request.model.alias))
            and (self.when is None or self.when(request))
        )

    def take(self, request: ModelRequest) -> Turn:
        """The next turn."""
        last = self.again and len(self.turns) == 1
        return _turn(self.turns[0] if last else self.turns.popleft(), request)


def _turn(answer: Answer, request: ModelRequest) -> Turn:
    if isinstance(answer, Turn):
        return answer
    if isinstance(answer, str):
        return Turn((Text(answer),))
    return answer(request) if callable(answer) else Turn((answer,))


@dataclass(slots=True)
class Scripted:
    """Rules in their order: the first that fits and has a turn left answers.

    A request that no rule answers is refused with a 400 that says so, and kept in `unanswered`.
    """

    rules: list[Rule] = field(default_factory=list)
    unanswered: list[ModelRequest] = field(default_factory=list)

    def on(
        self,
        *turns: Answer,
        system: str | None = None,
        user: str | None = None,
        model: str | None = None,
        when: Callable[[ModelRequest], bool] | None = None,
        again: bool = False,
    ) -> Rule:
        """Add a rule; more turns can be appended to its `turns` later."""
        rule = Rule(deque(turns), system, user, model, when, again)
        self.rules.append(rule)
        return rule

    def answer(self, request: ModelRequest) -> Turn:
        """The next turn of the first rule that fits."""
        for rule in self.rules:
            if rule.fits(request):
                return rule.take(request)
        self.unanswered.append(request)
        text = request.user_text[:80]
        return Turn(fault=HttpError(400, f"sandbox script: no turn is left for {text!r}"))


def scripted(*turns: Answer, again: bool = False) -> Scripted:
    """A script with one queue of turns for every request."""
    script = Scripted()
    script.on(*turns, again=again)
    return script


def read_script(forms: object, place: str = "rules") -> Scripted:
    """A script from JSON: `[{"turns": […], "system": …, "user": …, "model": …, "again": …}]`."""
    return Scripted([read_rule(one, f"{place}.{n}") for n, one in _each(forms, place)])


def read_rule(value: object, place: str = "rule") -> Rule:
    """One rule from JSON."""
    form = shape.mapping(value, place)
    shape.only(form, ("turns", "system", "user", "model", "again"), place)
    turns: Sequence[Answer] = read_turns(shape.present(form, "turns", place), f"{place}.turns")
    return Rule(
        deque(turns),
        system=_text(form, "system", place),
        user=_text(form, "user", place),
        model=_text(form, "model", place),
        again=shape.boolean(form.get("again", False), f"{place}.again"),
    )


def _text(form: shape.Obj, name: str, place: str) -> str | None:
    return None if form.get(name) is None else shape.text(form[name], f"{place}.{name}")


def _each(value: object, place: str) -> Iterable[tuple[int, object]]:
    return enumerate(shape.array(value, place))
