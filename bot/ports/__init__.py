"""What the inner rings need of the outer ones: ports, and the values that pass through them."""

from bot.ports.channel import SOMEWHERE, Buttons, Channel
from bot.ports.clock import Clock
from bot.ports.fence import Fence
from bot.ports.grants import Card, Change, Grants, Outcome, Request
from bot.ports.inbox import Accepted, Entry, Inbox, Update
from bot.ports.journal import Journal, Opened, OpenTurn, Record
from bot.ports.model import (
    UNFIT,
    Answer,
    Meter,
    Model,
    ModelRequest,
    Piece,
    TextDelta,
    ThinkingDelta,
    ToolChosen,
    Usage,
)
from bot.ports.outbox import Outbox, Posted
from bot.ports.rests import Rest, Rests

__all__ = [
    "SOMEWHERE",
    "UNFIT",
    "Accepted",
    "Answer",
    "Buttons",
    "Card",
    "Change",
    "Channel",
    "Clock",
    "Entry",
    "Fence",
    "Grants",
    "Inbox",
    "Journal",
    "Meter",
    "Model",
    "ModelRequest",
    "OpenTurn",
    "Opened",
    "Outbox",
    "Outcome",
    "Piece",
    "Posted",
    "Record",
    "Request",
    "Rest",
    "Rests",
    "TextDelta",
    "ThinkingDelta",
    "ToolChosen",
    "Update",
    "Usage",
]
