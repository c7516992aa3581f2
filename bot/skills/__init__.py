"""Skills in Python: `from bot.skills import skill`. All that a package of skills needs is here."""

from bot.skills.api import GROUP, InternalSkill, InvalidArguments, SkillContext, SkillError, skill

__all__ = ["GROUP", "InternalSkill", "InvalidArguments", "SkillContext", "SkillError", "skill"]
