"""What document 5 demands from chapter 10 on: outer systems, patterns, operation, reference."""

from __future__ import annotations

from tests.requirements_entry import Requirement, need, note, section

HOST: tuple[Requirement, ...] = (
    *section(
        5,
        "10.1 HTTP Client Setup",
        need(
            "5.10.1.base",
            "A skill's or server's HTTP calls go to its configured base URL, with its key as "
            "`Authorization: Bearer`, in JSON.",
        ),
        need(
            "5.10.1.limits",
            "Such a call has 30 seconds in all and 10 to connect, unless set otherwise.",
        ),
    ),
    *section(
        5,
        "10.2 Common ERP Operations",
        note(
            "5.10.2.operations",
            "Examples of reading, creating, updating and deleting records of an outer system; "
            "with us these are tools of MCP servers and skills.",
        ),
    ),
    *section(
        5,
        "10.3 Module-to-Agent Mapping",
        note("5.10.3.mapping", "Which of one product's agents serves which of its modules."),
    ),
    *section(
        5,
        "10.4 Error Handling Pattern",
        need(
            "5.10.4.timeout",
            "A timeout gives the model an error with a suggestion and `retry` true.",
            "tests/skills/test_webhook_skills.py::test_every_failure_has_the_specs_shape_and_names_no_address",
        ),
        need(
            "5.10.4.unauthorized",
            "Status 401 gives an error with `action_required`.",
            "tests/skills/test_webhook_skills.py::test_every_failure_has_the_specs_shape_and_names_no_address",
        ),
        need(
            "5.10.4.forbidden",
            "Status 403 gives an error that says that permission is missing.",
            "tests/skills/test_webhook_skills.py::test_every_failure_has_the_specs_shape_and_names_no_address",
        ),
        need(
            "5.10.4.not-found",
            "Status 404 gives an error with the `resource` that was asked for.",
            "tests/skills/test_webhook_skills.py::test_every_failure_has_the_specs_shape_and_names_no_address",
        ),
        need(
            "5.10.4.server-error",
            "Status 500 and above gives an error with `retry` true.",
            "tests/skills/test_webhook_skills.py::test_every_failure_has_the_specs_shape_and_names_no_address",
        ),
        need(
            "5.10.4.other-status",
            "Any other error status gives an error with the status.",
            "tests/skills/test_webhook_skills.py::test_every_failure_has_the_specs_shape_and_names_no_address",
        ),
        need(
            "5.10.4.other-error",
            "Any other failure gives an error with its `type`, and no secret in its words.",
            "tests/host/test_skills_internal.py::test_every_end_of_a_function_is_a_result_and_the_host_goes_on",
        ),
    ),
    *section(
        5,
        "11.1 Agent Chaining",
        need(
            "5.11.1.delegate",
            "An agent can be a tool of another agent: the call carries a task, the other agent's "
            "output is the result.",
        ),
        need(
            "5.11.1.same-scope",
            "A delegated task keeps account and person of the one that delegates.",
        ),
        need(
            "5.11.1.bounded",
            "Delegation has a limit of depth, so that agents cannot call each other for ever.",
        ),
    ),
    *section(
        5,
        "11.2 Streaming Responses",
        need(
            "5.11.2.chunks",
            "A streamed task is `text/event-stream` with each piece as `data:` holding JSON with "
            "`text`.",
        ),
        need("5.11.2.done", "A streamed task ends with `data: [DONE]`."),
    ),
    *section(
        5,
        "11.3 Conditional Tool Access",
        need(
            "5.11.3.by-role",
            "A tool can be limited to roles, and others neither see it nor run it.",
            "tests/host/test_policy_host.py::test_a_tool_for_admins_is_there_for_admins_alone",
        ),
        need(
            "5.11.3.by-flag",
            "A tool can depend on a feature that is switched on or off.",
            "tests/host/test_policy_host.py::test_a_condition_as_text_decides_by_role_flag_chat_and_person",
        ),
    ),
    *section(
        5,
        "11.4 Tool Result Caching",
        need(
            "5.11.4.same-call",
            "The result of a repeatable read-only tool can be used again for the same tool and "
            "arguments, whatever the order of the arguments.",
            "tests/host/test_tool_cache.py::test_a_failure_is_never_kept_and_a_skills_result_is",
        ),
        need(
            "5.11.4.read-only",
            "A tool that is not known as read-only is never answered from a cache.",
            "tests/host/test_tool_cache.py::test_a_result_is_used_again_for_the_same_call_of_the_same_person",
        ),
        need(
            "5.11.4.isolated",
            "A kept result is never used for another account.",
            "tests/tools/test_cache.py::test_a_key_is_shared_as_far_as_its_scope",
        ),
    ),
    *section(
        5,
        "11.5 Handoff Pattern",
        need(
            "5.11.5.handoff",
            "An agent can hand a conversation over to another agent by a tool call.",
        ),
        need(
            "5.11.5.summary",
            "A handover carries a summary that the next agent sees, and notes and goals where "
            "given.",
        ),
    ),
    *section(
        5,
        "11.6 Browser Automation Skill",
        note(
            "5.11.6.meaning",
            "A browser as a skill: pages are shown to the model as short lists of element "
            "references.",
        ),
    ),
    *section(
        5,
        "Installation",
        need(
            "5.11.6.optional",
            "Browser tools are optional; without their program the host runs and says that they "
            "are missing.",
        ),
    ),
    *section(
        5,
        "Basic Usage",
        need(
            "5.11.6.flow",
            "An agent can open a page, take a snapshot, act on references, take a picture and "
            "close, all as tools.",
        ),
        need("5.11.6.own-session", "Each agent of an account has a browser session of its own."),
    ),
    *section(
        5,
        "Key Concepts",
        need(
            "5.11.6.refs",
            "A snapshot names elements `@e1`, `@e2` and on, and a reference holds until the page "
            "changes.",
        ),
        need("5.11.6.interactive-only", "A snapshot can be limited to interactive elements."),
        need(
            "5.11.6.isolated",
            "Sessions of two accounts share no cookies, pages or storage, and run side by side.",
        ),
    ),
    *section(
        5,
        "Available Methods",
        need(
            "5.11.6.method.open", "`open(url)` goes to a page, under the rules for outgoing URLs."
        ),
        need(
            "5.11.6.method.snapshot", "`snapshot(interactive_only, compact)` gives the references."
        ),
        need("5.11.6.method.click", "`click(ref)` clicks an element."),
        need("5.11.6.method.fill", "`fill(ref, text)` fills a field."),
        need("5.11.6.method.get-text", "`get_text(ref)` gives an element's text."),
        need("5.11.6.method.screenshot", "`screenshot(path)` takes a picture."),
        need(
            "5.11.6.method.wait-for-text",
            "`wait_for_text(text)` waits for content, within a limit.",
        ),
        need(
            "5.11.6.method.capture-proof",
            "`capture_proof(url, dir, prefix)` takes a picture with a time in its name.",
        ),
    ),
    *section(
        5,
        "Agent Use Cases",
        note("5.11.6.uses.examples", "Examples of agents that use a browser."),
    ),
    *section(
        5,
        "Proof-of-Work Pattern",
        need(
            "5.11.6.proof.file",
            "A proof is a file named `<prefix>_<yyyymmdd>_<hhmmss>.png`, given back as an "
            "artifact.",
        ),
    ),
    *section(
        5,
        "12.1 Unit Testing Tools",
        need(
            "5.12.1.tool-fields",
            "Tests show that every tool shown to the model has name, description and an input "
            "schema of type object.",
            "tests/host/test_pinned_tools.py::test_each_tool_has_name_words_and_schema_and_shows_nothing_that_people_cannot_see",
        ),
    ),
    *section(
        5,
        "12.2 Integration Testing",
        need(
            "5.12.2.whole-task",
            "A test runs a whole task through the real parts and reads success and output.",
        ),
    ),
    *section(
        5,
        "12.3 Prompt Testing",
        need("5.12.3.sections", "Tests show that an assembled prompt has its sections."),
        need("5.12.3.vertical", "Tests show that a specialised prompt names its vertical."),
    ),
    *section(
        5,
        "12.4 Tool Schema Validation",
        need(
            "5.12.4.valid-schema",
            "Every tool's input schema is checked as JSON Schema with `properties`; an invalid "
            "one is refused by name.",
        ),
    ),
    *section(
        5,
        "13.1 Configuration",
        need("5.13.1.api-host", "`api_host` sets the address on which the API listens."),
        need("5.13.1.api-port", "`api_port` sets the port, 8000 unless set."),
        need(
            "5.13.1.model-key",
            "The model's key must be given by the environment, and its absence is a clear error "
            "at start.",
        ),
        need("5.13.1.model", "`model` sets the default model."),
        need(
            "5.13.1.max-concurrent-agents",
            "`max_concurrent_agents` limits turns that run at once, 10 unless set.",
        ),
        need("5.13.1.tool-timeout", "`tool_timeout_seconds` limits a tool call, 30 unless set."),
        need(
            "5.13.1.max-iterations",
            "`max_iterations` limits the steps of a turn, 20 unless set; the lowest limit that is "
            "set holds.",
        ),
        need("5.13.1.env-file", "Settings can also come from a file `.env`."),
        note(
            "5.13.1.erp",
            "Address and key of an outer system are with us settings of a server or a skill.",
        ),
    ),
    *section(
        5,
        "13.2 Docker Deployment",
        need(
            "5.13.2.image", "A container image builds from the repository and serves on its port."
        ),
    ),
    *section(
        5,
        "13.3 Monitoring Metrics",
        need(
            "5.13.3.requests",
            "The counter `agent_requests_total` counts turns by `agent_name` and `status`.",
        ),
        need(
            "5.13.3.latency",
            "The histogram `agent_latency_seconds` measures turns by `agent_name`.",
        ),
        need(
            "5.13.3.tools",
            "The counter `tool_executions_total` counts tool calls by `agent_name`, `tool_name` "
            "and `status`.",
        ),
        need(
            "5.13.3.failures",
            "A turn that fails is counted with status `error`, one that succeeds with `success`.",
        ),
    ),
    *section(
        5,
        "13.4 Health Checks",
        need(
            "5.13.4.health",
            "`GET /health` gives `status`, `version` and `agents_available`.",
            shown_by="tests/host/test_health.py::test_a_host_that_polls_is_live_ready_and_well",
        ),
        need(
            "5.13.4.ready",
            "`GET /health/ready` gives `ready` and `checks` of each dependency.",
            shown_by="tests/host/test_health.py::test_a_host_that_polls_is_live_ready_and_well",
        ),
        need(
            "5.13.4.ready-false",
            "`ready` is true only when every check is.",
            shown_by="tests/host/test_health.py::test_a_store_that_is_away_makes_the_host_unready_and_it_recovers",
        ),
    ),
    *section(
        5,
        "14.1 System Prompt Guidelines",
        note("5.14.1.advice", "Advice for prompts."),
    ),
    *section(
        5,
        "14.2 Tool Design Guidelines",
        note(
            "5.14.2.advice",
            "Advice for tools: clear descriptions, structured results, time limits.",
        ),
        need("5.14.2.no-propagation", "No exception of a tool ends the turn that called it."),
    ),
    *section(
        5,
        "14.3 Security Guidelines",
        need(
            "5.14.3.access",
            "A tool call that reaches for another account's resource is refused with an access "
            "error.",
        ),
        need(
            "5.14.3.inputs",
            "A tool's input is checked against its schema before the tool runs.",
            "tests/skills/test_webhook_skills.py::test_input_that_does_not_fit_the_schema_is_never_sent",
        ),
        need(
            "5.14.3.credentials",
            "No tool asks the model for raw credentials; a schema with such a field is refused.",
            "tests/host/test_skills.py::test_a_mistake_in_a_skill_is_told",
        ),
    ),
    *section(
        5,
        "14.4 Performance Guidelines",
        need("5.14.4.parallel", "Independent tool calls of one step run side by side."),
        need("5.14.4.pooled", "Connections to servers and skills are kept and shared."),
        need("5.14.4.timeouts", "Every outgoing call has limits for connecting and for reading."),
    ),
    *section(
        5,
        "15.1 Common Issues",
        need(
            "5.15.1.loops",
            "An agent that repeats the same call with the same arguments is noticed and stopped "
            "with a word.",
        ),
        note(
            "5.15.1.hints",
            "Hints for other troubles: wrong tool, timeouts, invention, forgotten context, wrong "
            "format.",
        ),
    ),
    *section(
        5,
        "15.2 Debugging Tools",
        need(
            "5.15.2.debug",
            "With debug logging on, each tool call is logged with name, input and result, and "
            "secrets stay out.",
        ),
    ),
    *section(
        5,
        "15.3 Error Recovery",
        need(
            "5.15.3.retries",
            "A turn that runs into a timeout is tried at most 3 times, with waits that double.",
        ),
        need(
            "5.15.3.gave-up",
            "After the last try the result has `success` false and says that the time ran out.",
        ),
        need(
            "5.15.3.other-error",
            "Any other failure gives a result with `success` false and `error_type` in its "
            "metadata.",
        ),
    ),
    *section(
        5,
        "16.1 Agent Template",
        note("5.16.1.template", "The template of an agent in code; with us an agent is data."),
    ),
    *section(
        5,
        "16.2 Tool Count by Agent",
        note("5.16.2.counts", "How many tools one product's agents have."),
    ),
    *section(
        5,
        "16.3 API Endpoints",
        need("5.16.3.execute", "`POST /api/v1/agent/execute` executes a task."),
        need(
            "5.16.3.status",
            "`GET /api/v1/agent/status/:id` gives a task's status; an unknown id is not found.",
        ),
        need("5.16.3.cancel", "`DELETE /api/v1/agent/task/:id` cancels a running task."),
        need("5.16.3.agents", "`GET /api/v1/agents` lists all agents of the caller's account."),
        need("5.16.3.health", "`GET /api/v1/health` tells the host's health."),
    ),
    *section(
        5,
        "16.4 Execute Request Format",
        need("5.16.4.agent-type", "`agent_type` must name the agent to run."),
        need("5.16.4.task", "`task` must be given and not be empty."),
        need("5.16.4.tenant-id", "`tenant_id` must agree with the account of the caller's key."),
        need("5.16.4.user-id", "`user_id` names the person for whom the task runs."),
        need(
            "5.16.4.metadata", "`metadata` is an optional object that becomes part of the context."
        ),
        need("5.16.4.stream", "`stream` is false by default; true answers as a stream."),
        need(
            "5.16.4.specialization",
            "`specialization` may set `language`, `vertical` and `region` for this task.",
        ),
    ),
    *section(
        5,
        "16.5 Glossary",
        note(
            "5.16.5.words",
            "The document's words; ours and their equals are kept in our own vocabulary.",
        ),
    ),
    *section(
        5,
        "Appendix A: Checklist for New Agents",
        note(
            "5.appendix-a.checklist",
            "A checklist for agents in code; what of it holds for data is demanded above.",
        ),
    ),
    *section(
        5,
        "From Hardcoded Logic to Agent",
        note("5.appendix-b.migration", "How fixed logic becomes a task for an agent."),
    ),
    *section(
        5,
        "Adding Specialization to Existing Agent",
        need(
            "5.appendix-b.later",
            "An agent without specialisations can be given vertical, language and client later, "
            "and callers that name none see no change.",
        ),
    ),
)
