"""The house speaks the field's words: no name that was given up comes back.

Each line of the table: the names that were given up, and what stands in their place. They are
looked for among the names that modules define (files, classes, functions, parameters, fields,
constants) and, where a name is no word of English prose, in the documents.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GIVEN_UP = """
Walk walk to_an_ending: AgentLoop, loop.py, run
Purse purse Bank: TurnBudget, BudgetService
Most most_of at_most Heard unheard: SpendLimit, worst_case_cost, KnownPrompt, estimate_unanswered
told_apart: ensure_unique_call_ids
goes_round: is_repeating
Ending ending: TurnResult, results.py
Exchange Renders to_keep: TurnHistory, PromptCache, to_store
Replies left_behind: Responder, record_abandoned
Again again sought: Retry, retry.py, find_retry
Sheet sheet sheets: ApprovalRequest, request
Asked Asking: ToolCallApproval, PendingCall
Tap tapped tap_of data_of: Decision, apply_decision, parse_callback, callback_data
stands grants_of Granted: grant_is_valid, new_grants, Grants
ripe unasked Respondent Suspended: claim_expired, on_undeliverable, ApprovalService
Place need_not_wait: LineContext, may_supersede
Station station Joined Way Assembled: LineRuntime, App
HostedBot hosted: HostedLine, line.py
Wakes wakes stirred stirs: Notifications, changed_lines
Lane Lanes lane lanes parked freed: ConversationQueue, deferred, unblocked
Feed _left_alone _set_aside: InboxReader, is_ignored, settle_ignored
Polls Pushes Hook Door: PollingTransport, WebhookTransport, WebhookConfig, WebhookEndpoint
CatalogPlans Plan plans: AgentResolver, RunnableAgent
Moves moves Register: ChatMigrations
bury poisoned Suspected LIVES: dead_letter, CrashSuspect, MAX_ATTEMPTS
Kept kept Posted doubtful lapses: ToolResultCache, OutboxItem, maybe_sent, best_effort
Rests Rest rests Shelf shelve: TruncatedResults, Remainder, ReadMore, save_remainder
Rights Facts Offer Verdict: ToolPermissions, CallContext, OfferedTools, PolicyResult
veiled VEIL BLOT SOMEWHERE Letter letters: redact, REDACTED, UNKNOWN_MESSAGE, DeadLetter
Answered Unfit Handlers Internals: SkillResult, InvalidArguments, InstalledSkills, PythonSkillRunner
Judge Courier Judging JudgingBackend: StoreHealth, GuardedHttpClient, SsrfGuard
Link Acquaintances Troubles Notices: McpServer, AdminContacts, ProblemAlerts, AdminAlerts
Departure Lost Ears: RequestSent, CallLost, TransportCallbacks
aside collector leash: run_in_daemon_thread, gc_tuning.py, parent_death.py
Gate Passage widen Gathered: RateLimiter, Permit, ramp_up, StreamAccumulator
BeginAnew Say beside Desk desk: StartNewConversation, Reply, concurrent, AdminContext
Wrong Frozen Finding Held Note News: InvalidValue, RegistryModel, ValidationIssue, StoredValue
Doubtful even folded known_secret Authority: AmbiguousComparison, normalized, detect_secret
Pace freeze open_in Words OddError TangledError: ChatRateLimiter, ParsedText, MalformedUpdate
surely patiently: run_idempotent, retry_while_down
Courier courier sight kept pasted screening tidings errands: text_safety.py, cache.py, tool_reply
Fate deaf deaf_seconds Render: MessageOutcome, stalled, Renderer
Settlement happenings acts audience tape Tape leashed: population, events, actions, timeline
"""
TREES = ("bot", "registry")
OTHER_TREES = ("simulators", "tests", "bench", "deploy")
PLAIN_ELSEWHERE = frozenset(
    {
        "again",
        "kept",
        "ending",
        "freeze",
        "hosted",
        "letters",
        "folded",
        "desk",
        "walk",
        "Walk",
    }
)
"""Plain words outside the host: a script that answers again, a walk of a table."""
EVERYWHERE = frozenset(
    {"Purse", "told_apart", "goes_round", "to_an_ending", "Courier", "Acquaintances", "Internals"}
)


def given_up() -> dict[str, str]:
    """Each old name with what to write instead."""
    table: dict[str, str] = {}
    for line in GIVEN_UP.strip().splitlines():
        old, new = line.split(": ")
        table |= dict.fromkeys(old.split(), new)
    return table


def _defined(tree: ast.AST) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id, node.lineno
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr, node.lineno
    for statement in getattr(tree, "body", []):
        if isinstance(statement, ast.Assign):
            for target in statement.targets:
                if isinstance(target, ast.Name):
                    yield target.id, target.lineno


def _found(path: Path, names: dict[str, str]) -> Iterator[str]:
    place = path.relative_to(ROOT)
    if path.stem in names:
        yield f"{place}: the file's name; write {names[path.stem]}"
    for name, line in _defined(ast.parse(path.read_text("utf-8"))):
        if better := names.get(name) or names.get(name.lstrip("_")):
            yield f"{place}:{line}: {name}; write {better}"


@pytest.mark.parametrize("tree", TREES + OTHER_TREES)
def test_no_module_defines_a_name_that_was_given_up(tree: str) -> None:
    plain = PLAIN_ELSEWHERE if tree in OTHER_TREES else frozenset()
    names = {name: new for name, new in given_up().items() if name not in plain}
    assert [
        one for path in sorted((ROOT / tree).rglob("*.py")) for one in _found(path, names)
    ] == []


def test_no_name_that_was_given_up_stands_in_tests_or_documents() -> None:
    distinct = {name: new for name, new in given_up().items() if name in EVERYWHERE}
    pattern = re.compile(rf"\b(?:{'|'.join(distinct)})\b")
    places = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    for tree in ("bench", "simulators", "tests", "deploy"):
        places += [path for path in (ROOT / tree).rglob("*.py") if path != Path(__file__)]
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in places
        if "decisions" not in path.parts
        for match in pattern.finditer(path.read_text("utf-8"))
    ]
    assert found == []
