"""Skills in Python: `from bot.skills import skill`. Everything a package needs stands here."""

from bot.skills.api import GROUP, InternalSkill, InvalidArguments, SkillContext, SkillError, skill

__all__ = ["GROUP", "InternalSkill", "InvalidArguments", "SkillContext", "SkillError", "skill"]
