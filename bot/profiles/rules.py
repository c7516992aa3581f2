"""The rules of a profile at work: before each request, after each answer, and on the flow.

They are looked at in memory, over a state that is made of the turn's records. What they did is a
record of its own, written in one step with the answer: a crash before that step looks at the same
rules over the same state again, a crash after it finds them done.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson
import structlog

from bot.messages import Block, Json
from bot.profiles.inbox import WITHDRAWN, Earlier, block_of, reflects, unread_in
from bot.profiles.state import Find, TurnState, finder
from bot.profiles.wording import filled
from bot.safety.text_safety import Redact
from bot.store.journal import GOES_ON, Record
from registry.profile import REFLECTION, SELF, FlowAction, InboxItem, Observer, Profile
from registry.state_conditions import Read, compiled

_LOGGER = logging.getLogger("rules")
log = structlog.get_logger("rules")

SEEN_LIMIT = 200
"""Characters of a value that a rule saw, as it is recorded."""
MOST_KNOWN = 512
RULES = "rules"
"""The kind of the records of what rules did."""
LOOP, AWAIT, END = "loop_with_inbox_item", "await_user_input", "end_agent_turn"
CONTINUE = "continue_with_tool"

Phase = Literal["pre", "post", "flow"]


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule, ready to be looked at: the paths that its condition reads, and what it adds."""

    id: str
    holds: Callable[[Read], bool]
    paths: tuple[str, ...]
    item: InboxItem | None = None
    target: str = SELF
    sets: tuple[str, Any] | None = None
    flow: FlowAction | None = None

    def adds_here(self, state: TurnState) -> bool:
        """Whether it can add something that this agent reads."""
        return self.item is not None and state.is_self(self.target)

    def reflects(self, state: TurnState) -> bool:
        """Whether what it adds here is about the answer of this turn."""
        return self.item is not None and self.item.source == REFLECTION and self.adds_here(state)


