"""What document 3 demands: accounts, their agent instances, the HTTP routes and the ledger."""

from __future__ import annotations

from tests.requirements_entry import Requirement, need, note, section

SPEC3: tuple[Requirement, ...] = (
    *section(
        3,
        "Core Concept",
        need(
            "3.instance.named",
            "An account holds agent instances by name, each a configuration of one agent "
            "definition.",
        ),
        need(
            "3.instance.several-of-one-type",
            "Two instances of one account may share an agent type and differ in temperature, "
            "tools and the rest.",
        ),
    ),
    *section(
        3,
        "URL Structure",
        need(
            "3.url.chat",
            "`POST /accounts/{account-slug}/agents/{agent-instance-slug}/chat` runs a turn and "
            "answers when it is done.",
        ),
        need(
            "3.url.stream",
            "`GET /accounts/{account-slug}/agents/{agent-instance-slug}/stream?message=` runs a "
            "turn and streams it.",
        ),
        need(
            "3.url.slug-unique",
            "An instance's slug names exactly one instance in its account, and may be used again "
            "in another account.",
        ),
        need(
            "3.url.default-account",
            "The account `default` always exists, and its instances are reached by the same URLs.",
        ),
    ),
    *section(
        3,
        "Configuration Structure",
        need(
            "3.config.path",
            "An instance lies in "
            "`config/agent_configs/{account-slug}/{agent-instance-slug}/config.yaml`.",
        ),
        need(
            "3.config.agent-type",
            "`agent_type` must be given and names the agent definition to run.",
        ),
        need(
            "3.config.account",
            "`account` names the instance's account and must agree with its folder.",
        ),
        need(
            "3.config.instance-name",
            "`instance_name` names the instance and must agree with its folder.",
        ),
        need("3.config.llm-model", "`llm.model` replaces the agent's model for this instance."),
        need(
            "3.config.llm-temperature",
            "`llm.temperature` replaces the agent's temperature for this instance.",
        ),
        need("3.config.llm-max-tokens", "`llm.max_tokens` limits each answer of this instance."),
        need(
            "3.config.tools-enabled",
            "`tools.<name>.enabled` says for each tool whether this instance may use it.",
        ),
        need(
            "3.config.history-limit",
            "`context_management.history_limit` is the number of past messages that a turn sees.",
        ),
    ),
    *section(
        3,
        "Agent Instance Loader",
        need(
            "3.loader.found",
            "Loading by account and instance slug gives account, instance name, agent type and "
            "configuration.",
        ),
        need(
            "3.loader.missing",
            "An account or instance that does not exist is a clear not-found answer, the same for "
            "both.",
        ),
        need(
            "3.loader.slug-safe",
            "A slug that would leave the configuration folder is refused before any file is "
            "opened.",
        ),
    ),
    *section(
        3,
        "Endpoint Handler",
        need(
            "3.chat.instance-first",
            "A chat request loads its instance, then the history of the caller's conversation up "
            "to the limit, then runs the agent.",
        ),
        need(
            "3.chat.by-agent-type",
            "The agent that runs is the one that the instance's agent type names, with the "
            "instance's settings.",
        ),
        need(
            "3.chat.unknown-type",
            "An instance whose agent type nobody defines fails with that type in the error.",
        ),
    ),
    *section(
        3,
        "Streaming Handler",
        need(
            "3.stream.same-way",
            "A stream loads instance and history as a chat request does, and takes the text from "
            "the `message` parameter.",
        ),
        need(
            "3.stream.unknown-type",
            "An unknown agent type comes as one `error` event with a JSON message, and the stream "
            "ends.",
        ),
    ),
    *section(
        3,
        "Agent Functions",
        need(
            "3.agent.config-over-defaults",
            "Settings of the instance win over the agent's own defaults; without any the defaults "
            "hold.",
        ),
        need(
            "3.agent.response",
            "A finished chat answers with `response`, the text, and `usage`, the tokens.",
        ),
        need("3.agent.tracked", "A finished turn is booked with account, instance and agent type."),
    ),
    *section(
        3,
        "SSE Format & Event Types",
        need(
            "3.sse.message", "Each piece of text is an event `message` with the piece as its data."
        ),
        need("3.sse.done", "A completed answer ends with an event `done` with empty data."),
        need(
            "3.sse.error", "A failure is an event `error` with a JSON object that holds `message`."
        ),
    ),
    *section(
        3,
        "Pydantic AI Streaming Pattern",
        need(
            "3.deltas.only-new",
            "Every `message` event holds only the text that is new since the last one.",
        ),
        need(
            "3.deltas.usage-after",
            "Tokens as prompt, completion and total are booked once the stream is complete.",
        ),
        need(
            "3.deltas.status-complete",
            "A completed stream is booked with completion status `complete`.",
        ),
        need(
            "3.deltas.status-partial",
            "A stream that failed is booked with completion status `partial`, and an `error` "
            "event follows.",
        ),
        need(
            "3.deltas.cleaned-up",
            "Whatever ends a stream, also the caller going away, its resources are released.",
        ),
    ),
    *section(
        3,
        "Message History Conversion",
        need(
            "3.history.human",
            "A stored message of role `human` goes to the model as the person's message.",
        ),
        need(
            "3.history.assistant",
            "A stored message of role `assistant` goes to the model as its own earlier answer.",
        ),
    ),
    *section(
        3,
        "Error Handling & Retry Logic",
        need(
            "3.retry.transport",
            "Failed connections and retryable HTTP answers are tried again below the stream, a "
            "bounded number of times.",
        ),
        need("3.retry.stream-once", "A stream that breaks is run again once as a whole."),
        need(
            "3.retry.second-failure",
            "A second break saves the partial answer and sends an `error` event.",
        ),
    ),
    *section(
        3,
        "Partial Response Persistence",
        need(
            "3.partial.saved",
            "The text received before a failure is kept in the conversation under role "
            "`assistant`.",
        ),
        need("3.partial.flag", "The kept text is marked `partial` true."),
        need("3.partial.error", "The kept text carries the `error` that ended it."),
        need("3.partial.status", "The kept text carries `completion_status` `partial`."),
        need(
            "3.partial.chunks",
            "The kept text carries `chunks_received`, the number of pieces that had come.",
        ),
        need(
            "3.partial.shown",
            "A partial answer is shown with a visible warning that it is incomplete because of an "
            "error.",
        ),
    ),
    *section(
        3,
        "Frontend Error Handling",
        need(
            "3.browser.error",
            "At an `error` event the browser chat stops its indicator and shows a notice.",
        ),
        need(
            "3.browser.partial-kept",
            "At an `error` event the text already shown stays, with a warning under it.",
        ),
        need("3.browser.done", "At a `done` event the browser chat stops its indicator."),
    ),
    *section(
        3,
        "Testing Strategy",
        need("3.testing.unit", "Streams are tested against a predictable model with no network."),
        note(
            "3.testing.real-provider",
            "Tests against a real provider are optional, off unless the environment asks, and run "
            "rarely.",
        ),
    ),
    *section(
        3,
        "Cost Tracking",
        need(
            "3.cost.account",
            "A ledger line carries `account`.",
            "tests/host/test_ledger.py::test_a_price_that_nobody_knows_is_told_as_such",
        ),
        need("3.cost.agent-instance", "A ledger line carries `agent_instance`."),
        need("3.cost.agent-type", "A ledger line carries `agent_type`."),
        need(
            "3.cost.model",
            "A ledger line carries `model`.",
            "tests/host/test_ledger.py::test_a_price_that_nobody_knows_is_told_as_such",
        ),
        need(
            "3.cost.tokens",
            "A ledger line carries `tokens`.",
            "tests/host/test_ledger.py::test_the_ledger_equals_the_simulators_own_count_to_the_token",
        ),
        need(
            "3.cost.cost",
            "A ledger line carries `cost`, or says that it is unknown.",
            "tests/host/test_ledger.py::test_a_price_that_nobody_knows_is_told_as_such",
        ),
        need(
            "3.cost.sums",
            "Cost can be summed for an instance and for an account, and instances can be compared.",
        ),
    ),
    *section(
        3,
        "Legacy Endpoint Migration",
        need(
            "3.legacy.chat",
            "`POST /chat` is answered by the instance `simple-chat` of the account `default`.",
        ),
        need("3.legacy.stream", "`GET /events/stream` is answered by the same default instance."),
        need(
            "3.legacy.transparent",
            "By default the old routes serve directly, and the caller notices nothing.",
        ),
        need(
            "3.legacy.redirect", "An operator can switch the old routes to a 301 to the new URLs."
        ),
    ),
    *section(
        3,
        "Frontend Changes",
        need(
            "3.frontend.new-url",
            "The browser chat calls the stream URL of an account and an instance.",
        ),
        need(
            "3.frontend.list",
            "`GET /accounts/{account}/agents` lists instances with `slug`, `name` and `type`.",
        ),
        need(
            "3.frontend.choice",
            "A person can choose among the account's instances in the browser chat.",
        ),
    ),
    *section(
        3,
        "What This Eliminates",
        need(
            "3.explicit.no-router",
            "Between an account URL and its instance there is no router, no guess and no default; "
            "the registry of document 1 stays.",
        ),
        need(
            "3.explicit.kept",
            "Instance settings, streaming and cost by instance stay as the sections above demand.",
        ),
    ),
    *section(
        3,
        "Benefits",
        need(
            "3.benefit.independent",
            "A change to one instance's configuration does not touch another instance.",
        ),
        need(
            "3.benefit.isolated",
            "A caller of one account can reach nothing of another account by any URL.",
        ),
        need(
            "3.benefit.by-file",
            "A new configuration file makes a new instance with no change of code.",
        ),
    ),
    *section(
        3,
        "Implementation Approach",
        need(
            "3.approach.side-by-side",
            "The `/accounts/` routes and the old routes work side by side without touching each "
            "other.",
        ),
    ),
    *section(
        3,
        "Phase 1: Build New Infrastructure",
        note(
            "3.phase1.goal",
            "The aim of the first phase: the new routes beside the old ones, with no effect on "
            "these.",
        ),
    ),
    *section(
        3,
        "Phase 1: Build New Infrastructure / Deliverables",
        need(
            "3.phase1.session-fields",
            "A conversation record may carry `account` and `agent_instance`, and does without "
            "them.",
        ),
        need(
            "3.phase1.ledger-fields",
            "A ledger line may carry `account`, `agent_instance` and `agent_type`, and older "
            "lines do without them.",
        ),
        need(
            "3.phase1.completion-status",
            "A ledger line carries `completion_status`, which is `complete` unless told otherwise.",
        ),
        need(
            "3.phase1.default-instance",
            "The account `default` has an instance `simple-chat` of type `simple_chat` out of the "
            "box, with a history limit of 10.",
        ),
        need(
            "3.phase1.validation",
            "A configuration with a missing or wrong field is refused at loading, with file and "
            "field named.",
        ),
        need(
            "3.phase1.stream-books",
            "The streaming turn yields the events in the demanded form and books its cost after "
            "completion.",
        ),
        need("3.phase1.chat-route", "`POST /accounts/{account}/agents/{instance}/chat` is served."),
        need(
            "3.phase1.stream-route", "`GET /accounts/{account}/agents/{instance}/stream` is served."
        ),
        need("3.phase1.list-route", "`GET /accounts/{account}/agents` is served."),
    ),
    *section(
        3,
        "Phase 1 Dependencies",
        note("3.phase1.order", "The order of building in the first phase."),
    ),
    *section(
        3,
        "Phase 1 Validation",
        need(
            "3.phase1.real-wire",
            "The new routes work against the real protocol of the model provider.",
        ),
        need(
            "3.phase1.coexist",
            "Two or more instances of one account serve at the same time, each with its own "
            "settings.",
        ),
        need(
            "3.phase1.conversation",
            "A conversation through the new routes keeps its history from one request to the next.",
        ),
    ),
    *section(
        3,
        "Phase 2: Internal Migration",
        note(
            "3.phase2.goal",
            "The aim of the second phase: the old routes run on the new way, and look the same "
            "from outside.",
        ),
    ),
    *section(
        3,
        "Phase 2: Internal Migration / Deliverables",
        need(
            "3.phase2.config-optional",
            "A turn without an instance configuration falls back to the agent's own settings.",
        ),
        need(
            "3.phase2.or-default",
            "A missing account means `default`, a missing instance means `simple-chat`.",
        ),
        need(
            "3.phase2.chat-plain",
            "`POST /chat` answers with the plain text of the answer, as it did before.",
        ),
        need(
            "3.phase2.stream-events",
            "`GET /events/stream` sends the events of the new streaming turn.",
        ),
        need(
            "3.phase2.session-optional",
            "A conversation records account and instance when they are given, and nothing "
            "otherwise.",
        ),
        need(
            "3.phase2.compatible",
            "Old and new routes both book their cost, and a conversation begun before still goes "
            "on.",
        ),
    ),
    *section(
        3,
        "Phase 2 Dependencies",
        note("3.phase2.order", "The order of migrating in the second phase."),
    ),
    *section(
        3,
        "Phase 2 Risk Mitigation",
        note(
            "3.phase2.rollout",
            "Advice for a careful rollout: a flag for some callers, comparison of both ways, "
            "logs, an easy way back.",
        ),
        need(
            "3.phase2.monitored",
            "Error rate, latency and cost are measured, and can be told apart by route.",
        ),
    ),
    *section(
        3,
        "Phase 2 Validation",
        need("3.phase2.chat-same", "`POST /chat` keeps its form of answer."),
        need("3.phase2.stream-same", "`GET /events/stream` keeps its form of events."),
        need("3.phase2.old-sessions", "A conversation without account and instance still works."),
        note("3.phase2.rates", "Error rates and latency are to be watched by whoever migrates."),
    ),
    *section(
        3,
        "Phase 3: Deprecation & Cleanup (Optional)",
        note(
            "3.phase3.goal",
            "The aim of the third phase, which may wait for ever: the old routes go.",
        ),
    ),
    *section(
        3,
        "Phase 3: Deprecation & Cleanup (Optional) / Deliverables",
        need(
            "3.phase3.browser",
            "The browser chat fetches the list of instances, offers it, and uses the new URLs "
            "only.",
        ),
        need(
            "3.phase3.warning",
            "A call of an old route logs a deprecation warning that names the new path, and still "
            "works.",
        ),
        need(
            "3.phase3.usage",
            "Calls of old and new routes are counted apart, and callers of old ones can be found.",
        ),
        need("3.phase3.gone", "An operator can switch the old routes to 410 Gone."),
    ),
    *section(
        3,
        "Phase 3 Dependencies",
        note(
            "3.phase3.order",
            "The conditions for removing the old routes: little use left, warnings out, a month "
            "of watching.",
        ),
    ),
    *section(
        3,
        "Success Criteria",
        need("3.success.one-loop", "Every route runs the same turn loop and the same ledger."),
        need("3.success.tied", "A conversation belongs to one account and one instance."),
    ),
    *section(
        3,
        "Future Extensions",
        need(
            "3.future.router",
            "An instance `router-auto` of type `router` hands a message to another instance of "
            "its account and logs the choice.",
        ),
        need(
            "3.future.discovery",
            "`GET /accounts/{account}/agents` tells `name`, `description` and capabilities of "
            "each instance.",
        ),
        need(
            "3.future.templates",
            "A template in `config/agent_templates/` can be copied into a new instance.",
        ),
    ),
)
