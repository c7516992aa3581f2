"""Counts working days: a whole package with one internal skill."""

from __future__ import annotations

from datetime import date, timedelta

from bot.skills import SkillError, skill

MOST_DAYS = 366 * 20
SATURDAY = 5


@skill
def working_days(start: date, end: date, holidays: list[date] | None = None) -> dict[str, int]:
    """Count the working days from start to end, both included: Monday to Friday, no holidays.

    Dates are written as YYYY-MM-DD.
    """
    days = (end - start).days + 1
    if not 0 < days <= MOST_DAYS:
        raise SkillError("end must not be before start, nor more than twenty years after it")
    free = set(holidays or ())
    every = (start + timedelta(n) for n in range(days))
    found = sum(day.weekday() < SATURDAY and day not in free for day in every)
    return {"working_days": found, "days": days}
