"""What document 5 demands in 9.12 to 9.21: releases, impact, notices, trials."""

from __future__ import annotations

from tests.requirements_entry import Requirement, need, note, section

RELEASES: tuple[Requirement, ...] = (
    *section(
        5,
        "9.12 Agent Version Control System",
        note(
            "5.9.12.problem", "The problem: a change for all may break what one account has tuned."
        ),
    ),
    *section(
        5,
        "Version Control Principles",
        need(
            "5.9.12.principle.owners-control",
            "An account can pin a release, choose its update policy and roll back.",
        ),
        need(
            "5.9.12.principle.told-before",
            "An account learns what changed, what it means for its skills, and what is advised, "
            "before it updates.",
        ),
        need(
            "5.9.12.principle.tested-before",
            "An account can compare its release with a new one before it decides.",
        ),
        need(
            "5.9.12.principle.kept",
            "What an account has made is kept over an update unless it chooses otherwise.",
        ),
    ),
    *section(
        5,
        "9.13 Version Data Model",
        need("5.9.13.release-agent-type", "A release belongs to one agent type."),
        need(
            "5.9.13.release-version",
            "A release carries a semantic `version`, and its `major`, `minor` and `patch` agree "
            "with it.",
        ),
        need("5.9.13.release-date", "A release carries its `release_date`."),
        need("5.9.13.release-notes", "`release_notes` is optional Markdown."),
        need("5.9.13.release-breaking", "`breaking_changes` is false by default."),
        need(
            "5.9.13.release-tags",
            "`optimization_tags` lists what the release is good for, empty by default.",
        ),
        need(
            "5.9.13.release-changes",
            "`changes` must be given, with `tools_added`, `tools_removed`, `tools_modified`, "
            "`prompt_changes`, `behavior_changes` and `deprecations`.",
        ),
        need(
            "5.9.13.release-platform",
            "`min_platform_version` is optional; a release that needs a newer host is not put to "
            "use.",
        ),
        need(
            "5.9.13.release-deprecated",
            "`deprecated` is false by default and is shown where the release is listed.",
        ),
        need(
            "5.9.13.release-sunset",
            "`sunset_date` is optional and is shown where the release is listed.",
        ),
        need("5.9.13.release-image", "`container_image` is optional and only kept for reference."),
        need(
            "5.9.13.config-key",
            "A version configuration belongs to one account and one agent type.",
        ),
        need(
            "5.9.13.config-pinned",
            "`pinned_version` holds the account at one release; null follows the latest.",
        ),
        need(
            "5.9.13.config-policy",
            "`update_policy` is `auto`, `staged` or `manual`, and `staged` unless set.",
        ),
        need(
            "5.9.13.config-current",
            "`current_version` is the release that the account's turns use.",
        ),
        need("5.9.13.config-sandbox", "`sandbox_version` is the release under trial, or null."),
        need(
            "5.9.13.config-preference",
            "`optimization_preference` lists the account's goals, empty by default.",
        ),
        need(
            "5.9.13.config-history",
            "`version_history` lists version, when and by whom it was activated, and why it was "
            "rolled back.",
        ),
        need("5.9.13.config-notify", "`notify_on_updates` is true by default."),
        need("5.9.13.config-contacts", "`notify_contacts` lists who is told, empty by default."),
        need("5.9.13.notice-key", "An update notice belongs to one account and one agent type."),
        need("5.9.13.notice-versions", "An update notice carries `from_version` and `to_version`."),
        need(
            "5.9.13.notice-impact",
            "An update notice carries `impact_analysis` with skill conflicts, mismatch, "
            "recommendation, its reason and the affected skills.",
        ),
        need(
            "5.9.13.notice-status",
            "`status` is `pending`, `reviewed`, `sandbox_testing`, `approved`, `rejected` or "
            "`applied`, and `pending` at first.",
        ),
        need(
            "5.9.13.notice-review",
            "A reviewed notice carries `reviewed_by`, `reviewed_at` and optional `review_notes`.",
        ),
    ),
    *section(
        5,
        "9.14 Update Notification & Impact Analysis",
        need(
            "5.9.14.report",
            "An impact report names account, agent, both releases, conflicts, affected skills, "
            "mismatch, breaking changes, advice, changes and notes.",
        ),
        need(
            "5.9.14.mismatch",
            "A mismatch is found when a release's tag contradicts one of the account's goals.",
        ),
        need(
            "5.9.14.mismatch-reach", "`reach` contradicts `performance`, `roas` and `conversions`."
        ),
        need(
            "5.9.14.mismatch-brand-awareness",
            "`brand_awareness` contradicts `direct_response` and `conversions`.",
        ),
        need(
            "5.9.14.mismatch-performance",
            "`performance` contradicts `reach` and `brand_awareness`.",
        ),
        need(
            "5.9.14.name-collision",
            "A skill named like an added tool is a `name_collision` of severity `critical`, with "
            "a suggestion.",
        ),
        need(
            "5.9.14.functionality-overlap",
            "A skill whose purpose a modified tool now covers is a `functionality_overlap` of "
            "severity `review`.",
        ),
        need(
            "5.9.14.behavior-assumption",
            "A skill that assumes a behaviour that changed is a `behavior_assumption` of severity "
            "`review`.",
        ),
        need(
            "5.9.14.dependency-removed",
            "A skill that needs a removed tool is a `dependency_removed` of severity `critical`.",
        ),
        need(
            "5.9.14.caution-critical",
            "Any critical conflict gives the recommendation `caution`, with their number in the "
            "reason.",
        ),
        need(
            "5.9.14.caution-mismatch",
            "Without critical conflicts, a mismatch gives `caution` and advises a trial.",
        ),
        need(
            "5.9.14.review", "Without those, breaking changes or conflicts to review give `review`."
        ),
        need("5.9.14.safe", "Without any of those the recommendation is `safe`."),
    ),
    *section(
        5,
        "9.15 Notification Delivery",
        need("5.9.15.off", "An account that switched notices off gets none."),
        need(
            "5.9.15.record",
            "An available update is analysed and recorded as a notice before anyone is told.",
        ),
        need(
            "5.9.15.contacts",
            "Every contact of the account is told, under a subject with the agent and the new "
            "version.",
        ),
        need(
            "5.9.15.in-app",
            "The notice is also shown inside: in an admin's chat and on the dashboard.",
        ),
        need("5.9.15.content-versions", "A notice's text names agent, current and new version."),
        need(
            "5.9.15.content-changes",
            "A notice's text gives release notes and tools added, modified and removed, and "
            "behaviour changes, `None` where there are none.",
        ),
        need("5.9.15.content-advice", "A notice's text gives the recommendation and its reason."),
        need(
            "5.9.15.content-conflicts",
            "A notice's text lists affected skills and, for each conflict, severity, type, reason "
            "and suggestion.",
        ),
        need(
            "5.9.15.content-mismatch",
            "A notice's text warns of a mismatch of goals when there is one, and names this "
            "account's own goals.",
        ),
        need(
            "5.9.15.content-next",
            "A notice's text ends with the next steps: review, trial, approve or skip.",
        ),
    ),
    *section(
        5,
        "9.16 Sandbox Testing Environment",
        need(
            "5.9.16.create",
            "A trial is made for an account, an agent and a release to test, beside the release "
            "in use.",
        ),
        need("5.9.16.expires", "A trial ends by itself after 24 hours."),
        need(
            "5.9.16.compare",
            "A comparison runs one task on both releases at once and keeps both answers.",
        ),
        need(
            "5.9.16.marked",
            "A comparison's runs are marked `sandbox_mode`, and no real tool does anything in "
            "them.",
        ),
        need("5.9.16.isolated", "A trial changes nothing that the account's real turns use."),
        need(
            "5.9.16.result",
            "A comparison keeps task, both outputs, the tools each used, the differences and the "
            "time.",
        ),
        need(
            "5.9.16.difference-tools",
            "Different tools are a difference `tools_used` with what was added and removed.",
        ),
        need(
            "5.9.16.difference-length",
            "Different lengths are a difference `output_length` with both and the change in "
            "percent, also where one output is empty.",
        ),
        need(
            "5.9.16.difference-specific", "Comparisons of its own can be added for an agent type."
        ),
        need(
            "5.9.16.analysis",
            "An analysis says whether there are differences, how many, which, and what is advised.",
        ),
        need("5.9.16.session-key", "A trial belongs to one account and one agent type."),
        need("5.9.16.session-versions", "A trial carries `production_version` and `test_version`."),
        need(
            "5.9.16.session-status",
            "`status` is `active`, `completed`, `expired` or `promoted`, and `active` at first.",
        ),
        need(
            "5.9.16.session-times",
            "A trial carries `created_at`, `expires_at` and, once over, `completed_at`.",
        ),
        need(
            "5.9.16.session-counts",
            "`tests_run` and `tests_passed` start at 0 and count the comparisons.",
        ),
        need("5.9.16.session-results", "`comparison_results` lists the comparisons."),
        need(
            "5.9.16.session-decision",
            "`decision` is `promote`, `reject` or `defer`, with `decision_by` and "
            "`decision_reason`.",
        ),
    ),
    *section(
        5,
        "9.17 Version Promotion Workflow",
        need(
            "5.9.17.analysed",
            "A new release is analysed for every account that uses the agent, by itself.",
        ),
        need(
            "5.9.17.told",
            "Each of these accounts is told what changed, what is affected and what is advised.",
        ),
        need("5.9.17.auto-safe", "Policy `auto` puts a `safe` release to use by itself."),
        need(
            "5.9.17.auto-otherwise", "Policy `auto` opens a trial for a release that is not `safe`."
        ),
        need(
            "5.9.17.staged",
            "Policies `staged` and `manual` put a release to use only after a decision.",
        ),
        need(
            "5.9.17.promote",
            "Promoting sets `current_version` and adds a line to `version_history`.",
        ),
        need(
            "5.9.17.reject", "Rejecting pins the current release and marks the notice `rejected`."
        ),
        need(
            "5.9.17.defer", "Deferring changes nothing and leaves the notice to be reviewed later."
        ),
    ),
    *section(
        5,
        "9.18 Version Control API",
        need(
            "5.9.18.versions",
            "`GET /api/v1/instance/{instance_id}/agents/{agent_type}/versions` lists the releases "
            "of an agent.",
        ),
        need(
            "5.9.18.version",
            "`GET /api/v1/instance/{instance_id}/agents/{agent_type}/version` gives the account's "
            "version configuration.",
        ),
        need(
            "5.9.18.update",
            "`PUT /api/v1/instance/{instance_id}/agents/{agent_type}/version` changes pin, "
            "policy, goals, notices and contacts.",
        ),
        need(
            "5.9.18.rollback",
            "`POST /api/v1/instance/{instance_id}/agents/{agent_type}/version/rollback` goes back "
            "to `target_version` and keeps the `reason`.",
        ),
        need(
            "5.9.18.updates",
            "`GET /api/v1/instance/{instance_id}/updates` lists the pending notices.",
        ),
        need(
            "5.9.18.review",
            "`POST /api/v1/instance/{instance_id}/updates/{notification_id}/review` takes a "
            "decision of `approve`, `reject`, `sandbox` or `defer`, with notes.",
        ),
        need(
            "5.9.18.sandbox",
            "`POST /api/v1/instance/{instance_id}/sandbox` opens a trial of `test_version` of "
            "`agent_type`.",
        ),
        need(
            "5.9.18.sandbox-test",
            "`POST /api/v1/instance/{instance_id}/sandbox/{sandbox_id}/test` runs one comparison "
            "with `task` and `context`.",
        ),
        need(
            "5.9.18.sandbox-promote",
            "`POST /api/v1/instance/{instance_id}/sandbox/{sandbox_id}/promote` puts the tested "
            "release to use when `confirm` is true, with notes.",
        ),
    ),
    *section(
        5,
        "9.19 Instance Owner Dashboard View",
        need(
            "5.9.19.agent",
            "The dashboard shows for each agent its version, status, update policy and goals.",
        ),
        need(
            "5.9.19.update",
            "The dashboard shows an available update with recommendation, reason and affected "
            "skills, and offers details, trial and skip.",
        ),
        need(
            "5.9.19.skills",
            "The dashboard lists the account's skills of each agent with their descriptions.",
        ),
        need(
            "5.9.19.history",
            "The dashboard shows the version history with dates and reasons of rollbacks.",
        ),
        need(
            "5.9.19.trial",
            "The dashboard shows a running trial with remaining time and each comparison's "
            "outcome.",
        ),
        need(
            "5.9.19.decision",
            "The dashboard offers another comparison, its details, promotion and rejection.",
        ),
    ),
    *section(
        5,
        "9.20 Skill-to-Core Promotion Path",
        need(
            "5.9.20.performance",
            "A skill's report gives its calls, success rate and mean response time.",
        ),
        need(
            "5.9.20.compared",
            "A skill's report compares it with a similar tool of the agent, where there is one.",
        ),
        need(
            "5.9.20.candidate",
            "A skill's report says whether the skill is a candidate for all accounts.",
        ),
        need(
            "5.9.20.submit",
            "An account can submit a skill with notes; definition and report are kept with it "
            "under status `submitted`.",
        ),
        need("5.9.20.told", "The platform's admins are told of a submitted skill."),
    ),
    *section(
        5,
        "9.21 Key Takeaways (Updated)",
        note("5.9.21.summary", "A summary of the chapter so far."),
    ),
)
