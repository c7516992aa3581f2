"""The commands of everybody: /start, /help, /new; /stop is a signal, since it waits for nothing."""

from __future__ import annotations

from bot.commands.table import BeginAnew, BotCommand, Commands, Context, Intent, Say

STOP_HELP = "stop the answer that is being written"


def everyone() -> Commands:
    """The table."""
    rows = Commands([])

    async def help_text(context: Context) -> Intent:
        lines = [f"/{row.name} – {row.help}" for row in rows.visible(admin=context.admin)]
        lines.append(f"/stop – {STOP_HELP}")
        return Say("\n".join(sorted(lines)))

    rows = Commands(
        [
            BotCommand("start", "say hello", start, beside=True),
            BotCommand("help", "what can be sent here", help_text, beside=True),
            BotCommand("new", "begin a new conversation; the old one is set aside", new),
        ]
    )
    return rows


async def start(context: Context) -> Intent:
    """A greeting in the agent's name."""
    who = f"I am **{context.agent}**." if context.agent else "No agent answers here yet."
    return Say(f"Hello {context.incoming.person.name}! {who} Just write to me; /help lists more.")


async def new(_context: Context) -> Intent:
    """A boundary."""
    return BeginAnew("A new conversation begins here; I no longer read what was said before.")
