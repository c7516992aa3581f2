"""What a menu shows and asks for, and the actions behind its buttons.

A command returns a `View`, and a message with buttons appears. Each button names an action, a
`BotCommand` that nobody can type (see `action`): its function gets its parts, a `CommandContext`,
and the button's arguments. It returns what comes next:

- `View`: the message is edited to show this instead;
- `Ask`: the message asks for a text; what the person writes next goes to the named action, as its
  last argument, and the answer to that is a new message;
- `Notice`: words that appear for a moment; the message stays as it is;
- `Reply`: the menu ends with these words.

Who may press is asked at each press: the person who opened the menu, in its chat, with what the
action `needs` at that moment. A change is made under `context.key`, so it is made once. Errors of
the registry become words, with a way back.

    @action("fruit:list")
    async def fruits(host: Parts, context: CommandContext, page: str = "0") -> CommandResult:
        return View("Which fruit?", [[Button("Apple", "fruit:eat", ("apple",))]])
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bot.command import BotCommand, CommandResult, Function, Need

PAGE = 8
"""Items on one page of a menu."""
LONGEST_LABEL = 60


@dataclass(frozen=True, slots=True)
class Button:
    """A button: its words, and the action that a press leads to."""

    label: str
    action: str
    arguments: tuple[str, ...] = ()


Row = Sequence[Button]


@dataclass(frozen=True, slots=True)
class View(CommandResult):
    """What a menu shows: Markdown, which is cut to one message, and rows of buttons.

    `notice` appears for a moment to the person who pressed.
    """

    text: str
    rows: Sequence[Row] = ()
    notice: str = ""


@dataclass(frozen=True, slots=True)
class Ask(CommandResult):
    """Ask for a text, which goes to `action` as its last argument; `rows` lead elsewhere."""

    text: str
    action: str
    arguments: tuple[str, ...] = ()
    rows: Sequence[Row] = field(default=())


@dataclass(frozen=True, slots=True)
class Notice(CommandResult):
    """Plain words, at most 200 characters, that appear for a moment over the menu."""

    text: str


def action(name: str, *, needs: Need | None = None) -> Callable[[Function], BotCommand]:
    """Decorate a function that makes it an action of menus; the name has a colon: `agents:edit`."""
    assert ":" in name, "a name without a colon could be typed as a command"

    def row(function: Function) -> BotCommand:
        return BotCommand(name, "", function, needs, concurrent=True, hidden=True)

    return row


def label(text: str) -> str:
    """A text on a button: one line, not too long."""
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_LABEL else f"{line[: LONGEST_LABEL - 1]}…"


def pages(
    items: Sequence[Button], page: int, action: str, arguments: tuple[str, ...] = ()
) -> list[list[Button]]:
    """One page of buttons, one in a row, and a row that leads to the pages beside it."""
    last = max(0, (len(items) - 1) // PAGE)
    page = min(max(0, page), last)
    rows = [[item] for item in items[page * PAGE : (page + 1) * PAGE]]
    beside = []
    if page > 0:
        beside.append(Button("‹ Back", action, (*arguments, str(page - 1))))
    if page < last:
        words = f"More ({len(items) - (page + 1) * PAGE}) ›"
        beside.append(Button(words, action, (*arguments, str(page + 1))))
    return [*rows, beside] if beside else rows


def confirm(text: str, yes: Button, no: Button) -> View:
    """Ask once before something is done that is hard to undo; the text says what it touches."""
    return View(text, [[yes], [no]])
