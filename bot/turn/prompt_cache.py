"""Which render a turn reads: the warm one of its conversation, a new one, or a stored one."""

from __future__ import annotations

from bot.agents.runnable import RunnableAgent
from bot.messages import Clock
from bot.store.journal import Journal
from bot.tools.toolset import Toolset
from bot.turn import prompt
from bot.turn.prompt import RenderedPrompt
from bot.turn.turn import Transcript

CACHE_SECONDS = 300.0
KEEP_RENDER_AGAIN = 1800.0


class PromptCache:
    """Makes renders, and knows which of them the store surely holds."""

    def __init__(self, journal: Journal, clock: Clock) -> None:
        self._journal = journal
        self._clock = clock
        self._kept: dict[tuple[str, str], float] = {}

    def of(self, plan: RunnableAgent, toolbox: Toolset, transcript: Transcript) -> RenderedPrompt:
        """The conversation's render while the provider's cache is warm, else a new one."""
        now = self._clock.wall()
        tools, names = toolbox.offer()
        fresh = prompt.render(now, plan.instructions, _prompts(plan, toolbox), tools, names)
        held = transcript.render
        warm = now - transcript.used_at < CACHE_SECONDS
        return held if held and warm and held.material == fresh.material else fresh

    def to_keep(self, line: str, render: RenderedPrompt) -> dict[str, bytes]:
        """What the store does not surely hold for long enough yet."""
        now = self._clock.monotonic()
        if len(self._kept) > 10_000:
            self._kept = {k: at for k, at in self._kept.items() if now - at < KEEP_RENDER_AGAIN}
        wanted = {
            digest: body
            for digest, body in render.stored().items()
            if now - self._kept.get((line, digest), -KEEP_RENDER_AGAIN) >= KEEP_RENDER_AGAIN
        }
        self._kept |= {(line, digest): now for digest in wanted}
        return wanted

    async def stored(self, line: str, digest: str) -> RenderedPrompt | None:
        """A render that an earlier life of a turn has kept; None once it has expired."""
        body = await self._journal.render(line, digest)
        if body is None:
            return None
        tools = await self._journal.render(line, prompt.tools_of(body))
        return prompt.restore(digest, body, tools) if tools else None

    def forget(self) -> None:
        """What was kept may not have been: keep all of it again."""
        self._kept.clear()


def _prompts(plan: RunnableAgent, toolbox: Toolset) -> list[str]:
    """What stands behind the host's own prompt: blocked topics, then the servers' prompts."""
    topics = plan.filter.topics_prompt()
    return [*([topics] if topics else []), *toolbox.prompts()]
