"""The name of every key of the store; docs/state.md lists them with their owners and lifetimes.

All keys of a line share its hash tag. The registry's keys are in
`registry.sources.stored_values`. Scripts make a few names themselves: those of budgets, hosts, open
requests, and of the turns that run and the lines that a host holds.
"""

from __future__ import annotations

import re


class Key:
    """A kind of key: a pattern with <placeholders>; call it with their values for a name."""

    __slots__ = ("_format", "pattern")

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        braces = pattern.replace("{", "{{").replace("}", "}}")
        self._format = re.sub(r"<[^<>]+>", "{}", braces).format

    def __call__(self, *values: object) -> str:
        """The name with these values, one for each placeholder."""
        return self._format(*values)


class AgentKey(Key):
    """A kind of key with <agent>, that a router's instances share: they answer in one dialogue."""

    __slots__ = ()

    def __call__(self, *values: object) -> str:
        """The name with these values, of which the last one is the id of an agent."""
        return super().__call__(*values[:-1], spoken_to(str(values[-1])))


def spoken_to(agent: str) -> str:
    """The agent whose dialogue it is: of `<account>/<router>/<chosen>` the router."""
    return "/".join(agent.split("/", 2)[:2])


AnyKey = Key | str
"""A name, or a kind of key of a line that still lacks the line."""

# --- hosts and lines ---

HOSTS_ALIVE = "hosts:alive"
LINES_OPEN = "lines:open"
BOTS_SERVED = "hosts:bots"
"""The bots that some host serves: their names, and when that was said."""
LINES_CHANGED = "lines:stirred"
LINE_CHANGES = "lines:stirs"
LINES_DUE = "lines:due"
"""HTTP conversations that need an owner, by the time (ms) from which they do."""
WEBHOOKS_DUE = "webhooks:due"
"""Tasks whose webhook is still to be sent, by the time (ms) from which it is due; +inf: not yet."""
host = Key("host:<incarnation>")
"""That a host is alive (its owner name); its leases end when this key does."""
running = Key("hosts:running:<life>")
"""The open turns that run, or ran at the end, in one life of a host."""
fence = Key("{<line>}:fence")
"""How often the line was acquired."""
lease = Key("{<line>}:lease")
"""Who owns the line, while that host is alive."""

# --- one line ---

inbox = Key("{<line>}:inbox")
"""Accepted updates that are not done."""
seen = Key("{<line>}:seen")
"""Names of the updates of the last 48 hours."""
dead_letters = Key("{<line>}:dead")
"""Updates that were set aside, and parts that were refused."""
outbox = Key("{<line>}:outbox")
"""Parts to send."""
frozen = Key("{<line>}:frozen")
"""Chats that take nothing until a time."""
closed = Key("{<line>}:closed:<chat>")
"""The newest dead letters of a chat in which the bot may not write."""
failing = Key("{<line>}:failing")
"""How often sending failed, by part."""
posted = Key("{<line>}:notice:<key>")
"""The ids of the parts that were posted under a key."""
transcript = AgentKey("{<line>}:conv:<conversation>:<agent>:log")
"""What was said and done in a conversation with an agent."""
open_turn = Key("{<line>}:conv:<conversation>:open")
"""The open turn of a conversation."""
render = Key("{<line>}:render:<digest>")
"""A rendered system prompt or tool list."""
truncated_results = AgentKey("{<line>}:conv:<conversation>:<agent>:rests")
"""What was cut off the results of tools, by handle."""
approval = Key("{<line>}:approval:<nonce>")
"""An approval request, its version, and the messages that show it."""
question_cards = Key("approval:cards:<nonce>")
"""The cards that show an approval request of a turn over HTTP, and whether it has changed."""
timers = Key("{<line>}:timers")
"""Nonces of the approval requests whose turns are not over, by the time when each is due."""
grants = Key("{<line>}:conv:<conversation>:grants")
"""What is always allowed in a conversation."""
migrations = Key("{<line>}:moved")
"""Groups that became supergroups: the new id, and the one before."""
session = Key("{<line>}:session")
"""Whose an HTTP conversation is, and which instance answers in it."""
events = Key("{<line>}:events:<turn>")
"""What readers over HTTP see of a turn, piece by piece; bounded, for a while."""
artifact = Key("{<line>}:artifact:<id>")
"""A file that a tool gave in a turn over HTTP: its name, its type and its bytes."""
menu = Key("{<line>}:menu:<nonce>")
"""A message with buttons: who may press them, and what each leads to."""
menu_message = Key("{<line>}:menu:<nonce>:message")
"""The message of a menu that asks for a text."""
forms = Key("{<line>}:forms")
"""What the next message of a person is for, by conversation and person."""
told = Key("{<line>}:told:<chat>")
"""That a chat was told within the hour that the bot is private."""

# --- usage ---

ledger = Key("ledger:<day>")
"""The model requests of a day (`2026-01-31`)."""
budget = Key("budget:<scope>")
"""What a scope, whose name ends in its day, has spent and reserved."""
budget_held = Key("budget:<scope>:held")
"""What each turn has reserved in a scope."""
budget_ends = Key("budget:<scope>:ends")
"""When each reservation in a scope lapses."""
requests_lately = Key("budget:<scope>:lately")
"""How many model requests an agent or an account made within the minute, where that is limited."""

# --- access and admins ---

OLD_GRANTS = "access:grants"
OLD_GRANTS_VERSION = "access:version"
REQUESTS_OPEN = "access:open"
CLAIM = "access:claim"
ADMINS_KNOWN = "admins:known"
ADMINS_MENUS = "admins:menus"
access_request = Key("access:request:<nonce>")
"""A request to be let in, its outcome, and the admins' cards."""
access_request_of = Key("access:of:<subject>")
"""The nonce of the open request of a person or a chat at a bot."""
access_requests_lately = Key("access:lately:<bot>")
"""How many requests were opened at a bot within the hour."""
claimed = Key("access:made:<key>")
"""That the claim code was used by the message with a key."""
claim_tries = Key("access:tries:<person>")
"""How often a person tried a claim code within the hour."""
alert_sent = Key("admins:told:<key>")
"""That a replica has sent an alert to the admins."""

# --- the HTTP API ---

API_SECRET = "api:secret"  # noqa: S105 the name of a key
"""What cursors are signed with, the same on every replica."""
api_answer = Key("api:answer:<digest>")
"""The answer to a request with an `Idempotency-Key`."""
api_running = Key("api:running:<digest>")
"""That such a request is being answered, while its host is alive."""
api_turn = Key("api:turn:<turn>")
"""In which line a turn over HTTP is, and a digest of the message that it answers."""
api_approvals = Key("api:approvals:<account>")
"""The open approval requests in an account's HTTP conversations, each with its line."""
api_key_use = Key("api:key-use:<id>")
"""When an API key was used last, and from which address."""
new_bot = Key("{<line>}:newbot:<person>")
"""For which agent and account a person is about to create a bot by a button of this line."""
sign_in = Key("api:sign-in:<digest>")
"""Who is signed in by a cookie, by the SHA-256 of the cookie's value."""
sign_in_link = Key("api:sign-in-link:<digest>")
"""Who may sign in once by a link, by the SHA-256 of its code."""

# --- channels of messages between replicas: nothing is stored ---

NOTIFICATIONS = "wake:*"
LINES_FREE = "lines:free"
