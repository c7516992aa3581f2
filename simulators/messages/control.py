"""The control API of the Messages API: for tests whose host runs in another process."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from simulators.guard import foreign, is_json
from simulators.messages import limits, shape
from simulators.messages.demo_script import DemoScript
from simulators.messages.records import MESSAGES
from simulators.messages.refusals import Refusal, invalid
from simulators.messages.script import Scripted, read_rule, read_script
from simulators.messages.shape import Obj
from simulators.messages.sim import MessagesSim
from simulators.messages.validate import parse

Action = Callable[[Request], Awaitable[Any]]


def control_routes(sim: MessagesSim, prefix: str = "/control") -> list[BaseRoute]:
    """Below the prefix: requests seen, script, gates, limits, pace, clock, state, reset."""
    control = _Control(sim)
    actions: tuple[tuple[str, str, Action], ...] = (
        ("requests", "GET", control.requests),
        ("requests", "DELETE", control.forget),
        ("script", "POST", control.script),
        ("rules", "POST", control.rule),
        ("gates/{name}", "POST", control.gate),
        ("limits", "POST", control.limits),
        ("pace", "POST", control.pace),
        ("clock", "POST", control.clock),
        ("reset", "POST", control.reset),
        ("state", "GET", control.state),
    )
    return [
        Route(f"{prefix}/{path}", _guarded(action), methods=[how]) for path, how, action in actions
    ]


def _guarded(action: Action) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        try:
            reason = foreign(request)
            if reason is not None:
                raise Refusal(403, reason)
            body, status = await action(request), 200
        except Refusal as refusal:
            body, status = refusal.body(""), refusal.status
        except TimeoutError:
            body, status = Refusal(504, "it did not happen within the timeout").body(""), 504
        return Response(orjson.dumps(body), status, media_type="application/json")

    return endpoint


class _Control:
    def __init__(self, sim: MessagesSim) -> None:
        self._sim = sim

    async def requests(self, request: Request) -> Any:
        """The requests of `?path=`; `?wait=n&timeout=s` first waits for the n-th."""
        path = request.query_params.get("path", MESSAGES)
        wait = _number(request, "wait", 0)
        if wait:
            await self._sim.records.nth(int(wait), _number(request, "timeout", 5), path)
        kept = self._sim.records.all(path)
        after = _number(request, "after", 0)
        shown = [record.described() for record in kept if record.number > after]
        return {"total": self._sim.records.total(path), "requests": shown}

    async def forget(self, _request: Request) -> Any:
        self._sim.records.clear()
        return {"ok": True}

    async def script(self, request: Request) -> Any:
        """`{"rules": […]}` replaces the script; `{"demo": true}` sets the demo script again."""
        form = await _form(request, ("rules", "demo"))
        if form.get("demo"):
            self._sim.script = DemoScript()
        else:
            self._sim.script = read_script(shape.present(form, "rules", ""))
        return {"ok": True}

    async def rule(self, request: Request) -> Any:
        """One more rule at the end of the script (of a new one, if the script is not rules)."""
        rule = read_rule(await _form(request, None))
        if not isinstance(self._sim.script, Scripted):
            self._sim.script = Scripted()
        self._sim.script.rules.append(rule)
        return {"ok": True}

    async def gate(self, request: Request) -> Any:
        """`{"open": true|false}`; `{"reached": seconds}` waits until an answer is held here."""
        form = await _form(request, ("open", "reached"))
        name = request.path_params["name"]
        if "reached" in form:
            seconds = shape.number(form["reached"], "reached", 0, 600)
            await self._sim.gates.reached(name, seconds)
        elif shape.boolean(form.get("open", True), "open"):
            self._sim.gates.open(name)
        else:
            self._sim.gates.shut(name)
        return {"waiting": self._sim.gates.waiting()}

    async def limits(self, request: Request) -> Any:
        """Budgets a minute: `{"requests": n, "input_tokens": n, "output_tokens": n}` or null."""
        form = await _form(request, limits.NAMES)
        for name in limits.NAMES:
            value = form.get(name)
            most = None if value is None else int(shape.number(value, name, 1, 1e9))
            self._sim.limits.allow(name, most)
        return {"ok": True}

    async def pace(self, request: Request) -> Any:
        """`{"tokens_per_second": number|null}`; null is at once."""
        value = shape.present(await _form(request, ("tokens_per_second",)), "tokens_per_second", "")
        place = "tokens_per_second"
        self._sim.pace = None if value is None else shape.number(value, place, 0.001, 1e9)
        return {"ok": True}

    async def clock(self, request: Request) -> Any:
        """`{"advance": seconds}` ages the cache."""
        form = await _form(request, ("advance",))
        self._sim.skew += shape.number(form.get("advance"), "advance", 0, 1e9)
        return {"ok": True}

    async def reset(self, request: Request) -> Any:
        await _form(request, ())
        self._sim.reset()
        return {"ok": True}

    async def state(self, _request: Request) -> Any:
        script = self._sim.script
        left = [len(rule.turns) for rule in script.rules] if isinstance(script, Scripted) else []
        unanswered = len(script.unanswered) if isinstance(script, Scripted) else 0
        return {
            "script": type(script).__name__,
            "turns_left": left,
            "unanswered": unanswered,
            "waiting": self._sim.gates.waiting(),
            "pace": self._sim.pace,
            "requests": self._sim.records.total(),
        }


async def _form(request: Request, fields: tuple[str, ...] | None) -> Obj:
    if not is_json(request):
        raise invalid("content-type: must be application/json")
    form = parse(await request.body() or b"{}")
    if fields is not None:
        shape.only(form, fields, "")
    return form


def _number(request: Request, name: str, default: float) -> float:
    try:
        return float(request.query_params.get(name, default))
    except ValueError:
        raise invalid(f"{name}: Input should be a valid number") from None
