"""Thirty-odd broken profiles and model configurations, and how each is told."""

from __future__ import annotations

from dataclasses import dataclass

HEAD = "name: {name}\n"
OBSERVER = """post_turn_observers:
  - id: look
    condition: "{condition}"
    action:
      type: add_to_inbox
      inbox_item:
        source: {source}
"""
RULE = """flow_decider:
  - id: rule
    condition: {condition}
    action:
      type: {type}
"""


def observer(condition: str = "True", source: str = "LOOK") -> str:
    """An observer that is good, but for what is given."""
    return OBSERVER.format(condition=condition, source=source)


def observers(number: int, source: str) -> str:
    """Several observers of one source."""
    head, own = OBSERVER.split("\n", 1)
    several = (
        own.format(condition="True", source=source).replace("look", f"look{at}")
        for at in range(number)
    )
    return f"{head}\n{''.join(several)}"


def rule(condition: str = "True", act: str = "await_user_input") -> str:
    """A rule of the flow that is good, but for what is given."""
    return RULE.format(condition=condition, type=act)


def segment(*lines: str) -> str:
    """A segment of the prompt."""
    own = "\n".join(f"      {line}" for line in lines)
    return f"system_prompt_construction:\n  system_prompt_segments:\n    -\n{own}\n"


@dataclass(frozen=True, slots=True)
class Broken:
    """One mistake in a file: at which line of it, and words of what is told."""

    text: str
    line: int
    words: str
    config: bool = False

    def content(self, name: str) -> str:
        """The file, of a profile or a configuration of this name."""
        return HEAD.format(name=name) + self.text


BROKEN = [
    Broken("typ: principal\n", 2, "unknown field 'typ'; did you mean 'type'?"),
    Broken("type: [a]\n", 2, "'type' must be text in quotes"),
    Broken("llm_config_ref: nowhere\n", 2, "there is no model configuration 'nowhere'; "),
    Broken(
        rule("1"), 4, "'flow_decider[0].condition' must be text in quotes; put quotes around it"
    ),
    Broken("llm_config_ref: 'no where'\n", 2, "is not a valid name of a profile"),
    Broken("flow_decider: wait\n", 2, "'flow_decider' must be a list in [ ]"),
    Broken(rule("state.step == 1"), 4, "column 1; write the whole path into the brackets"),
    Broken(rule("\"  v['state.step'] =< 3\""), 4, "cannot be parsed at column 19"),
    Broken(rule("\"'größe' == size\""), 4, "not allowed at column 12; read the state with"),
    Broken(rule("\"v['message.text'].lower() == 'x'\""), 4, "functions cannot be called here"),
    Broken(rule("\"v['state.step'] + 1 == 2\""), 4, "arithmetic is not possible here"),
    Broken(rule("\"1 < v['state.step'] < 3\""), 4, "compares three values at once"),
    Broken(rule("\"__import__('os').system('true')\""), 4, "functions cannot be called here"),
    Broken(rule(act="stop"), 6, "must be 'continue_with_tool', 'end_agent_turn'"),
    Broken(rule(act="await_user_input\n      outcome: error"), 7, "'outcome' does not belong to"),
    Broken(rule(act="end_agent_turn\n      outcome: fine"), 7, "must be 'success' or 'error'"),
    Broken(
        rule(act="loop_with_inbox_item\n      inbox_item: {source: a b}"), 7, "not a valid name"
    ),
    Broken("flow_decider:\n  - id: rule\n    action: {type: await_user_input}\n", 3, "is missing"),
    Broken(observer(source="A\n        consumption_policy: keep"), 9, "must be 'consume_on_read'"),
    Broken(observer().replace("condition", "type: code\n    condition"), 4, "'declarative'"),
    Broken(observer().replace("look", "'a b'"), 3, "'a b' is not a valid name"),
    Broken(observer() + observer().replace("post", "pre"), 3, "the id 'look' is used twice"),
    Broken(
        observer().replace("add_to_inbox", "set_state\n      path: state.params.a\n      value: 1"),
        9,
        "'inbox_item' does not belong to",
    ),
    Broken(
        "pre_turn_observers:\n  - id: a\n    condition: true\n    action:\n      type: set_state\n"
        "      path: state.step\n      value: 1\n",
        7,
        "'state.step' cannot be set; write state.params.<name>",
    ),
    Broken(
        observer().replace("inbox_item:", "target_agent_id: No One\n      inbox_item:"),
        7,
        "'No One' is no agent; write self, or the id of an agent",
    ),
    Broken(observer() + f"        payload: {'x' * 5_000}\n", 9, "has more than 4000 characters"),
    Broken(segment("type: poem"), 5, "must be 'static_text', 'state_value', 'tool_description'"),
    Broken(segment("type: static_text"), 5, "a 'static_text' has one text; give one of"),
    Broken(
        segment("type: static_text", "text_definition: greeting"),
        6,
        "no text 'greeting' is defined; define it under 'text_definitions'",
    ),
    Broken(segment("type: state_value"), 5, "a 'state_value' has no 'path'; add 'path'"),
    Broken(segment("type: state_value", "path: state.step"), 6, "changes while a turn runs"),
    Broken(
        segment("type: static_text", "content: 'Step {{ state.step }}'"), 6, "changes while a turn"
    ),
    Broken(segment("type: tool_description", "content: x"), 6, "'content' does not belong to"),
    Broken(
        segment("type: state_value", "path: person.name", "ingestor: poem"), 7, "must be 'plain_"
    ),
    Broken("tool_access_policy: {allowed_individual_tools: ['mcp:crm']}\n", 2, "does not name"),
    Broken("text_definitions: {key: sk-ant-api03-abcdefghijklmnop}\n", 2, "is written in plain"),
    Broken("type: &a x\n", 2, "anchors and aliases are not supported"),
    Broken("type: !!python/object x\n", 2, "tags are not supported"),
    Broken("type: a: b\n", 2, "mapping values are not allowed"),
    Broken("type: x\ntype: y\n", 3, "the name 'type' occurs twice in one object"),
    Broken(rule("\"v['state.step'] # one\""), 4, "has a comment at column 17; write it into"),
    Broken(rule("\"ｖ['state.step'] == 1\""), 4, "has 'ｖ' outside of quotes at column 1"),
    Broken(rule("\"v['state.step'] < 9e999\""), 4, "too large at column 19"),
    Broken('type: "\\uD800"\n', 2, "write the character itself: none has this number"),
    Broken(
        observer().replace("add_to_inbox", "notify\n      text: hi"),
        6,
        "must be 'add_to_inbox' or 'set_state'",
    ),
    Broken(
        "text_definitions: {LONG: '" + "x" * 11_000 + "'}\n" + observers(3, "LONG"),
        20,
        "with this rule the rules can add more than 32000 characters of payloads and texts; "
        "shorten them",
    ),
    Broken("temperature: 3\n", 2, "'temperature' must be at most 2", config=True),
    Broken("model: ${MODEL}\n", 2, "a ${NAME} in 'model' is not expanded", config=True),
    Broken("maxtoken: 1\n", 2, "unknown field 'maxtoken'; did you mean 'max_tokens'", config=True),
]
"""Each is a mistake of its own kind."""
