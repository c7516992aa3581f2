"""What document 5 demands in 9.1 to 9.11: account tuning, skills, clients."""

from __future__ import annotations

from tests.requirements_entry import Requirement, need, note, section

ACCOUNTS: tuple[Requirement, ...] = (
    *section(
        5,
        "9. Instance-Level Deployment & Scaling",
        note(
            "5.9.question",
            "The question of the chapter: how accounts differ while the agents stay one.",
        ),
    ),
    *section(
        5,
        "9.1 The Scaling Challenge",
        note(
            "5.9.1.challenge",
            "Why changes for all must not break what an account has set for itself.",
        ),
    ),
    *section(
        5,
        "9.2 Three-Layer Architecture",
        need(
            "5.9.2.core",
            "An account cannot change an agent definition; only its own layers over it.",
        ),
        need("5.9.2.account", "What an account sets is stored as data and felt without a restart."),
        need("5.9.2.skills", "An account can add skills without a deployment."),
    ),
    *section(
        5,
        "9.3 Data Model for Instance Configuration",
        need("5.9.3.tuning-key", "An account tuning belongs to one account and one agent type."),
        need(
            "5.9.3.enabled",
            "`enabled` is true by default; false takes the agent away from this account.",
        ),
        need(
            "5.9.3.prompt-extension",
            "`prompt_extension` is optional text, added after the agent's own.",
        ),
        need(
            "5.9.3.default-vertical",
            "`default_vertical` is optional and holds where a request names no vertical.",
        ),
        need(
            "5.9.3.default-region",
            "`default_region` is optional and holds where a request names no region.",
        ),
        need(
            "5.9.3.default-language",
            "`default_language` is `en` unless set, and holds where a request names no language.",
        ),
        need(
            "5.9.3.disabled-tools",
            "`disabled_tools` is a list, empty by default, of tools that this account's agent "
            "never sees.",
        ),
        need("5.9.3.tuning-skills", "An account tuning knows its skills."),
        need("5.9.3.tuning-times", "An account tuning tells when it was made and last changed."),
        need(
            "5.9.3.skill-account",
            "A skill belongs to one account, and to one agent's tuning or to all.",
        ),
        need(
            "5.9.3.skill-name",
            "A skill must have a `name`.",
            "tests/host/test_skills.py::test_a_mistake_in_a_skill_is_told",
        ),
        need(
            "5.9.3.skill-description",
            "A skill must have a `description` for the model.",
            "tests/host/test_skills.py::test_a_mistake_in_a_skill_is_told",
        ),
        need(
            "5.9.3.skill-input-schema",
            "A skill must have an `input_schema` that is a valid JSON Schema.",
            "tests/host/test_skills.py::test_a_mistake_in_a_skill_is_told",
        ),
        need(
            "5.9.3.skill-execution-type",
            "A skill must have an `execution_type` of `webhook`, `internal` or `script`.",
        ),
        need(
            "5.9.3.skill-webhook-url",
            "A webhook skill has a `webhook_url`; without one it is refused.",
            "tests/host/test_skills.py::test_a_mistake_in_a_skill_is_told",
        ),
        need(
            "5.9.3.skill-webhook-auth",
            "`webhook_auth` is optional, and no secret of it is ever readable.",
            "tests/host/test_skills.py::test_a_skill_is_a_tool_that_runs_with_its_secret_unseen_by_the_model",
        ),
        need(
            "5.9.3.skill-internal-handler",
            "An internal skill names a handler that the host has registered; an unknown one is "
            "refused.",
            "tests/host/test_skills_internal.py::test_an_unknown_handler_and_two_packages_with_one_name_are_told_and_left_out",
        ),
        need(
            "5.9.3.skill-enabled",
            "A skill's `enabled` is true by default; a disabled skill is not offered.",
            "tests/host/test_skills.py::test_a_skill_that_is_disabled_or_without_its_secret_is_not_offered",
        ),
        need(
            "5.9.3.skill-requires-approval",
            "A skill's `requires_approval` is false by default; true asks a person before each "
            "run.",
            "tests/host/test_skills.py::test_a_skill_that_requires_approval_asks_each_time",
        ),
        need("5.9.3.skill-created", "A skill tells by whom and when it was made."),
    ),
    *section(
        5,
        "9.4 Runtime Agent Assembly",
        need(
            "5.9.4.layers",
            "A turn's agent is assembled from definition, account tuning and account skills, in "
            "this order.",
        ),
        need("5.9.4.per-turn", "The assembly is made anew for each turn."),
        need("5.9.4.unknown-type", "An agent type that does not exist is refused by name."),
        need("5.9.4.no-tuning", "An account without a tuning gets the bare agent."),
        need(
            "5.9.4.enabled-skills", "Only enabled skills of this account and this agent are loaded."
        ),
    ),
    *section(
        5,
        "9.5 Skill Extension System",
        need(
            "5.9.5.webhook",
            "A webhook skill calls the account's HTTP endpoint and gives the response to the "
            "model.",
            "tests/host/test_skills.py::test_a_skill_is_a_tool_that_runs_with_its_secret_unseen_by_the_model",
        ),
        need(
            "5.9.5.internal",
            "An internal skill calls a registered handler inside the host.",
            "tests/host/test_skills_internal.py::test_a_package_brings_a_skill_to_a_host_beside_one_that_is_broken",
        ),
        need(
            "5.9.5.script",
            "A script skill is announced for later; asked for now, it is refused with a word.",
            "tests/host/test_skills.py::test_a_mistake_in_a_skill_is_told",
        ),
    ),
    *section(
        5,
        "Webhook Skill Example",
        need(
            "5.9.5.definition.fields",
            "A skill is given as name, description, input schema, execution type, URL and auth in "
            "one object.",
            "tests/host/test_skills.py::test_a_skill_is_a_tool_that_runs_with_its_secret_unseen_by_the_model",
        ),
        need(
            "5.9.5.definition.auth-bearer",
            "Auth of type `bearer` names its token by `token_env`, never by value.",
            "tests/host/test_skills.py::test_a_skill_is_a_tool_that_runs_with_its_secret_unseen_by_the_model",
        ),
    ),
    *section(
        5,
        "Skill Executor",
        need(
            "5.9.5.executor.by-type",
            "The execution type decides how a skill runs; an unknown type gives an error result "
            "that names it.",
        ),
        need(
            "5.9.5.executor.bearer",
            "Auth `bearer` sends `Authorization: Bearer` with the secret.",
            "tests/skills/test_webhook_skills.py::test_a_skill_sends_the_specs_body_with_its_secret_and_gives_back_json",
        ),
        need(
            "5.9.5.executor.api-key",
            "Auth `api_key` sends the secret in the header named by `header`, looked up by "
            "`key_env`.",
            "tests/host/test_skills.py::test_an_api_key_goes_into_its_header_and_a_bad_one_leaves_its_skill_out",
        ),
        need(
            "5.9.5.executor.body",
            "The call is a POST of JSON with `input` and `context`, the latter with `instance_id` "
            "and `user_id`.",
            "tests/skills/test_webhook_skills.py::test_a_skill_sends_the_specs_body_with_its_secret_and_gives_back_json",
        ),
        need(
            "5.9.5.executor.result",
            "A successful response's JSON is the tool's result.",
            "tests/skills/test_webhook_skills.py::test_a_result_is_data_as_json_text",
        ),
        need(
            "5.9.5.executor.limit",
            "A webhook has 30 seconds.",
            "tests/skills/test_webhook_skills.py::test_a_webhook_has_30_seconds_unless_its_document_gives_it_less",
        ),
        need(
            "5.9.5.executor.timeout",
            "A webhook that takes longer gives an error result with `retry` true.",
            "tests/skills/test_webhook_skills.py::test_every_failure_has_the_specs_shape_and_names_no_address",
        ),
        need(
            "5.9.5.executor.http-error",
            "A webhook that answers with an error status gives an error result with that status.",
            "tests/skills/test_webhook_skills.py::test_every_failure_has_the_specs_shape_and_names_no_address",
        ),
    ),
    *section(
        5,
        "9.6 Agent with Instance Configuration",
        need(
            "5.9.6.disabled-first",
            "Disabled tools are taken out of the agent's own tools before skills are added.",
        ),
        need(
            "5.9.6.skill-as-tool",
            "A skill appears to the model as a tool with its name, description and input schema, "
            "and no inner marks.",
            "tests/host/test_skills.py::test_a_skill_is_a_tool_that_runs_with_its_secret_unseen_by_the_model",
        ),
        need(
            "5.9.6.extension-section",
            "The prompt extension stands in a section of its own after the base text.",
        ),
        need(
            "5.9.6.skill-dispatch",
            "A call of a skill's name runs the skill, any other call runs the agent's own tool.",
        ),
    ),
    *section(
        5,
        "9.7 Update Propagation Model",
        need(
            "5.9.7.kept",
            "A new release of an agent leaves every account's tuning and skills as they are.",
        ),
        need("5.9.7.next-turn", "An account's change is felt at the next turn, with no restart."),
        need("5.9.7.own-only", "An account's change is felt by no other account."),
        need("5.9.7.extends", "An account's layer extends the agent's text and never replaces it."),
        need(
            "5.9.7.hide-only", "An account can hide the agent's own tools and cannot add to them."
        ),
        need(
            "5.9.7.name-clash",
            "A skill with the name of one of the agent's own tools is refused.",
            "tests/host/test_skills_internal.py::test_a_skill_with_the_name_of_a_servers_tool_is_refused",
        ),
        need("5.9.7.compatible", "A release is checked for compatibility before it is put to use."),
    ),
    *section(
        5,
        "9.8 Instance Configuration API",
        need(
            "5.9.8.list",
            "`GET /api/v1/instance/{instance_id}/agents` lists the account's tunings of all "
            "agents.",
        ),
        need(
            "5.9.8.update",
            "`PUT /api/v1/instance/{instance_id}/agents/{agent_type}` sets the account's tuning "
            "of one agent.",
        ),
        need(
            "5.9.8.add-skill",
            "`POST /api/v1/instance/{instance_id}/agents/{agent_type}/skills` adds a skill.",
        ),
        need(
            "5.9.8.remove-skill",
            "`DELETE /api/v1/instance/{instance_id}/skills/{skill_id}` removes a skill.",
        ),
        need(
            "5.9.8.test-skill",
            "`POST /api/v1/instance/{instance_id}/skills/{skill_id}/test` runs a skill with a "
            "sample input and gives its result.",
        ),
    ),
    *section(
        5,
        "9.9 Real-World Scaling Example",
        need(
            "5.9.9.three-accounts",
            "Three accounts with different tunings and skills of one agent all get its new "
            "release and keep their own.",
        ),
    ),
    *section(
        5,
        "9.10 Client-Specific Agent Rules",
        need("5.9.10.key", "Client rules belong to one account, one client and one agent type."),
        need(
            "5.9.10.prompt-additions",
            "`prompt_additions` is added to the prompt when the work is for this client.",
        ),
        need(
            "5.9.10.required-approvals",
            "`required_approvals` lists tools that ask a person first when the work is for this "
            "client.",
        ),
        need(
            "5.9.10.data-restrictions",
            "`data_restrictions` names fields that are hidden from the model in tool results.",
        ),
        need(
            "5.9.10.preferred-tone",
            "`preferred_tone`, such as `formal`, `casual` or `technical`, is told to the model.",
        ),
        need("5.9.10.preferred-language", "`preferred_language` is told to the model."),
        need(
            "5.9.10.brand-guidelines",
            "`brand_guidelines_doc_id` refers to an uploaded document of guidelines.",
        ),
        need(
            "5.9.10.section",
            "Client rules stand in a section of their own, after everything of the account.",
        ),
        need(
            "5.9.10.only-with-client",
            "Without `client_id` in the request's metadata, or without rules for it, the prompt "
            "has no client section.",
        ),
    ),
    *section(
        5,
        "9.11 Scaling Diagram",
        note(
            "5.9.11.diagram",
            "A picture of one image serving several accounts, each with its own data.",
        ),
    ),
)
