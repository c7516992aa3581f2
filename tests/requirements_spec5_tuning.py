"""What document 5 demands in 9.22 to 9.27: the three tiers and the prompt they make."""

from __future__ import annotations

from tests.requirements_entry import Requirement, need, section

TUNING: tuple[Requirement, ...] = (
    *section(
        5,
        "9.22 Agent Fine-Tuning Model",
        need(
            "5.9.22.builder",
            "The platform tier alone sets base prompts, the agent's own tools, models, guardrails "
            "and cost limits.",
        ),
        need(
            "5.9.22.account",
            "The account tier sets extensions, defaults, tools on or off, skills, voice, "
            "approvals and version preferences.",
        ),
        need(
            "5.9.22.client",
            "The client tier sets voice, formats, rules, references, feedback and the client's "
            "integrations.",
        ),
    ),
    *section(
        5,
        "9.23 What's Tunable at Each Tier",
        need("5.9.23.base-prompt", "The base prompt can be set by the platform tier only."),
        need(
            "5.9.23.account-extension", "The account extension can be set by the account tier only."
        ),
        need("5.9.23.client-additions", "Client additions can be set at the client tier only."),
        need("5.9.23.core-tools", "The agent's own tools can be set by the platform tier only."),
        need("5.9.23.tools-on-off", "Tools can be switched on or off by the account tier only."),
        need("5.9.23.skills", "Custom skills can be added by the account tier only."),
        need(
            "5.9.23.client-integrations",
            "A client's integrations can be set at the client tier only.",
        ),
        need(
            "5.9.23.parameters",
            "Default parameters are the platform's, overrides the account's, preferences the "
            "client's.",
        ),
        need("5.9.23.format", "Format templates can be set at all three tiers."),
        need("5.9.23.tone-and-length", "Tone and length can be set by account and client."),
        need(
            "5.9.23.model",
            "The model is chosen by the platform tier; account instances and presets choose as "
            "documents 3 and 2 allow.",
        ),
        need(
            "5.9.23.temperature",
            "Temperature is set by the platform and, within its limits, by the account.",
        ),
        need(
            "5.9.23.max-tokens",
            "The limit of tokens is set by the platform and, within its limits, by the account.",
        ),
        need("5.9.23.guardrails", "Guardrails are set by the platform tier only."),
        need(
            "5.9.23.content-filters",
            "Content filters of the platform can be made stricter by the account, never looser.",
        ),
        need("5.9.23.approval-gates", "Approvals can be demanded by the account tier."),
    ),
    *section(
        5,
        "9.24 Tier 1: Agent Builder Tuning",
        need("5.9.24.default-model", "The platform has a default model."),
        need(
            "5.9.24.fallback-model",
            "The platform has a fallback model, used when the default one cannot answer.",
            "tests/host/test_turns.py"
            "::test_a_fallback_model_answers_where_the_first_one_stays_busy",
        ),
        need(
            "5.9.24.max-tokens", "The platform's limit of tokens for one answer is 4096 unless set."
        ),
        need(
            "5.9.24.temperature",
            "The platform's temperature is 0.7 unless set, where the model takes one.",
        ),
        need(
            "5.9.24.max-iterations",
            "A turn makes at most 25 steps unless set lower.",
            "tests/host/test_guardrails.py::test_a_turn_makes_25_model_requests_and_no_agent_makes_more",
        ),
        need(
            "5.9.24.max-tool-calls",
            "A turn makes at most 10 tool calls unless set lower.",
            "tests/host/test_guardrails.py::test_an_agent_cannot_have_more_than_the_host_gives",
        ),
        need(
            "5.9.24.confirmation",
            "Tools that match `delete_*` or `publish_*` ask a person first, whatever else allows "
            "them.",
            "tests/host/test_approvals.py::test_what_must_be_confirmed_asks_even_if_whitelisted_and_never_for_good",
        ),
        need(
            "5.9.24.blocked-topics",
            "Blocked topics such as `illegal_activity` and `harmful_content` are part of the "
            "host's own prompt and of its checks.",
            "tests/host/test_outgoing.py::test_topics_of_the_host_and_of_the_agent_are_blocked",
        ),
        need(
            "5.9.24.pii-handling",
            "Handling of personal data is `redact`, `warn` or `block`, and `redact` unless set.",
            "tests/host/test_outgoing.py::test_nothing_is_taken_out_until_an_agent_or_the_host_asks_for_it",
        ),
        need("5.9.24.not-relaxed", "No account can relax a guardrail of the platform."),
        need(
            "5.9.24.tokens-per-request",
            "A request uses at most 8000 tokens unless set otherwise.",
            "tests/host/test_guardrails.py::test_an_agent_cannot_have_more_than_the_host_gives",
        ),
        need(
            "5.9.24.requests-per-minute",
            "At most 60 requests a minute are made unless set otherwise; more are refused with a "
            "word.",
            "tests/host/test_guardrails.py::test_60_requests_of_one_person_in_a_minute_are_the_most",
        ),
        need(
            "5.9.24.cost-tier",
            "The cost tier is `standard` unless set, and an account may be given a higher one.",
        ),
        need(
            "5.9.24.base-prompt",
            "The base prompt is a template that is filled with agent, purpose and capabilities.",
        ),
        need(
            "5.9.24.behaviors",
            "Defaults are output format `markdown`, sources included, length `comprehensive`, and "
            "errors that are explained.",
        ),
    ),
    *section(
        5,
        "9.25 Tier 2: Instance Tuning",
        need(
            "5.9.25.key",
            "An account tuning belongs to one account and one agent type, or to all its agents.",
        ),
        need(
            "5.9.25.prompt-extension", "`prompt_extension` is optional and added to the base text."
        ),
        need(
            "5.9.25.instruction-overrides",
            "`instruction_overrides` maps names to instructions that stand in place of the "
            "defaults of these names.",
        ),
        need("5.9.25.default-vertical", "`default_vertical` is optional."),
        need("5.9.25.default-region", "`default_region` is optional."),
        need("5.9.25.default-language", "`default_language` is `en` unless set."),
        need(
            "5.9.25.vertical-knowledge",
            "`vertical_knowledge` is optional text about the vertical, put into the prompt.",
        ),
        need("5.9.25.disabled-tools", "`disabled_tools` lists tools to hide, empty by default."),
        need(
            "5.9.25.tool-config",
            "`tool_config_overrides` maps tools to default arguments and limits for their calls.",
        ),
        need(
            "5.9.25.behavior-params",
            "`behavior_params` may set `verbosity`, `creativity` and `proactivity`, which become "
            "instructions.",
        ),
        need(
            "5.9.25.output-preferences",
            "`output_preferences` may set format, rationale and length, which become instructions.",
        ),
        need("5.9.25.brand-voice", "`agency_brand_voice` is optional text on the account's voice."),
        need("5.9.25.terminology", "`agency_terminology` lists words to `use` and to `avoid`."),
        need(
            "5.9.25.approval-for",
            "`require_approval_for` lists tools that ask a person first, empty by default.",
        ),
        need(
            "5.9.25.audit-outputs",
            "`audit_all_outputs` is false by default; true keeps every output in the audit.",
        ),
        need("5.9.25.changed", "An account tuning tells when and by whom it was last changed."),
        need(
            "5.9.25.route",
            "`PUT /api/v1/instance/{instance_id}/agents/{agent_type}/tuning` sets the given "
            "fields.",
        ),
    ),
    *section(
        5,
        "9.26 Tier 3: Client Tuning",
        need(
            "5.9.26.key",
            "A client tuning belongs to one account and one client, and to one agent type or, "
            "with null, to all.",
        ),
        need("5.9.26.brand-voice", "`brand_voice` is optional text."),
        need("5.9.26.tone-keywords", "`tone_keywords` is a list, empty by default."),
        need(
            "5.9.26.content-rules",
            "`content_rules` holds lists under `always`, `never` and `prefer`.",
        ),
        need(
            "5.9.26.competitor-rules",
            "`competitor_rules` holds `never_mention`, `positioning` and `differentiation`.",
        ),
        need(
            "5.9.26.format-preferences",
            "`format_preferences` maps kinds of output to their formats.",
        ),
        need(
            "5.9.26.length-preferences",
            "`length_preferences` maps kinds of output to lengths, with a `default`.",
        ),
        need("5.9.26.guidelines", "`brand_guidelines_doc_id` refers to an uploaded document."),
        need("5.9.26.style-guide", "`style_guide_doc_id` refers to an uploaded document."),
        need(
            "5.9.26.approved-examples",
            "`approved_examples` lists examples with `type`, `text` and `context`.",
        ),
        need(
            "5.9.26.learned-preferences",
            "`learned_preferences` holds preferred styles, rejected patterns, successful "
            "approaches and a confidence from 0 to 1.",
        ),
        need(
            "5.9.26.feedback-summary",
            "`feedback_summary` holds totals, the approval rate and common corrections.",
        ),
        need("5.9.26.times", "A client tuning tells when it was made and last changed."),
        need(
            "5.9.26.route",
            "`PUT /api/v1/instance/{instance_id}/clients/{client_id}/tuning` sets the given "
            "fields.",
        ),
    ),
    *section(
        5,
        "9.27 Prompt Assembly Pipeline",
        need(
            "5.9.27.tiers",
            "The prompt is made of the agent's text, then the account's sections, then the "
            "client's.",
        ),
        need(
            "5.9.27.account-order",
            "The account's sections come as extension, vertical knowledge, voice, behaviour, each "
            "only where it is set.",
        ),
        need("5.9.27.client-heading", "The client's part begins with the client's name."),
        need(
            "5.9.27.client-order",
            "The client's sections come as voice, tone, content rules, competitor rules, formats, "
            "learned preferences, examples, each only where it is set.",
        ),
        need("5.9.27.no-client", "Without a client there is no client part."),
        need(
            "5.9.27.content-rules",
            "Content rules are listed as Always, Never and Prefer, and an empty list leaves no "
            "heading.",
        ),
        need(
            "5.9.27.learned",
            "Learned preferences are listed as styles, approaches that work and patterns to "
            "avoid, and said to come from feedback.",
        ),
    ),
)
