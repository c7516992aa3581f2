"""What document 5 demands in chapters 1 to 8: agents, prompts, tools, specialisation."""

from __future__ import annotations

from tests.requirements_entry import Requirement, need, note, section

AGENTS: tuple[Requirement, ...] = (
    *section(
        5,
        "Table of Contents",
        note("5.contents.list", "A list of the sections below."),
    ),
    *section(
        5,
        "1.1 What is an Agent?",
        note(
            "5.1.1.meaning",
            "What the document calls an agent: a purpose, expertise in its prompt, and tools.",
        ),
    ),
    *section(
        5,
        "1.2 Why Build Custom Agents?",
        note("5.1.2.uses", "Examples of what custom agents are good for."),
    ),
    *section(
        5,
        "1.3 Agent Categories",
        note(
            "5.1.3.tiers",
            "A picture of one product's own agents in tiers; our agents are data and carry no "
            "fixed tier.",
        ),
    ),
    *section(
        5,
        "2.1 System Architecture",
        need(
            "5.2.1.many-accounts",
            "One host serves many accounts side by side through one HTTP interface.",
        ),
        need("5.2.1.execute", "`POST /api/v1/agent/execute` runs a task with an agent."),
        need("5.2.1.status", "`GET /api/v1/agent/status` tells how a task stands."),
        need("5.2.1.agents", "`GET /api/v1/agents` lists the agents that the caller may use."),
    ),
    *section(
        5,
        "2.2 Data Flow",
        need(
            "5.2.2.gate-first",
            "A request passes authentication and rate limits before any agent is looked up.",
        ),
        need(
            "5.2.2.order",
            "After the gate come the choice of the agent, the turn loop with model and tools, and "
            "the answer.",
        ),
    ),
    *section(
        5,
        "2.3 Key Components",
        need("5.2.3.context", "A task carries a context of account, person and metadata."),
        need("5.2.3.result", "A task gives a result with an output and artifacts."),
        need(
            "5.2.3.tool-schemas",
            "Every tool that the model sees carries a JSON Schema for its input.",
            "tests/host/test_pinned_tools.py::test_each_tool_has_name_words_and_schema_and_shows_nothing_that_people_cannot_see",
        ),
    ),
    *section(
        5,
        "3. Core Paradigm: Think → Act → Create",
        note(
            "5.3.paradigm",
            "The three words for one turn: the model plans, tools act, the answer is made.",
        ),
    ),
    *section(
        5,
        "How It Works in Code",
        need(
            "5.3.loop",
            "A turn asks the model, runs the tools it calls, gives it the results, and asks again.",
        ),
        need(
            "5.3.end",
            "A turn is over when the model stops without calling a tool; its text is the output.",
        ),
        need("5.3.task-first", "The person's task is the first message of the loop."),
    ),
    *section(
        5,
        "4.1 Minimal Agent Template",
        need(
            "5.4.1.minimum",
            "An agent needs a name, a prompt and its tools, and nothing else, to answer.",
        ),
        need(
            "5.4.1.unknown-tool",
            "A call of a tool that does not exist gives the model an error result that names it.",
        ),
    ),
    *section(
        5,
        "4.2 Register Your Agent",
        need(
            "5.4.2.registered",
            "An agent is known as soon as its definition is stored, and no code lists agents.",
        ),
    ),
    *section(
        5,
        "4.3 Add API Route (Optional)",
        need(
            "5.4.3.own-route",
            "Each agent can be run by a route of its own, with account, person, task and metadata "
            "in the request.",
        ),
        need(
            "5.4.3.released", "Whatever ends the request, the resources of its turn are released."
        ),
    ),
    *section(
        5,
        "5.1 Four Essential Components",
        note(
            "5.5.1.parts",
            "The four parts of an agent: identity, prompt, tool definitions, tool execution.",
        ),
    ),
    *section(
        5,
        "5.2 BaseAgent Class Reference",
        need("5.5.2.name", "Every agent has an identifier that is unique."),
        need("5.5.2.run", "Every agent can be run to its end for one result."),
        need("5.5.2.stream", "Every agent can be run as a stream of text pieces."),
    ),
    *section(
        5,
        "5.3 Context and Results",
        need(
            "5.5.3.context-tenant-id",
            "The context's `tenant_id` is the account, and keeps everything of the task inside it.",
        ),
        need("5.5.3.context-user-id", "The context's `user_id` is who asks."),
        need("5.5.3.context-task", "The context's `task` is what is asked."),
        need(
            "5.5.3.context-metadata",
            "The context's `metadata` is an object, empty where nothing is given.",
        ),
        need("5.5.3.result-success", "The result's `success` says whether the task was completed."),
        need("5.5.3.result-output", "The result's `output` is the agent's text."),
        need(
            "5.5.3.result-artifacts",
            "The result's `artifacts` lists what was produced beside the text.",
        ),
        need(
            "5.5.3.result-metadata",
            "The result's `metadata` tells more about the run, such as the tools used.",
        ),
    ),
    *section(
        5,
        "6.1 System Prompt Structure",
        note("5.6.1.sections", "Advice for the sections of a good prompt, from role to examples."),
    ),
    *section(
        5,
        "6.2 Example: RFP Agent System Prompt",
        note("5.6.2.example", "One example of such a prompt."),
    ),
    *section(
        5,
        "6.3 Context Injection",
        need(
            "5.6.3.context",
            "Account, person and further context of the task are put before the model by the host.",
        ),
        need(
            "5.6.3.approach",
            "The host's own prompt tells the model to understand, then use tools, then answer.",
        ),
    ),
    *section(
        5,
        "6.4 Dynamic System Prompts",
        need(
            "5.6.4.vertical",
            "Text for the vertical is part of the prompt only when that vertical is chosen.",
        ),
        need(
            "5.6.4.language",
            "Text for the language is part of the prompt only when that language is chosen.",
        ),
    ),
    *section(
        5,
        "7.1 Tool Definition Schema",
        need(
            "5.7.1.name",
            "A tool has a `name` that is unique in the turn.",
            "tests/host/test_pinned_tools.py::test_each_tool_has_name_words_and_schema_and_shows_nothing_that_people_cannot_see",
        ),
        need(
            "5.7.1.description",
            "A tool has a `description` that the model reads.",
            "tests/host/test_pinned_tools.py::test_each_tool_has_name_words_and_schema_and_shows_nothing_that_people_cannot_see",
        ),
        need(
            "5.7.1.input-schema",
            "A tool has an `input_schema` whose type is `object`.",
            "tests/host/test_pinned_tools.py::test_each_tool_has_name_words_and_schema_and_shows_nothing_that_people_cannot_see",
        ),
        need(
            "5.7.1.types",
            "An input schema may use string, integer, enumeration, array and nested object, with "
            "descriptions and defaults.",
        ),
        need(
            "5.7.1.required",
            "`required` lists the fields that a call must give; a call without them is answered "
            "with an error result.",
        ),
    ),
    *section(
        5,
        "7.2 Tool Description Best Practices",
        note(
            "5.7.2.advice",
            "Advice for descriptions: what the tool does, when to use it, what it gives back.",
        ),
    ),
    *section(
        5,
        "7.3 Tool Implementation Pattern",
        need(
            "5.7.3.timeout", "A tool that takes too long gives an error result with `retry` true."
        ),
        need(
            "5.7.3.http-error",
            "A tool whose HTTP call is refused gives an error result with the status.",
        ),
        need(
            "5.7.3.other-error",
            "Any other failure of a tool gives an error result, and the turn goes on.",
        ),
        need(
            "5.7.3.nothing-found",
            "An empty finding is a result with its note and suggestion, not a failure.",
        ),
    ),
    *section(
        5,
        "7.4 Tool Categories",
        note(
            "5.7.4.kinds",
            "Six kinds of tools: query, create, update, analyze, validate, integrate.",
        ),
    ),
    *section(
        5,
        "7.5 Complex Tool Example",
        need(
            "5.7.5.nested",
            "A schema with nested objects, arrays of enumerated values and defaults reaches the "
            "model unchanged.",
        ),
    ),
    *section(
        5,
        "8.1 Specialization Dimensions",
        need("5.8.1.vertical", "An agent can be specialised by vertical."),
        need("5.8.1.region", "An agent can be specialised by region."),
        need("5.8.1.language", "An agent can be specialised by language."),
        need(
            "5.8.1.client",
            "An agent can be specialised by client, with the client's voice, preferences and "
            "rules.",
        ),
    ),
    *section(
        5,
        "8.2 Implementing Specializations",
        need(
            "5.8.2.texts",
            "Each chosen dimension adds its text after the agent's own, in the order vertical, "
            "region, language.",
        ),
        need(
            "5.8.2.defaults", "Vertical, region and client default to none, and language to `en`."
        ),
        need("5.8.2.unknown", "A value for which no text exists adds none, and the turn goes on."),
        need("5.8.2.name", "A specialised agent's shown name tells its vertical and its region."),
    ),
    *section(
        5,
        "8.3 Usage Patterns",
        need(
            "5.8.3.combined",
            "Dimensions can be combined freely, or all be left out, for the same agent.",
        ),
        need("5.8.3.client-rules", "With a client chosen, that client's rules are loaded."),
    ),
    *section(
        5,
        "8.4 Specialization Reference",
        need(
            "5.8.4.verticals",
            "Texts can be given for the verticals Beauty, Fashion, Food, Technology, Finance and "
            "Healthcare, as data.",
        ),
        need(
            "5.8.4.regions",
            "Texts can be given for the regions GCC, MENA, US, EU and APAC, as data.",
        ),
    ),
)
