"""The manifest: what the five documents demand, section by section, and which test shows it.

`python -m tests.requirements` prints the counts, `python -m tests.requirements 3` the entries of
document 3. An entry is filled in by giving `need` its third argument, the test that shows it.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tests.requirements_entry import Requirement
from tests.requirements_spec1 import SPEC1
from tests.requirements_spec2 import SPEC2
from tests.requirements_spec3 import SPEC3
from tests.requirements_spec4 import SPEC4
from tests.requirements_spec5_accounts import ACCOUNTS
from tests.requirements_spec5_agents import AGENTS
from tests.requirements_spec5_feedback import FEEDBACK
from tests.requirements_spec5_host import HOST
from tests.requirements_spec5_releases import RELEASES
from tests.requirements_spec5_tuning import TUNING

SPEC5 = (*AGENTS, *ACCOUNTS, *RELEASES, *TUNING, *FEEDBACK, *HOST)
REQUIREMENTS: tuple[Requirement, ...] = (*SPEC1, *SPEC2, *SPEC3, *SPEC4, *SPEC5)

HEADINGS: dict[int, tuple[str, ...]] = {
    1: (
        "## Overview",
        "## Agent Definition Schema",
        "### Domain/DTOs/AgentDefinition.cs",
        "### Domain/DTOs/AgentBinding.cs",
        "## Storage Architecture",
        "### IAgentRegistry Interface (Domain/Contracts)",
        "### Implementations (Infrastructure/Agents/Registry)",
        "## Agent Selection",
        "### Bot-Per-Agent Model",
        "### IAgentBindingResolver Interface (Domain/Contracts)",
        "### Resolution Priority",
        "## Factory Changes",
        "### MultiAgentFactory (Infrastructure/Agents)",
        "### McpAgent Changes",
        "## Configuration",
        "### Multi-Agent Config (agents.json or env vars)",
        "### Environment Variables",
        "## Backward Compatibility",
        "## Implementation Phases",
        "### Phase 1: Foundation",
        "### Phase 2: Agent Creation",
        "### Phase 3: Integration",
        "### Phase 4: Multi-Bot Support",
        "## Critical Files",
        "## Verification",
    ),
    2: (
        "## Overview",
        "## Configuration Options",
        "## API Usage",
        "### Managing Instances",
        "## Example Workflow",
    ),
    3: (
        "## Core Concept",
        "## URL Structure",
        "## Configuration Structure",
        "## Implementation",
        "### Agent Instance Loader",
        "### Endpoint Handler",
        "### Streaming Handler",
        "## Agent Functions",
        "## Implementation Details",
        "### SSE Format & Event Types",
        "### Pydantic AI Streaming Pattern",
        "### Message History Conversion",
        "### Error Handling & Retry Logic",
        "### Partial Response Persistence",
        "### Frontend Error Handling",
        "### Testing Strategy",
        "## Cost Tracking",
        "## Legacy Endpoint Migration",
        "## Frontend Changes",
        "## What This Eliminates",
        "## Benefits",
        "## Implementation Approach",
        "## Phase 1: Build New Infrastructure",
        "### Deliverables",
        "### Phase 1 Dependencies",
        "### Phase 1 Validation",
        "## Phase 2: Internal Migration",
        "### Deliverables",
        "### Phase 2 Dependencies",
        "### Phase 2 Risk Mitigation",
        "### Phase 2 Validation",
        "## Phase 3: Deprecation & Cleanup (Optional)",
        "### Deliverables",
        "### Phase 3 Dependencies",
        "## Success Criteria",
        "## Future Extensions",
    ),
    4: (
        "## 1. Agent Profile Core Structure",
        "## 2. The Core of Reactive Behavior: Observers",
        "## 3. The Core of Decision Logic: Flow Decider",
        "## 4. Engineering the System Prompt (`system_prompt_construction`)",
        "## 5. Controlling Capabilities (`tool_access_policy`)",
    ),
    5: (
        "## Table of Contents",
        "## 1. Introduction",
        "### 1.1 What is an Agent?",
        "### 1.2 Why Build Custom Agents?",
        "### 1.3 Agent Categories",
        "## 2. Architecture Overview",
        "### 2.1 System Architecture",
        "### 2.2 Data Flow",
        "### 2.3 Key Components",
        "## 3. Core Paradigm: Think → Act → Create",
        "### How It Works in Code",
        "## 4. Quick Start: Building Your First Agent",
        "### 4.1 Minimal Agent Template",
        "### 4.2 Register Your Agent",
        "### 4.3 Add API Route (Optional)",
        "## 5. Agent Anatomy",
        "### 5.1 Four Essential Components",
        "### 5.2 BaseAgent Class Reference",
        "### 5.3 Context and Results",
        "## 6. System Prompt Design",
        "### 6.1 System Prompt Structure",
        "### 6.2 Example: RFP Agent System Prompt",
        "### 6.3 Context Injection",
        "### 6.4 Dynamic System Prompts",
        "## 7. Tool Definition & Implementation",
        "### 7.1 Tool Definition Schema",
        "### 7.2 Tool Description Best Practices",
        "### 7.3 Tool Implementation Pattern",
        "### 7.4 Tool Categories",
        "### 7.5 Complex Tool Example",
        "## 8. Agent Specialization",
        "### 8.1 Specialization Dimensions",
        "### 8.2 Implementing Specializations",
        "### 8.3 Usage Patterns",
        "### 8.4 Specialization Reference",
        "## 9. Instance-Level Deployment & Scaling",
        "### 9.1 The Scaling Challenge",
        "### 9.2 Three-Layer Architecture",
        "### 9.3 Data Model for Instance Configuration",
        "### 9.4 Runtime Agent Assembly",
        "### 9.5 Skill Extension System",
        "#### Webhook Skill Example",
        "#### Skill Executor",
        "### 9.6 Agent with Instance Configuration",
        "### 9.7 Update Propagation Model",
        "### 9.8 Instance Configuration API",
        "### 9.9 Real-World Scaling Example",
        "### 9.10 Client-Specific Agent Rules",
        "### 9.11 Scaling Diagram",
        "### 9.12 Agent Version Control System",
        "#### Version Control Principles",
        "### 9.13 Version Data Model",
        "### 9.14 Update Notification & Impact Analysis",
        "### 9.15 Notification Delivery",
        "### 9.16 Sandbox Testing Environment",
        "### 9.17 Version Promotion Workflow",
        "### 9.18 Version Control API",
        "### 9.19 Instance Owner Dashboard View",
        "### 9.20 Skill-to-Core Promotion Path",
        "### 9.21 Key Takeaways (Updated)",
        "### 9.22 Agent Fine-Tuning Model",
        "### 9.23 What's Tunable at Each Tier",
        "### 9.24 Tier 1: Agent Builder Tuning",
        "### 9.25 Tier 2: Instance Tuning",
        "### 9.26 Tier 3: Client Tuning",
        "### 9.27 Prompt Assembly Pipeline",
        "### 9.28 Feedback Loop System",
        "### 9.29 Feedback Data Model",
        "### 9.30 Feedback Analysis Service",
        "### 9.31 Tuning Governance",
        "### 9.32 Tuning UI Wireframe",
        "### 9.33 Tuning API Summary",
        "### 9.34 Key Takeaways: Fine-Tuning Model",
        "## 10. ERP Integration Patterns",
        "### 10.1 HTTP Client Setup",
        "### 10.2 Common ERP Operations",
        "### 10.3 Module-to-Agent Mapping",
        "### 10.4 Error Handling Pattern",
        "## 11. Advanced Patterns",
        "### 11.1 Agent Chaining",
        "### 11.2 Streaming Responses",
        "### 11.3 Conditional Tool Access",
        "### 11.4 Tool Result Caching",
        "### 11.5 Handoff Pattern",
        "### 11.6 Browser Automation Skill",
        "#### Installation",
        "#### Basic Usage",
        "#### Key Concepts",
        "#### Available Methods",
        "#### Agent Use Cases",
        "#### Proof-of-Work Pattern",
        "## 12. Testing & Validation",
        "### 12.1 Unit Testing Tools",
        "### 12.2 Integration Testing",
        "### 12.3 Prompt Testing",
        "### 12.4 Tool Schema Validation",
        "## 13. Deployment & Operations",
        "### 13.1 Configuration",
        "### 13.2 Docker Deployment",
        "### 13.3 Monitoring Metrics",
        "### 13.4 Health Checks",
        "## 14. Best Practices",
        "### 14.1 System Prompt Guidelines",
        "### 14.2 Tool Design Guidelines",
        "### 14.3 Security Guidelines",
        "### 14.4 Performance Guidelines",
        "## 15. Troubleshooting",
        "### 15.1 Common Issues",
        "### 15.2 Debugging Tools",
        "### 15.3 Error Recovery",
        "## 16. Reference",
        "### 16.1 Agent Template",
        "### 16.2 Tool Count by Agent",
        "### 16.3 API Endpoints",
        "### 16.4 Execute Request Format",
        "### 16.5 Glossary",
        "## Appendix A: Checklist for New Agents",
        "## Appendix B: Migration Guide",
        "### From Hardcoded Logic to Agent",
        "### Adding Specialization to Existing Agent",
    ),
}


@dataclass(frozen=True, slots=True)
class Section:
    """A heading of a document; a `leaf` has no heading below it."""

    title: str
    leaf: bool


@dataclass(frozen=True, slots=True)
class Count:
    """How many demands of a document are shown by a test, and how many are not yet."""

    shown: int
    not_yet: int
    explanations: int


def sections(headings: Sequence[str]) -> list[Section]:
    """The sections of a document; a title that occurs twice is led by its chapter: `A / B`."""
    titles = [heading.lstrip("#").strip() for heading in headings]
    seen = Counter(titles)
    chapter, found = "", []
    for heading, title, below in zip(headings, titles, [*headings[1:], "#"], strict=True):
        chapter = title if _depth(heading) == 2 else chapter
        name = f"{chapter} / {title}" if seen[title] > 1 else title
        found.append(Section(name, leaf=_depth(below) <= _depth(heading)))
    return found


def summary(requirements: Iterable[Requirement] = REQUIREMENTS) -> dict[int, Count]:
    """The counts for each document."""
    entries = list(requirements)
    return {doc: _count(entry for entry in entries if entry.doc == doc) for doc in HEADINGS}


def _depth(heading: str) -> int:
    return len(heading) - len(heading.lstrip("#"))


def _count(entries: Iterable[Requirement]) -> Count:
    kinds = Counter(_state(entry) for entry in entries)
    return Count(kinds["shown"], kinds["not yet"], kinds["explanation"])


def _state(entry: Requirement) -> str:
    if not entry.normative:
        return "explanation"
    return "shown" if entry.shown_by else "not yet"


def _lines(arguments: Sequence[str]) -> list[str]:
    if arguments:
        chosen = [entry for entry in REQUIREMENTS if str(entry.doc) in arguments]
        return [f"{_state(entry):<12}{entry.id:<40}{entry.demand}" for entry in chosen]
    return [
        f"document {doc}: {count.shown} shown, {count.not_yet} not yet,"
        f" {count.explanations} explanations"
        for doc, count in summary().items()
    ]


if __name__ == "__main__":
    sys.stdout.write("\n".join(_lines(sys.argv[1:])) + "\n")
