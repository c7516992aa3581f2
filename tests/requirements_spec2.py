"""What document 2 demands: presets, a person's own settings over an agent."""

from __future__ import annotations

from tests.requirements_entry import Requirement, need, section

SPEC2: tuple[Requirement, ...] = (
    *section(
        2,
        "Overview",
        need(
            "2.preset.many",
            "One person may own several presets, and choose one when a conversation starts.",
        ),
        need(
            "2.preset.base",
            "Every preset stands on an agent that an admin has defined; an unknown base is "
            "refused.",
        ),
        need(
            "2.preset.definition-untouched",
            "A preset changes model, prompt text and parameters for its owner, and never the "
            "definition itself.",
        ),
        need(
            "2.preset.default", "A person may mark one preset as the default for new conversations."
        ),
        need(
            "2.preset.private",
            "A preset is seen, used, changed and deleted by its owner alone; for anyone else it "
            "does not exist.",
        ),
    ),
    *section(
        2,
        "Configuration Options",
        need(
            "2.field.instance-name",
            "`instance_name` is a slug that is unique for its owner; a malformed or taken one is "
            "refused.",
        ),
        need("2.field.display-name", "`display_name` is the name that menus and lists show."),
        need(
            "2.field.base-agent-name",
            "`base_agent_name` names the agent definition that the preset inherits from.",
        ),
        need(
            "2.field.primary-model",
            "`primary_model` is optional and replaces the model; one outside the allowed list is "
            "refused.",
        ),
        need(
            "2.field.system-prompt-override",
            "`system_prompt_override` is optional and replaces the agent's own text, where the "
            "agent allows it, and no host, account or client text.",
        ),
        need(
            "2.field.system-prompt-append",
            "`system_prompt_append` is optional and is added after the agent's own text.",
        ),
        need(
            "2.field.config-overrides",
            "`config_overrides` is an optional object; a key that nobody knows is refused by name.",
        ),
        need(
            "2.field.config-overrides.values",
            "`config_overrides` may set `temperature` and `max_tokens`, clamped to the model and "
            "to ceilings.",
        ),
        need(
            "2.field.config-overrides.tools",
            "`allowed_tools` in `config_overrides` narrows the agent's tools and can add none.",
        ),
        need(
            "2.field.is-default",
            "`is_default` true makes the preset its owner's default and takes the mark from the "
            "previous one in the same write.",
        ),
    ),
    *section(
        2,
        "Managing Instances",
        need(
            "2.route.templates",
            "`GET /api/v1/agent-instances/templates` lists the agents and the models that a "
            "preset may build on.",
        ),
        need("2.route.list", "`GET /api/v1/agent-instances` lists the caller's own presets."),
        need("2.route.create", "`POST /api/v1/agent-instances` creates a preset for the caller."),
        need(
            "2.route.update",
            "`PATCH /api/v1/agent-instances/{id}` changes the given fields and keeps the others.",
        ),
        need(
            "2.route.delete",
            "`DELETE /api/v1/agent-instances/{id}` takes a preset out of use and keeps its "
            "record; its name is shown no more.",
        ),
    ),
    *section(
        2,
        "Example Workflow",
        need(
            "2.workflow.templates-first",
            "A caller finds an agent among the templates and can name it as a base at once.",
        ),
        need(
            "2.workflow.append-and-model",
            "A preset with appended text and another model runs with the base agent's text, then "
            "its own, on that model.",
        ),
        need(
            "2.workflow.in-chat",
            "A conversation started with `agent_instance_id` uses the preset; one started with "
            "`agent_config_name` uses the bare agent.",
        ),
        need(
            "2.workflow.applied-at-runtime",
            "The preset is laid over the base agent as it is at the time of the turn, so later "
            "changes of the base are felt.",
        ),
    ),
)