@dataclass(frozen=True, slots=True)
class RuleList:
    """The rules of one phase, in their order.

    `finders` find the values of all paths that they read. `paths[n]` are those that the first n
    rules read.
    """

    rules: tuple[Rule, ...]
    ids: tuple[str, ...]
    finders: tuple[tuple[str, Find], ...]
    paths: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, rules: Iterable[Rule]) -> RuleList:
        """The list of these rules."""
        rules, read = tuple(rules), dict[str, None]()
        paths = [tuple(read)]
        for rule in rules:
            read |= dict.fromkeys(rule.paths)
            paths.append(tuple(read))
        finders = tuple((path, finder(path)) for path in read)
        return cls(rules, tuple(rule.id for rule in rules), finders, tuple(paths))

    def values(self, state: TurnState) -> dict[str, Any]:
        """What its rules see now, by path; other values may be there as well."""
        known = state.known
        for path, find in self.finders:
            if path not in known:
                known[path] = find(state)
        return known


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of a profile; its `name` is as records say it, with its revision."""

    profile: Profile
    name: str
    pre: RuleList
    post: RuleList
    flow: RuleList


NO_RULES = Rules(Profile(name="none"), "none", RuleList.of(()), RuleList.of(()), RuleList.of(()))
"""What is looked at where an agent has no profile by now, but still something to read."""
_known: OrderedDict[int, Rules] = OrderedDict()


def rules_of(profile: Profile, name: str) -> Rules:
    """The rules of a profile, made once; records say this `name` of it."""
    found = _known.get(id(profile))
    if found is None or found.profile is not profile or found.name != name:
        found = _known[id(profile)] = Rules(
            profile,
            name,
            RuleList.of(map(_of_observer, profile.pre_turn_observers)),
            RuleList.of(map(_of_observer, profile.post_turn_observers)),
            RuleList.of(
                _of_flow(one.id, one.condition, one.action) for one in profile.flow_decider
            ),
        )
        while len(_known) > MOST_KNOWN:
            _known.popitem(last=False)
    return found


def _of_observer(one: Observer) -> Rule:
    condition, action = compiled(one.condition), one.action
    if action.type == "set_state":
        sets = (str(action.path), action.value)
        return Rule(one.id, condition.holds, condition.paths, sets=sets)
    target, item = action.target_agent_id, action.inbox_item
    return Rule(one.id, condition.holds, condition.paths, item, target)


def _of_flow(id: str, text: str, action: FlowAction) -> Rule:
    condition = compiled(text)
    item = action.inbox_item or InboxItem(source=REFLECTION) if action.type == LOOP else None
    return Rule(id, condition.holds, condition.paths, item, flow=action)


@dataclass(frozen=True, slots=True)
class Decision:
    """How a turn continues after an answer: with one more step (`goes_on`), or with its end.

    `action` is what the rule that decided says, None where none did, and `message` its words to the
    person, filled in.
    """

    goes_on: bool = False
    action: FlowAction | None = None
    message: str = ""


NOTHING = Decision()


@dataclass(slots=True)
class Round:
    """The rules around one answer: what was looked at, what fired, and what came of it.

    `step` is the number of the answer. `redact` takes secrets out of what is noted of values, where
    the state may have some.
    """

    rules: Rules
    turn: str
    step: int
    redact: Redact = str
    phases: list[dict[str, Any]] = field(default_factory=list)
    added: list[Json] = field(default_factory=list)
    sets: dict[str, Any] = field(default_factory=dict)
    flow: str = ""

    def observe(
        self, phase: Literal["pre", "post"], state: TurnState, *, may_go_on: bool = True
    ) -> None:
        """Look at the observers of a phase, in their order; each sees what those before it did.

        A reflection is about the answer of this turn: where no step can follow, none is added.
        """
        observers = self.rules.pre if phase == "pre" else self.rules.post
        if not observers.rules:
            return
        noted = self._phase(phase)
        noted["looked"] = [*observers.ids]
        values = observers.values(state)
        for count, rule in enumerate(observers.rules, 1):
            if not rule.holds(values.get):
                continue
            if rule.sets is None and (
                rule.id in state.spent or (not may_go_on and rule.reflects(state))
            ):
                noted.setdefault("spent", []).append(rule.id)
                continue
            noted["fired"].append(rule.id)
            self._note(noted, values, observers.paths[count])
            if rule.sets is not None:
                self._set(rule.sets, state)
            else:
                self._add(phase, rule, state)
            values = observers.values(state)
        self._note(noted, values, observers.paths[-1], last=True)

    def decide(self, state: TurnState, *, may_go_on: bool) -> Decision:
        """How the turn continues after its newest answer.

        Where that calls a tool, the tool goes on whatever rules say. Of a whole answer the first
        rule that holds and can be followed decides; after it, what waits makes one more step.
        """
        calls = bool(state.calls)
        if not (calls or state.is_settled):
            return NOTHING
        decided = self._first(state, calls=calls, may_go_on=may_go_on)
        if calls:
            return NOTHING
        if decided is None:
            return Decision(goes_on=may_go_on and bool(state.unread))
        action = decided.flow
        ends = action is not None and action.type in (AWAIT, END)
        words = filled(action.message, state.read).strip() if action and action.message else ""
        goes_on = may_go_on and not ends and bool(state.unread)
        return Decision(goes_on, action, words)

    def _first(self, state: TurnState, *, calls: bool, may_go_on: bool) -> Rule | None:
        """The first rule of the flow that holds and can be followed, with what it adds.

        Where a tool is called that goes on: only a rule that says just this has decided.
        """
        flow = self.rules.flow
        if not flow.rules:
            return None
        noted, values, count, found = self._phase("flow"), flow.values(state), 0, None
        for count, rule in enumerate(flow.rules, 1):  # noqa: B007 - it is read after the loop
            if not rule.holds(values.get):
                continue
            if calls or self._is_followed(rule, noted, state, may_go_on=may_go_on):
                found = rule
                break
        noted["looked"] = [*flow.ids[:count]]
        self._note(noted, values, flow.paths[count], last=True)
        if found is not None and found.flow is not None:
            noted["fired"].append(found.id)
            self.flow = found.id if not calls or found.flow.type == CONTINUE else ""
        return found

    def _is_followed(
        self, rule: Rule, noted: dict[str, Any], state: TurnState, *, may_go_on: bool
    ) -> bool:
        """Whether a rule that holds can be followed where no tool is called; it adds its item."""
        if rule.flow is None or rule.flow.type == CONTINUE:
            return False
        if rule.item is None:
            return True
        if rule.id in state.spent or not may_go_on:
            noted.setdefault("spent", []).append(rule.id)
            return False
        if all(one["source"] != rule.item.source for one in state.unread.values()):
            self._add("flow", rule, state)
        return True

    def body(self, number: int, **known: Any) -> Json:
        """The record of this round, with what else is `known`."""
        found: dict[str, Any] = {
            "turn": self.turn,
            "step": self.step,
            "profile": self.rules.name,
            "number": number,
            "phases": self.phases,
        }
        more = {"added": self.added, "set": self.sets, "flow": self.flow, **known}
        return found | {name: value for name, value in more.items() if value}

    def _phase(self, phase: Phase) -> dict[str, Any]:
        noted: dict[str, Any] = {"phase": phase, "looked": [], "fired": [], "seen": {}}
        self.phases.append(noted)
        return noted

    def _note(
        self,
        noted: dict[str, Any],
        values: Mapping[str, Any],
        paths: Iterable[str],
        *,
        last: bool = False,
    ) -> None:
        """Note values that a rule has seen; of each path the first one.

        A path that is not there reads as None: no later value of it is noted, and the `last` note
        leaves it out.
        """
        seen = noted["seen"]
        for path in paths:
            if path not in seen and not ((value := values[path]) is None and last):
                seen[path] = shown(value, self.redact)

    def _add(self, phase: Phase, rule: Rule, state: TurnState) -> None:
        assert rule.item is not None
        id = f"{self.turn}:{self.step}:{phase}:{rule.id}"
        item: dict[str, Any] = {"id": id, "source": rule.item.source, "by": rule.id}
        if rule.item.payload is not None:
            item["payload"] = rule.item.payload
        if not state.is_self(rule.target):
            item["to"] = rule.target
        self.added.append(item)
        state.add(item)

    def _set(self, sets: tuple[str, Any], state: TurnState) -> None:
        path, value = sets
        if state.set(path, value):
            self.sets.pop(path, None)  # the order of what is set is the order of the record
            self.sets[path] = value


_PLAIN = (bool, int, float)


def shown(value: Any, redact: Redact) -> Any:
    """A value as a record says that a rule saw it."""
    if value is None or isinstance(value, _PLAIN):
        return value
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    return redact(text if len(text) <= SEEN_LIMIT else f"{text[: SEEN_LIMIT - 1]}…")


@dataclass(slots=True, repr=False)
class TurnRules:
    """The rules of one turn.

    `fixed` are the values of the state that stay the same, `names` what the model's names of tools
    mean, `earlier` is what earlier turns left. `recorded` gives the turn's records so far, also
    those that are not written yet.
    """

    rules: Rules
    turn: str
    fixed: Mapping[str, Any]
    names: Mapping[str, Sequence[str]]
    earlier: Earlier
    recorded: Callable[[], Iterable[Record]]
    _state: TurnState = field(init=False)
    _round: Round = field(init=False)
    _is_held_back: bool = field(default=False, init=False)
    _is_all_read: bool = field(default=False, init=False)

    def before(self) -> tuple[list[str], list[Block]]:
        """Look at what comes before a request: the ids and the words of what it is to read."""
        state, self._is_all_read = self._made(), False
        self._state = state
        self._round = Round(self.rules, self.turn, state.step + 1)
        self._round.observe("pre", state)
        waiting, profile = state.unread, self.rules.profile
        # Where the model goes on with its own answer, nothing can stand behind that.
        goes_on = bool(state.newest) and not state.calls and not state.is_settled
        self._is_held_back = goes_on and bool(waiting)
        if goes_on:
            return [], []
        return [*waiting], [block_of(profile, one, state.read) for one in waiting.values()]

    def may_go_on(self) -> bool:
        """Whether a rule may ask for one more step after the answer that is asked for now."""
        rules, state = (*self.rules.post.rules, *self.rules.flow.rules), self._state
        may_add = (rule.adds_here(state) and rule.id not in state.spent for rule in rules)
        return self._is_held_back or any(may_add)

    def after(self, answer: Record, *, may_go_on: bool) -> tuple[Decision, Record]:
        """Look at what comes after an answer: how the turn continues, and the record of it."""
        state, around = self._state.follow([answer]), self._round
        around.observe("post", state, may_go_on=may_go_on)
        decision = around.decide(state, may_go_on=may_go_on)
        body = around.body(state.number, **({GOES_ON: True} if decision.goes_on else {}))
        self._is_all_read = not state.unread
        if _LOGGER.isEnabledFor(logging.DEBUG):  # a line that is dropped costs more than this
            log.debug("rules.looked", **{**body, GOES_ON: decision.goes_on})
        return decision, Record(RULES, body)

    def closing(self, *, is_refused: bool = False) -> Record | None:
        """What the end of a turn has to keep for the next one; None where nothing is left to say.

        What earlier turns left and this one has not read stays in the newest turn; and its number
        is known also where the model never answered. A reflection that nobody has read is
        withdrawn, as it is about an answer of this turn. Where what was said in the turn
        `is_refused`, nothing stays: it would be refused again and again.
        """
        records = [*self.recorded()]
        is_noted = any(record.kind == RULES for record in records)
        if is_noted and self._is_all_read:
            return None
        state, own = self._made(), unread_in(records)
        last = Round(self.rules, self.turn, state.step)
        if is_refused:
            return Record(RULES, {**last.body(state.number), "read": [*state.unread]})
        withdrawn = [id for id, item in state.unread.items() if reflects(item)]
        kept = ((id, item) for id, item in state.unread.items() if not reflects(item))
        last.added += [item for id, item in kept if id not in own]
        if is_noted and not (last.added or withdrawn):
            return None
        return Record(RULES, last.body(state.number, **{WITHDRAWN: withdrawn}))

    def _made(self) -> TurnState:
        """The state after all that is recorded."""
        records = [*self.recorded()]
        number = next((one.body["number"] for one in records if one.kind == RULES), None)
        state = TurnState(
            self.fixed, self.names, number or self.earlier.number, dict(self.earlier.unread)
        )
        return state.follow(records)
