"""What document 1 demands: agents as data, their bindings, registries, prompt and configuration."""

from __future__ import annotations

from tests.requirements_entry import Requirement, need, note, section

SPEC1: tuple[Requirement, ...] = (
    *section(
        1,
        "Overview",
        need(
            "1.overview.many-agents",
            "One process runs several agents that are pure data, each with its own MCP servers, "
            "instructions and model settings.",
            shown_by="tests/host/test_one_message.py::test_two_bots_in_one_process_answer_as_two_agents_with_two_models",
        ),
    ),
    *section(
        1,
        "Domain/DTOs/AgentDefinition.cs",
        need(
            "1.definition.id",
            "An agent definition must carry an `id`; one without it is refused with its place and "
            "the missing field named.",
            shown_by="tests/registry/test_registry_document.py::test_an_agent_without_id_or_servers_is_refused",
        ),
        need(
            "1.definition.name",
            "An agent definition must carry a `name`.",
            shown_by="tests/registry/test_definition_fields.py::test_an_agent_without_id_or_name_is_refused_by_the_fields_name",
        ),
        need(
            "1.definition.description",
            "`description` may be absent, and is then empty rather than an error.",
            shown_by="tests/registry/test_definition_fields.py::test_what_may_be_left_out_is_empty_and_no_error",
        ),
        need(
            "1.definition.mcp-server-endpoints",
            "`mcpServerEndpoints` must be given as a list of texts; an agent with an empty list "
            "runs without MCP tools.",
            shown_by="tests/registry/test_registry_document.py::test_an_agent_without_id_or_servers_is_refused",
        ),
        need(
            "1.definition.whitelist-patterns",
            "`whitelistPatterns` may be absent, and is then an empty list: no tool runs unasked.",
            shown_by="tests/host/test_one_message.py::test_a_tool_that_no_pattern_allows_asks_a_person_and_the_turn_waits",
        ),
        need(
            "1.definition.custom-instructions",
            "`customInstructions` may be absent; given, it is the agent's own text in the system "
            "prompt.",
            shown_by="tests/host/test_requests.py::test_system_is_time_then_custom_then_base_then_prompts_and_stays_frozen",
        ),
        need(
            "1.definition.llm-overrides",
            "`llmOverrides` may be absent; the host's default LlmConfiguration then holds in full.",
            shown_by="tests/host/test_requests.py::test_the_hosts_defaults_fill_what_an_agent_leaves_open",
        ),
        need(
            "1.definition.llm-model",
            "`llmOverrides.model`, where set, is the model that the agent's turns ask.",
            shown_by="tests/host/test_one_message.py::test_two_bots_in_one_process_answer_as_two_agents_with_two_models",
        ),
        need(
            "1.definition.llm-temperature",
            "`llmOverrides.temperature`, where set, is a number that reaches the request wherever "
            "the model takes one.",
            shown_by="tests/host/test_requests.py::test_each_model_family_gets_the_settings_that_it_takes",
        ),
        need(
            "1.definition.llm-max-tokens",
            "`llmOverrides.maxTokens`, where set, is a whole number that limits each answer of "
            "the model.",
            shown_by="tests/host/test_requests.py::test_each_model_family_gets_the_settings_that_it_takes",
        ),
        need(
            "1.definition.llm-reasoning-effort",
            "`llmOverrides.reasoningEffort`, where set, is mapped to what the model offers for "
            "effort.",
            shown_by="tests/host/test_requests.py::test_each_model_family_gets_the_settings_that_it_takes",
        ),
        need(
            "1.definition.frozen",
            "A loaded definition and its LlmConfiguration are values that nothing changes in "
            "place.",
            shown_by="tests/registry/test_registry_document.py::test_definitions_are_frozen_and_equal_ones_have_one_text",
        ),
    ),
    *section(
        1,
        "Domain/DTOs/AgentBinding.cs",
        need(
            "1.binding.agent-id",
            "A binding must name its agent by `agentId`.",
            shown_by="tests/registry/test_definition_fields.py::test_a_binding_without_an_agent_is_refused_by_the_fields_name",
        ),
        need(
            "1.binding.type",
            "A binding must carry a `type`; a value outside the enumeration is refused with the "
            "allowed ones.",
            shown_by="tests/cli/test_check_agents.py::test_fifteen_planted_mistakes_are_all_found",
        ),
        need(
            "1.binding.binding-key",
            "A binding must carry a `bindingKey`, read according to its type.",
            shown_by="tests/registry/test_registry_binding.py::test_a_key_that_does_not_fit_its_type_is_refused",
        ),
        need(
            "1.binding.telegram-bot",
            "Type `TelegramBot` binds the bot whose token hash is the key.",
            shown_by="tests/registry/test_registry_binding.py::test_a_bot_is_bound_by_hash_by_id_or_by_username",
        ),
        need(
            "1.binding.chat-id",
            "Type `ChatId` binds the chat whose id is the key.",
            shown_by="tests/host/test_registry_commands.py::test_bots_chats_and_persons_are_bound_where_they_are_told",
        ),
        need(
            "1.binding.user-id",
            "Type `UserId` binds the person whose id is the key.",
            shown_by="tests/host/test_registry_commands.py::test_bots_chats_and_persons_are_bound_where_they_are_told",
        ),
    ),
    *section(
        1,
        "IAgentRegistry Interface (Domain/Contracts)",
        need(
            "1.registry.get",
            "Reading one agent by id gives its definition, or nothing where the id is unknown.",
            shown_by="tests/registry/test_registry_catalog.py::test_an_agent_is_created_read_updated_and_deleted",
        ),
        need(
            "1.registry.get-all",
            "Reading all agents gives every definition that this registry holds.",
            shown_by="tests/registry/test_registry_catalog.py::test_an_agent_is_created_read_updated_and_deleted",
        ),
        need(
            "1.registry.create",
            "Creating an agent stores it and gives back what was stored; an id that is taken is "
            "refused.",
            shown_by="tests/registry/test_registry_catalog.py::test_an_agent_is_created_read_updated_and_deleted",
        ),
        need(
            "1.registry.update",
            "Updating an agent replaces the stored definition and gives it back; an unknown id is "
            "refused.",
            shown_by="tests/registry/test_registry_catalog.py::test_an_agent_is_created_read_updated_and_deleted",
        ),
        need(
            "1.registry.delete",
            "Deleting an agent says true when it was there and is gone now, and false when there "
            "was none.",
            shown_by="tests/registry/test_registry_catalog.py::test_an_agent_is_created_read_updated_and_deleted",
        ),
    ),
    *section(
        1,
        "Implementations (Infrastructure/Agents/Registry)",
        need(
            "1.stores.file-read-only",
            "The file registry reads configuration and JSON and refuses every write with a word "
            "about where to edit instead.",
            shown_by="tests/registry/test_registry_catalog.py::test_what_the_file_owns_is_not_written",
        ),
        need(
            "1.stores.file-hot-reload",
            "A changed agents file is taken over by the running process without a restart.",
            shown_by="tests/registry/test_registry_file.py::test_a_save_is_felt_within_a_second",
        ),
        need(
            "1.stores.redis-read-write",
            "The Redis registry reads and writes, so an agent made at run time answers with no "
            "restart.",
            shown_by="tests/registry/test_registry_redis.py::test_a_created_agent_is_usable_at_once_and_seen_elsewhere",
        ),
        need(
            "1.stores.redis-key",
            "The Redis registry keeps an agent under the key `agent:definition:{id}`.",
            shown_by="tests/host/test_registry_live.py::test_a_raw_set_answers_the_next_message_on_two_replicas",
        ),
        need(
            "1.stores.composite",
            "The composite registry shows the agents of both registries as one set.",
            shown_by="tests/registry/test_registry_redis.py::test_the_file_wins_over_redis_and_what_it_owns_is_not_written",
        ),
        need(
            "1.stores.file-first",
            "Where file and Redis hold the same id, the composite gives the file's definition.",
            shown_by="tests/registry/test_registry_redis.py::test_the_file_wins_over_redis_and_what_it_owns_is_not_written",
        ),
    ),
    *section(
        1,
        "Bot-Per-Agent Model",
        need(
            "1.selection.one-bot-one-agent",
            "Each bot token is bound to exactly one agent; a second binding of the same bot is "
            "refused.",
            shown_by="tests/host/test_registry_live.py::test_two_names_of_one_bot_are_a_conflict_once_the_bot_has_said_its_name",
        ),
        need(
            "1.selection.identity",
            "Everything that one bot says, in any chat without a closer binding, comes from its "
            "one agent.",
            shown_by="tests/host/test_one_message.py::test_two_bots_in_one_process_answer_as_two_agents_with_two_models",
        ),
    ),
    *section(
        1,
        "IAgentBindingResolver Interface (Domain/Contracts)",
        need(
            "1.resolver.token-hash",
            "The resolver takes the hash of a bot token, never the token, and gives the agent's "
            "id or nothing.",
            shown_by="tests/registry/test_registry_catalog.py::test_a_bot_resolves_by_its_hash_then_to_the_default",
        ),
    ),
    *section(
        1,
        "Resolution Priority",
        need(
            "1.priority.bot-first",
            "A bot's own binding decides before the default agent does.",
            shown_by="tests/registry/test_registry_binding.py::test_each_rule_holds_once_all_before_it_are_gone",
        ),
        need(
            "1.priority.default-agent",
            "A bot without a binding is answered by the configured default agent.",
            shown_by="tests/registry/test_registry_catalog.py::test_a_bot_resolves_by_its_hash_then_to_the_default",
        ),
    ),
    *section(
        1,
        "MultiAgentFactory (Infrastructure/Agents)",
        need(
            "1.factory.steps",
            "A message leads to a binding, the binding to a definition, and the definition to the "
            "agent that runs the turn.",
            shown_by="tests/host/test_one_message.py::test_a_message_is_answered_by_the_agent_of_its_bot",
        ),
        need(
            "1.factory.overrides-on-defaults",
            "Each field set in `llmOverrides` replaces the host's default, each field left out "
            "keeps it.",
            shown_by="tests/registry/test_registry_catalog.py::test_later_layers_replace_only_what_they_may",
        ),
        need(
            "1.factory.instructions",
            "The turn's agent speaks with the custom instructions of the definition that was "
            "found.",
            shown_by="tests/host/test_one_message.py::test_a_message_is_answered_by_the_agent_of_its_bot",
        ),
        need(
            "1.factory.multi-agent-mode",
            "Agents as data are served where they are configured; the single-agent way is used "
            "only where legacy mode is detected.",
            shown_by="tests/host/test_registry_live.py::test_a_name_beside_configured_agents_changes_nothing",
        ),
    ),
    *section(
        1,
        "McpAgent Changes",
        need(
            "1.prompt.order",
            "The system prompt is ordered: time, custom instructions, base prompt, prompts of the "
            "MCP servers.",
            shown_by="tests/turn/test_prompt.py::test_time_comes_first_then_custom_then_base_then_the_servers_prompts",
        ),
        need(
            "1.prompt.time-line",
            "The system prompt begins with `Current time: yyyy-MM-dd HH:mm UTC` in universal time.",
            shown_by="tests/host/test_requests.py::test_system_is_time_then_custom_then_base_then_prompts_and_stays_frozen",
        ),
        need(
            "1.prompt.no-instructions",
            "Absent or empty custom instructions leave no trace in the system prompt.",
            shown_by="tests/turn/test_prompt.py::test_absent_or_empty_instructions_leave_no_trace",
        ),
    ),
    *section(
        1,
        "Multi-Agent Config (agents.json or env vars)",
        need(
            "1.config.agents",
            "`agents` in agents.json is a list of definitions with camel-case field names.",
            shown_by="tests/registry/test_registry_document.py::test_the_documents_own_example_loads_as_written",
        ),
        need(
            "1.config.bindings",
            "`bindings` in agents.json is a list of bindings with `agentId`, `type` and "
            "`bindingKey`.",
            shown_by="tests/registry/test_registry_document.py::test_the_documents_own_example_loads_as_written",
        ),
        need(
            "1.config.default-agent-id",
            "`defaultAgentId` in agents.json names the agent that answers where no binding "
            "matches.",
            shown_by="tests/registry/test_registry_document.py::test_the_documents_own_example_loads_as_written",
        ),
        need(
            "1.config.whitelist-form",
            "A whitelist pattern has the form `mcp:<server>:<tool>`, and `*` stands for any tool "
            "of that server.",
            shown_by="tests/tools/test_policy.py::test_what_a_whitelist_names_runs_and_all_else_asks",
        ),
    ),
    *section(
        1,
        "Environment Variables",
        need(
            "1.environment.indexed",
            "`AGENTS__0__ID`, `AGENTS__0__NAME` and their like build the list of agents from "
            "numbered variables.",
            shown_by="tests/registry/test_registry_environment.py::test_the_documents_own_example_loads_as_written",
        ),
        need(
            "1.environment.nested-list",
            "`AGENTS__0__MCPSERVERENDPOINTS__0` fills a list inside an agent.",
            shown_by="tests/registry/test_registry_environment.py::test_the_documents_own_example_loads_as_written",
        ),
        need(
            "1.environment.instructions",
            "`AGENTS__0__CUSTOMINSTRUCTIONS` fills the agent's own text.",
            shown_by="tests/host/test_registry_live.py::test_the_specs_environment_serves_an_agent_without_a_file",
        ),
        need(
            "1.environment.default-agent",
            "`DEFAULTAGENTID` names the default agent.",
            shown_by="tests/host/test_registry_live.py::test_the_specs_environment_serves_an_agent_without_a_file",
        ),
    ),
    *section(
        1,
        "Backward Compatibility",
        need(
            "1.legacy.detected",
            "Single-agent mode is used when `NAME` is set and the list of agents is empty, and "
            "not otherwise.",
            shown_by="tests/registry/test_registry_environment.py::test_a_single_agent_needs_a_bot_and_no_other_agents",
        ),
        need(
            "1.legacy.id",
            "The legacy agent's id is `NAME` in lower case.",
            shown_by="tests/registry/test_registry_environment.py::test_a_single_agent_comes_from_its_name_and_is_the_default",
        ),
        need(
            "1.legacy.name",
            "The legacy agent's name is `NAME` as it was written.",
            shown_by="tests/registry/test_registry_environment.py::test_a_single_agent_comes_from_its_name_and_is_the_default",
        ),
        need(
            "1.legacy.endpoints",
            "The legacy agent's MCP endpoints are those of the old list of MCP servers, in order.",
            shown_by="tests/registry/test_registry_environment.py::test_a_single_agent_comes_from_its_name_and_is_the_default",
        ),
        need(
            "1.legacy.whitelist",
            "The legacy agent keeps the old whitelist patterns.",
            shown_by="tests/registry/test_registry_environment.py::test_a_single_agent_comes_from_its_name_and_is_the_default",
        ),
    ),
    *section(
        1,
        "Phase 1: Foundation",
        note(
            "1.phase1.order",
            "The order of building: values, interfaces, registries, resolver; each is demanded by "
            "its own section.",
        ),
    ),
    *section(
        1,
        "Phase 2: Agent Creation",
        note(
            "1.phase2.order",
            "The order of building: instructions, prompt, factory, mode detection; each is "
            "demanded by its own section.",
        ),
    ),
    *section(
        1,
        "Phase 3: Integration",
        need(
            "1.phase3.composed",
            "The composition root picks single-agent or multi-agent mode by the same detection, "
            "with no switch of its own.",
            shown_by="tests/host/test_registry_live.py::test_a_name_beside_configured_agents_changes_nothing",
        ),
    ),
    *section(
        1,
        "Phase 4: Multi-Bot Support",
        need(
            "1.bots.many-tokens",
            "Several bot tokens can be configured for one process.",
            shown_by="tests/host/test_one_message.py::test_two_bots_in_one_process_answer_as_two_agents_with_two_models",
        ),
        need(
            "1.bots.bound-by-config",
            "Each configured token is bound to one agent by the `bindings` of the configuration.",
            shown_by="tests/host/test_one_message.py::test_two_bots_in_one_process_answer_as_two_agents_with_two_models",
        ),
        need(
            "1.bots.all-polled",
            "All configured bots are polled side by side by the one process.",
            shown_by="tests/host/test_one_message.py::test_two_bots_in_one_process_answer_as_two_agents_with_two_models",
        ),
        need(
            "1.bots.hash-travels",
            "Every message carries which bot it came through, so that the agent can be resolved "
            "from it.",
            shown_by="tests/host/test_one_message.py::test_two_bots_in_one_process_answer_as_two_agents_with_two_models",
        ),
    ),
    *section(
        1,
        "Critical Files",
        note(
            "1.files.map",
            "A map of files in another language; our rooms for the same parts are laid down by "
            "the import contracts.",
        ),
    ),
    *section(
        1,
        "Verification",
        need(
            "1.verification.crud",
            "Tests show create, read, update and delete on each registry, and the resolution from "
            "bot to agent.",
            shown_by="tests/registry/test_registry_catalog.py::test_an_agent_is_created_read_updated_and_deleted",
        ),
        need(
            "1.verification.redis-agent-usable",
            "An agent written to Redis while the host runs answers a real message.",
            shown_by="tests/host/test_registry_live.py::test_a_raw_set_answers_the_next_message_on_two_replicas",
        ),
        need(
            "1.verification.legacy-start",
            "A start with `NAME` alone serves one agent as before.",
            shown_by="tests/host/test_registry_live.py::test_a_name_alone_makes_the_one_agent_of_all_bots",
        ),
        need(
            "1.verification.two-bots",
            "With two bots bound to two agents, each bot is answered by its own agent.",
            shown_by="tests/host/test_one_message.py::test_two_bots_in_one_process_answer_as_two_agents_with_two_models",
        ),
        need(
            "1.verification.two-models",
            "Two agents with different model overrides ask two different models.",
            shown_by="tests/host/test_one_message.py::test_two_bots_in_one_process_answer_as_two_agents_with_two_models",
        ),
    ),
)
