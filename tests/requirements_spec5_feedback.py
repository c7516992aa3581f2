"""What document 5 demands in 9.28 to 9.34: feedback, governance, audit, tuning routes."""

from __future__ import annotations

from tests.requirements_entry import Requirement, need, note, section

FEEDBACK: tuple[Requirement, ...] = (
    *section(
        5,
        "9.28 Feedback Loop System",
        need(
            "5.9.28.buttons",
            "A person can approve, reject, correct or comment on an answer, in a chat by buttons.",
        ),
        need("5.9.28.stored", "Each piece of feedback is stored with the output it is about."),
        need(
            "5.9.28.analysed",
            "Feedback is analysed for what is approved, rejected and corrected, and why.",
        ),
        need(
            "5.9.28.suggested",
            "Suggestions say on how many corrections they rest, and can be applied, reviewed or "
            "dismissed.",
        ),
        need(
            "5.9.28.learned",
            "Learned preferences are updated by themselves or after a human's yes, as configured.",
        ),
        need("5.9.28.felt", "An applied suggestion is felt in the client's next turn."),
    ),
    *section(
        5,
        "9.29 Feedback Data Model",
        need(
            "5.9.29.scope", "Feedback belongs to one account and, where there is one, to a client."
        ),
        need("5.9.29.agent-type", "Feedback carries `agent_type`."),
        need("5.9.29.task-id", "Feedback carries `task_id`, the turn it is about."),
        need("5.9.29.output-text", "Feedback carries `output_text`."),
        need(
            "5.9.29.output-metadata", "Feedback carries `output_metadata`, such as the tools used."
        ),
        need(
            "5.9.29.feedback-type",
            "`feedback_type` is `approved`, `rejected`, `corrected` or `partial_approved`.",
        ),
        need("5.9.29.corrected-text", "`corrected_text` and `correction_reason` are optional."),
        need(
            "5.9.29.correction-category",
            "`correction_category` is optional, such as `tone`, `factual`, `format`, "
            "`brand_voice`, `missing_info` or `too_long`.",
        ),
        need("5.9.29.rejection", "`rejection_reason` and `rejection_category` are optional."),
        need("5.9.29.comment", "`comment` is optional."),
        need("5.9.29.rating", "`rating` is optional and a whole number from 1 to 5."),
        need("5.9.29.by", "Feedback carries `feedback_by` and `feedback_at`."),
        need(
            "5.9.29.analysis",
            "`analysis` is filled by the analysis with patterns, suggested rules and similar "
            "corrections.",
        ),
        need(
            "5.9.29.pattern-scope",
            "A pattern analysis belongs to one account, and to a client and an agent type where "
            "given.",
        ),
        need(
            "5.9.29.pattern-period", "A pattern analysis carries `period_start` and `period_end`."
        ),
        need(
            "5.9.29.pattern-counts",
            "A pattern analysis counts outputs, approved, rejected and corrected.",
        ),
        need(
            "5.9.29.pattern-rate",
            "`approval_rate` is the share of approved outputs, 0.0 where there are none.",
        ),
        need(
            "5.9.29.pattern-lists",
            "A pattern analysis lists `common_corrections`, `common_rejections` and "
            "`successful_patterns`.",
        ),
        need(
            "5.9.29.pattern-suggested",
            "`suggested_rules` lists rules with `type`, `rule` and `confidence`.",
        ),
        need(
            "5.9.29.pattern-status",
            "`suggestion_status` is `pending`, `applied`, `dismissed` or `partial_applied`, and "
            "`pending` at first.",
        ),
        need(
            "5.9.29.pattern-applied", "An applied analysis carries `applied_by` and `applied_at`."
        ),
    ),
    *section(
        5,
        "9.30 Feedback Analysis Service",
        need("5.9.30.lookback", "An analysis looks back 30 days unless told otherwise."),
        need(
            "5.9.30.too-little",
            "Fewer than 10 pieces of feedback give status `insufficient_data` and say how many "
            "are needed.",
        ),
        need(
            "5.9.30.complete",
            "Enough feedback gives status `complete` with period, metrics, three kinds of "
            "patterns and suggestions.",
        ),
        need(
            "5.9.30.by-model",
            "Corrections are given to a model to name patterns and rules, at most 50 of them and "
            "500 characters of each text.",
        ),
        need(
            "5.9.30.structured",
            "The model's findings are read as JSON; findings that cannot be read make no "
            "suggestion and no crash.",
        ),
        need(
            "5.9.30.never-corrections",
            "A correction pattern seen 3 times with confidence 0.8 or more suggests a `never` "
            "rule.",
        ),
        need(
            "5.9.30.never-rejections",
            "A rejection pattern seen 3 times with confidence 0.8 or more suggests a `never` rule.",
        ),
        need(
            "5.9.30.prefer-successes",
            "A success pattern seen 5 times with confidence 0.7 or more suggests a `prefer` rule.",
        ),
        need(
            "5.9.30.evidence",
            "A suggestion carries its confidence, its evidence count and at most 3 examples.",
        ),
        need("5.9.30.sorted", "Suggestions are sorted by confidence, highest first."),
    ),
    *section(
        5,
        "9.31 Tuning Governance",
        need(
            "5.9.31.engineer",
            "`spokestack_engineer` reads and writes the platform tier, and the others for support "
            "only.",
        ),
        need(
            "5.9.31.instance-admin",
            "`instance_admin` reads the platform tier and reads and writes account and client "
            "tiers.",
        ),
        need(
            "5.9.31.instance-manager",
            "`instance_manager` reads platform and account tiers and reads and writes the client "
            "tier.",
        ),
        need(
            "5.9.31.account-manager",
            "`account_manager` reads and writes the client tier and nothing else.",
        ),
        need(
            "5.9.31.client-contact",
            "`client_contact` reads the client tier and writes only feedback, approved examples "
            "and preferences there.",
        ),
        need(
            "5.9.31.default-deny", "A role or a tier that the table does not know may do nothing."
        ),
        need("5.9.31.limited-write", "A limited writer is refused a full write."),
        need(
            "5.9.31.approval-core-prompt",
            "A change of an agent's own prompt needs engineering and quality review.",
        ),
        need(
            "5.9.31.approval-core-tool",
            "A new tool of an agent needs engineering and security review.",
        ),
        need(
            "5.9.31.approval-extension",
            "A change of an account's extension needs an instance admin.",
        ),
        need("5.9.31.approval-skill", "A new skill needs an instance admin."),
        need("5.9.31.approval-voice", "A change of a client's voice needs an account manager."),
        need("5.9.31.approval-never", "A client's `never` rule needs an account manager."),
        need(
            "5.9.31.approval-learned",
            "A learned preference is applied by itself where `auto_apply_learned_preferences` is "
            "true, else by an account manager.",
        ),
        need(
            "5.9.31.audited",
            "Every change of a tuning leaves an audit record, whichever door it came through.",
        ),
        need(
            "5.9.31.audit-tier",
            "An audit record's `tier` is `agent_builder`, `instance` or `client`.",
        ),
        need(
            "5.9.31.audit-entity",
            "An audit record carries `entity_type`, one of `prompt`, `tool`, `rule` and "
            "`preference`, and an optional `entity_id`.",
        ),
        need(
            "5.9.31.audit-scope",
            "An audit record carries account, and agent type and client where they apply.",
        ),
        need(
            "5.9.31.audit-change-type",
            "An audit record's `change_type` is `create`, `update` or `delete`.",
        ),
        need(
            "5.9.31.audit-values",
            "An audit record carries `field_changed`, `old_value` and `new_value`.",
        ),
        need("5.9.31.audit-who", "An audit record carries `changed_by` and `created_at`."),
        need(
            "5.9.31.audit-why",
            "An audit record carries optional `change_reason` and `ticket_reference`.",
        ),
        need(
            "5.9.31.audit-impact",
            "An audit record carries `affected_clients` and `requires_review`, empty and false by "
            "default.",
        ),
    ),
    *section(
        5,
        "9.32 Tuning UI Wireframe",
        need("5.9.32.voice", "The client dashboard shows and edits voice and tone keywords."),
        need(
            "5.9.32.rules",
            "The client dashboard shows Always, Never and Prefer rules and adds to them.",
        ),
        need(
            "5.9.32.suggestions",
            "The client dashboard shows suggestions with their evidence and examples, to apply or "
            "dismiss.",
        ),
        need(
            "5.9.32.metrics",
            "The client dashboard shows the approval rate, totals and top correction reasons of "
            "30 days.",
        ),
        need("5.9.32.examples", "The client dashboard lists approved examples and adds to them."),
        need("5.9.32.history", "The client dashboard leads to the history of the client's tuning."),
    ),
    *section(
        5,
        "9.33 Tuning API Summary",
        need(
            "5.9.33.get-tuning",
            "`GET /api/v1/instance/{instance_id}/tuning` gives the tuning for all the account's "
            "agents.",
        ),
        need(
            "5.9.33.put-tuning",
            "`PUT /api/v1/instance/{instance_id}/tuning` sets the tuning for all the account's "
            "agents.",
        ),
        need(
            "5.9.33.get-agent-tuning",
            "`GET /api/v1/instance/{instance_id}/agents/{agent_type}/tuning` gives the tuning of "
            "one agent.",
        ),
        need(
            "5.9.33.put-agent-tuning",
            "`PUT /api/v1/instance/{instance_id}/agents/{agent_type}/tuning` sets the tuning of "
            "one agent.",
        ),
        need(
            "5.9.33.get-client-tuning",
            "`GET /api/v1/instance/{instance_id}/clients/{client_id}/tuning` gives a client's "
            "tuning.",
        ),
        need(
            "5.9.33.put-client-tuning",
            "`PUT /api/v1/instance/{instance_id}/clients/{client_id}/tuning` sets a client's "
            "tuning.",
        ),
        need(
            "5.9.33.post-rule",
            "`POST /api/v1/instance/{instance_id}/clients/{client_id}/rules` adds a rule.",
        ),
        need(
            "5.9.33.delete-rule",
            "`DELETE /api/v1/instance/{instance_id}/clients/{client_id}/rules/{rule_id}` removes "
            "a rule.",
        ),
        need(
            "5.9.33.post-example",
            "`POST /api/v1/instance/{instance_id}/clients/{client_id}/examples` adds an approved "
            "example.",
        ),
        need(
            "5.9.33.delete-example",
            "`DELETE /api/v1/instance/{instance_id}/clients/{client_id}/examples/{example_id}` "
            "removes an approved example.",
        ),
        need(
            "5.9.33.post-feedback",
            "`POST /api/v1/instance/{instance_id}/feedback` takes `output_id`, `feedback_type` "
            "and optional `corrected_text`, `comment`, `rating`.",
        ),
        need(
            "5.9.33.get-analysis",
            "`GET /api/v1/instance/{instance_id}/clients/{client_id}/feedback/analysis` gives the "
            "analysis.",
        ),
        need(
            "5.9.33.apply-suggestions",
            "`POST /api/v1/instance/{instance_id}/clients/{client_id}/feedback/apply-suggestions` "
            "applies the suggestions named in `suggestion_ids`.",
        ),
        need(
            "5.9.33.get-audit",
            "`GET /api/v1/instance/{instance_id}/tuning/audit` gives the account's history of "
            "changes.",
        ),
        need(
            "5.9.33.get-client-audit",
            "`GET /api/v1/instance/{instance_id}/clients/{client_id}/tuning/audit` gives the "
            "client's history of changes.",
        ),
        need(
            "5.9.33.rollback",
            "`POST /api/v1/instance/{instance_id}/tuning/rollback/{audit_id}` undoes one change "
            "and is itself audited.",
        ),
    ),
    *section(
        5,
        "9.34 Key Takeaways: Fine-Tuning Model",
        note("5.9.34.summary", "A summary of the tuning model."),
        need(
            "5.9.34.client-isolation",
            "One client's tuning is never seen or felt in the work for another client.",
        ),
    ),
)
