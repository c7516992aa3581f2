"""What document 4 demands: profiles with observers, flow, prompt segments and tool access."""

from __future__ import annotations

from tests.requirements_entry import Requirement, need, section

SPEC4: tuple[Requirement, ...] = (
    *section(
        4,
        "1. Agent Profile Core Structure",
        need(
            "4.profile.folder",
            "Every `.yaml` file in `agent_profiles/profiles/` is one profile, to be used by any "
            "number of agents.",
        ),
        need(
            "4.profile.name",
            "`name` is the logical name by which agents refer to the profile; two profiles of one "
            "name are refused.",
        ),
        need(
            "4.profile.type",
            "`type` is the profile's role, such as `principal`, `associate` or `partner`.",
        ),
        need(
            "4.profile.llm-config-ref",
            "`llm_config_ref` names a shared LLM configuration; a name that does not exist is "
            "refused at loading.",
        ),
        need(
            "4.profile.pre-turn-observers", "`pre_turn_observers` is an optional list of observers."
        ),
        need(
            "4.profile.post-turn-observers",
            "`post_turn_observers` is an optional list of observers.",
        ),
        need("4.profile.flow-decider", "`flow_decider` is an optional list of rules."),
        need(
            "4.profile.system-prompt-construction",
            "`system_prompt_construction` is an object that says how the agent's own text is "
            "built.",
        ),
        need(
            "4.profile.tool-access-policy",
            "`tool_access_policy` is an object that says which tools the agent may use.",
        ),
        need(
            "4.profile.text-definitions",
            "`text_definitions` maps names to texts that any part of the profile may refer to.",
        ),
    ),
    *section(
        4,
        "2. The Core of Reactive Behavior: Observers",
        need(
            "4.observer.pre", "`pre_turn_observers` run before the model is asked, in their order."
        ),
        need(
            "4.observer.post",
            "`post_turn_observers` run after the model has answered, in their order.",
        ),
        need("4.observer.id", "`id` is unique in its profile; a second use is refused."),
        need("4.observer.type", "`type` must be `declarative`; any other is refused at loading."),
        need(
            "4.observer.condition",
            "`condition` is an expression over the agent's state; the observer acts only when it "
            "is true.",
        ),
        need(
            "4.observer.condition-path",
            "`v['path.to.value']` reads any part of the state, and a path that is not there reads "
            "as none.",
        ),
        need(
            "4.observer.condition-safe",
            "A condition can compare and combine values and nothing else; any other construct is "
            "refused when the profile is loaded.",
        ),
        need(
            "4.observer.action",
            "`action` is an object with a `type`; an unknown type is refused at loading.",
        ),
        need(
            "4.observer.add-to-inbox",
            "The action `add_to_inbox` puts an inbox item into the inbox of its target.",
        ),
        need("4.observer.target-self", "`target_agent_id` `self` means the observing agent."),
        need(
            "4.observer.inbox-source",
            "`inbox_item.source` names the kind of item, such as `SELF_REFLECTION_PROMPT`.",
        ),
        need(
            "4.observer.inbox-consumption",
            "`consumption_policy` `consume_on_read` means that an item is read once and then gone.",
        ),
        need(
            "4.observer.no-tool-call",
            "A post-turn observer on an empty `state.current_action` puts a reflection prompt "
            "before the model at the next step.",
        ),
    ),
    *section(
        4,
        "3. The Core of Decision Logic: Flow Decider",
        need(
            "4.flow.when",
            "The rules are asked after the model has answered and the post-turn observers have "
            "run.",
        ),
        need(
            "4.flow.order",
            "The rules are tried in their order, and the first whose condition is true decides.",
        ),
        need(
            "4.flow.condition",
            "A rule's `condition` obeys the same language and the same limits as an observer's.",
        ),
        need("4.flow.rule-id", "A rule carries an `id`, which is named in the trace of the turn."),
        need(
            "4.flow.continue-with-tool",
            "`continue_with_tool` executes the tool that `state.current_action` holds, under "
            "today's policy.",
        ),
        need(
            "4.flow.end-agent-turn",
            "`end_agent_turn` ends the turn, with a success or an error outcome where one is "
            "given.",
        ),
        need(
            "4.flow.loop-with-inbox-item",
            "`loop_with_inbox_item` sends a `SELF_REFLECTION_PROMPT` to the agent itself and "
            "makes another step.",
        ),
        need(
            "4.flow.loop-bounded",
            "Loops by inbox items count against the turn's limit of steps, and cannot go on for "
            "ever.",
        ),
        need(
            "4.flow.await-user-input",
            "`await_user_input` rests until the person writes again, and nothing waits in memory "
            "for it.",
        ),
        need(
            "4.flow.catch-all",
            "A rule with condition `True` decides whatever the rules above it left open.",
        ),
        need(
            "4.flow.no-match",
            "Where no rule decides, the turn goes on as it does without a profile.",
        ),
    ),
    *section(
        4,
        "4. Engineering the System Prompt (`system_prompt_construction`)",
        need(
            "4.prompt.only-system",
            "The construction builds the system prompt alone; what changes from step to step "
            "comes by inbox items.",
        ),
        need(
            "4.prompt.ingestor",
            "An inbox item is put into words by the ingestor of its source before the model sees "
            "it.",
        ),
        need(
            "4.prompt.segments-order",
            "`system_prompt_segments` are joined by their `order`, whatever their place in the "
            "file.",
        ),
        need(
            "4.prompt.static-text",
            "A `static_text` segment takes its text from `text_definitions` or from its own "
            "`content`.",
        ),
        need(
            "4.prompt.static-text-interpolation",
            "A `static_text` segment fills in state values such as `{{ "
            "state.agent_start_utc_timestamp }}`.",
        ),
        need(
            "4.prompt.state-value",
            "A `state_value` segment fetches a value from the state and formats it with its "
            "ingestor.",
        ),
        need(
            "4.prompt.tool-description",
            "A `tool_description` segment lists all tools that the agent may use in this turn.",
        ),
        need(
            "4.prompt.tool-contributed-context",
            "A `tool_contributed_context` segment holds the context that tools themselves provide.",
        ),
        need("4.prompt.unknown-segment", "A segment of any other type is refused at loading."),
    ),
    *section(
        4,
        "5. Controlling Capabilities (`tool_access_policy`)",
        need(
            "4.tools.whitelist",
            "A tool that the policy does not allow is neither shown to the model nor run.",
            "tests/host/test_policy_host.py::test_a_disabled_tool_is_neither_shown_nor_run",
        ),
        need(
            "4.tools.allowed-toolsets",
            "`allowed_toolsets` allows every tool of the named sets; a set that does not exist is "
            "refused.",
            "tests/registry/test_registry_policy.py::test_toolsets_and_single_tools_together_are_what_the_agent_has",
        ),
        need(
            "4.tools.allowed-individual-tools",
            "`allowed_individual_tools` allows single tools beside those of the sets.",
            "tests/host/test_policy_host.py::test_only_allowed_tools_are_shown",
        ),
    ),
)
