"""Until the registry reads profiles: the files of a test's folder, put into its agents."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from bot.agents.resolver import AgentResolver, RunnableAgent
from registry.layers import EffectiveAgent
from registry.profile import Profile


@pytest.fixture(autouse=True, scope="session")
def _profiles() -> Any:
    make = AgentResolver._make

    def made(self: AgentResolver, agent: EffectiveAgent) -> RunnableAgent:
        name = agent.definition.profile
        if name:
            folder = Path(self.catalog.snapshot().document.path).parent if False else FOLDER[0]
            text = (folder / "agent_profiles" / "profiles" / f"{name.lower()}.yaml").read_text()
            profile = Profile.model_validate(yaml.safe_load(text))
            own = agent.definition.custom_instructions or ""
            stands = profile.segments and (not own or profile.speaks_of_instructions)
            more = {"custom_instructions": None} if stands else {}
            agent = replace(
                agent,
                profile=profile,
                segments=profile.segments if stands else (),
                instructions=own,
                definition=agent.definition.model_copy(update=more),
            )
        return make(self, agent)

    patch = pytest.MonkeyPatch()
    patch.setattr(AgentResolver, "_make", made)
    yield
    patch.undo()


FOLDER: list[Path] = [Path()]
