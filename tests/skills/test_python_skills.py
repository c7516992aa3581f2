"""Packages that bring skills, good and bad; and what a decorated function becomes."""

from __future__ import annotations

import threading
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import Field

from bot.skills.api import InternalSkill, InvalidArguments, SkillContext, skill
from bot.skills.python_skill import InstalledSkills, PythonSkillRunner, discover_skills
from bot.skills.spec import SkillSpec
from registry.skill import Skill
from tests.packages import install

ANN = SkillContext("default", "42", "bot:1/7", "clerk")
GOOD = '''
from bot.skills import skill

@skill
def hello() -> str:
    """Say hello."""
    return "hello"

@skill(name="bye", description="Say goodbye.")
def other() -> str:
    return "bye"
'''
HELD = "import threading\nthreading.Event().wait(30)\n"


@skill
def order(
    article: Annotated[str, Field(min_length=2)],
    day: date,
    context: SkillContext,
    pieces: int = 1,
    price: Decimal | None = None,
) -> tuple[Any, ...]:
    """Order an article."""
    return article, day, context.user_id, pieces, price


async def _handlers(site: Path, monkeypatch: pytest.MonkeyPatch, **more: float) -> InstalledSkills:
    monkeypatch.syspath_prepend(site)
    return await discover_skills(**more)


async def test_a_package_gives_all_skills_of_a_module_or_the_one_that_it_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, "whole_pack", GOOD)
    found = await _handlers(tmp_path, monkeypatch)
    assert sorted(found.skills) == ["bye", "hello"]
    assert found.origins["bye"] == "whole_pack (whole_pack)"
    one = install(tmp_path / "2", "single_pack", GOOD.replace("bye", "ciao"), "single_pack:other")
    found = await _handlers(one, monkeypatch)
    assert sorted(found.skills) == ["bye", "ciao", "hello"]
    assert found.problems == ()


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("absent", "import nowhere_at_all", "cannot be imported: ModuleNotFoundError"),
        ("leaving", "raise SystemExit(1)", "cannot be imported: RuntimeError: SystemExit: 1"),
        ("broken", "def f(:", "cannot be imported: SyntaxError"),
        ("idle", "x = 1", "has no function with @skill"),
        ("held", HELD, "was not imported within 0.5 s"),
        (
            "unhinted",
            "from bot.skills import skill\n@skill\ndef f(x):\n  'x'",
            "the parameter 'x' a type hint",
        ),
    ],
)
async def test_a_package_that_cannot_be_loaded_is_named_and_the_others_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, code: str, words: str
) -> None:
    install(tmp_path, f"a_{name}_pack", code)  # a name of its own: the held one stays locked
    install(tmp_path, f"b_{name}_pack", GOOD)
    found = await _handlers(tmp_path, monkeypatch, seconds=0.5)
    (problem,) = found.problems
    assert problem.place == f"a_{name}_pack (a_{name}_pack)"
    assert words in problem.message
    assert sorted(found.skills) == ["bye", "hello"]


def test_a_schema_comes_from_the_hints_without_the_context() -> None:
    assert isinstance(order, InternalSkill)
    said = order.input_schema
    assert sorted(said["properties"]) == ["article", "day", "pieces", "price"]
    assert said["required"] == ["article", "day"]
    assert said["additionalProperties"] is False
    assert order.description == "Order an article."


def test_arguments_arrive_as_their_hints_say() -> None:
    given = {"article": "nail", "day": "2026-11-21", "price": "1.50"}
    made = order.bind(given, ANN)()
    assert made == ("nail", date(2026, 11, 21), "42", 1, Decimal("1.50"))
    with pytest.raises(InvalidArguments, match="valid date"):
        order.bind({"article": "nail", "day": "soon"}, ANN)
    assert order("nail", date(2026, 1, 1), ANN)[2] == "42"  # itself it can be called as before


def test_what_cannot_be_a_skill_says_why() -> None:
    def undocumented(x: int) -> int:
        return x

    def positional(x: int, /) -> int:
        """Take it."""
        return x

    def star(*x: int) -> int:
        """Take them."""
        return len(x)

    for function, words in (
        (undocumented, "write a docstring"),
        (positional, "remove the '/'"),
        (star, "a type hint"),
    ):
        with pytest.raises(TypeError, match=words):
            skill(function)
    with pytest.raises(TypeError, match="letters, digits"):
        skill(name="a b", description="x", input_schema={"type": "object"})(undocumented)
    with pytest.raises(TypeError, match="must describe an object"):
        skill(name="ab", description="x", input_schema={"type": "array"})(undocumented)


async def test_slow_plain_functions_never_take_more_threads_than_there_are() -> None:
    gate, running = threading.Event(), []

    @skill
    def wait() -> str:
        """Wait for the gate."""
        running.append(1)
        gate.wait(10)
        return "through"

    document = Skill(name="wait", execution_type="internal", internal_handler="wait")
    spec, internals = SkillSpec(document, wait), PythonSkillRunner(threads=1)
    first = await internals.call(spec, {}, ANN, 0.1)
    second = await internals.call(spec, {}, ANN, 0.1)
    assert (first.body["error"], first.unknown) == (
        "Request timed out",
        True,
    )
    assert second.body["error"].startswith("Skill was not started")
    assert (second.unknown, len(running)) == (False, 1)
    gate.set()
    third = await internals.call(spec, {}, ANN, 10)
    assert third.body == "through"
