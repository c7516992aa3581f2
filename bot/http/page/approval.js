// A question whether a tool may run, as a card: what is asked, and two buttons to answer it.

import { ask, Refused } from "./api.js";
import { announce, button, h, shortened, toast, visible } from "./dom.js";
import { rendered } from "./markdown.js";

const MOST_CALLS = 20;
const MOST_SHOWN = 8000;
const MOST_DESCRIBED = 100_000; // the host shows no more than it lets people approve: all of it is here
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });

const OUTCOMES = {
  approved: "✓ Approved",
  granted: "✓ Approved",
  denied: "✗ Denied",
  expired: "✗ Not approved: nobody answered in time",
  dropped: "✗ Not approved: the conversation went on",
  unasked: "✗ Not approved: nobody could be asked",
  gone: "This question is no longer open.",
};

/**
 * One approval of an account, as the host describes it. `onDecided` is called once nobody can answer it here any more:
 * this person has answered it, it was closed elsewhere, or its time is over.
 */
export class ApprovalCard {
  #path;
  #timer = 0;
  #isDeciding = false;
  #onDecided;
  #whoMay;

  constructor(approval, account, onDecided) {
    this.#path = `/api/v1/approvals/${encodeURIComponent(approval.id)}?${new URLSearchParams({ account })}`;
    this.#onDecided = onDecided;
    this.isOpen = true;
    const isAskers = approval.approvers?.includes("asker");
    this.#whoMay = `Only ${isAskers ? "the person who asked, or " : ""}an admin of the account may answer this.`;
    const calls = Array.isArray(approval.calls) ? approval.calls : [];
    this.tools = calls.map((one) => shownName(one?.tool)); // as the events of tools name them
    const words = calls.length > 1 ? `May I do these ${calls.length} things?` : "May I do this?";
    this.reason = h("input", { type: "text", maxlength: "500", autocomplete: "off", placeholder: "Reason (optional)",
      "aria-label": "Reason (optional)" });
    this.approve = button("Approve", () => this.#decide("approve"), { class: "primary" });
    this.deny = button("Deny", () => this.#decide("deny"), { class: "danger" });
    this.reason.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.reason.value = "";
    });
    this.outcome = h("p", { class: "outcome", role: "status", tabindex: "-1" });
    this.actions = h("div", { class: "actions" }, this.approve, this.deny, this.reason);
    this.element = h("section", { class: "approval", "aria-label": "Approval", data: { approval: approval.id } },
      calls.length ? h("p", { class: "asks" }, words) : rendered(visible(String(approval.question ?? words))),
      calls.slice(0, MOST_CALLS).map(callElement),
      calls.length > MOST_CALLS && h("p", {}, `and ${calls.length - MOST_CALLS} more calls`),
      this.actions, this.outcome);
    this.update(approval);
    if (!this.isOpen) return;
    this.#expireAt(timeOf(approval.expires_at));
    announce("The agent asks for your approval.");
  }

  /** Shows what became of it, where that is known by now. */
  update({ status, reason }) {
    if (!status || status === "pending") return;
    const words = OUTCOMES[status] ?? visible(String(status));
    this.close(reason ? `${words}: ${visible(String(reason))}` : words);
    this.element.dataset.outcome = status;
  }

  #expireAt(time) {
    const left = time - Date.now();
    if (!Number.isFinite(left)) return;
    if (left <= 0) {
      this.close("Nobody answered in time.");
      return;
    }
    this.outcome.textContent = `Answer by ${clock.format(new Date(time))}.`;
    if (left < 2 ** 31) this.#timer = setTimeout(() => this.#expire(), left);
  }

  #expire() {
    this.close("Nobody answered in time.");
    this.#onDecided();
  }

  /** The turn has gone on; how it was answered is known only if it was answered here. */
  goOn() {
    if (this.isOpen && !this.#isDeciding) this.close("Answered.");
    this.isOpen = false;
  }

  /** Says how it ended; it cannot be answered any more. */
  close(words) {
    this.isOpen = false;
    clearTimeout(this.#timer);
    const hadFocus = this.actions.contains(document.activeElement);
    this.actions.remove();
    this.outcome.textContent = words;
    if (hadFocus) this.outcome.focus();
  }

  async #decide(decision) {
    const reason = this.reason.value.trim();
    this.#enable(false);
    try {
      const found = await ask("POST", this.#path, { decision, ...(reason && { reason }) });
      this.update({ status: decision === "approve" ? "approved" : "denied", reason, ...found });
      this.#onDecided();
    } catch (error) {
      this.#onRefused(error);
    }
  }

  #onRefused(error) {
    const status = error instanceof Refused ? error.status : 0;
    if ([404, 409, 410].includes(status)) {
      this.close(status === 404 ? "This question is no longer open." : error.message);
      this.#onDecided();
      return;
    }
    this.#enable(true);
    if (status === 403) this.outcome.textContent = this.#whoMay;
    else toast(status ? error.message : "Connection error. Please try again.");
  }

  #enable(on) {
    this.#isDeciding = !on;
    for (const each of [this.approve, this.deny, this.reason]) each.disabled = !on;
  }
}

/** A call: as the host describes it, or its arguments as plain text; nothing in either is hidden. */
function callElement(call) {
  if (call?.description) {
    return h("div", { class: "call text" }, rendered(shortened(visible(String(call.description)), MOST_DESCRIBED)));
  }
  const rows = Object.entries(call?.arguments ?? {}).slice(0, 50);
  const value = (one) => visible(typeof one === "string" ? one : JSON.stringify(one, null, 2));
  return h("div", { class: "call text" },
    h("code", {}, shortened(visible(String(call?.tool ?? "a tool")), 200)),
    rows.length > 0 && h("dl", {}, rows.flatMap(([key, one]) => [
      h("dt", {}, shortened(visible(key), 200)),
      h("dd", { tabindex: "0" }, shortened(value(one), MOST_SHOWN))])));
}

/** `desk: search` for `mcp:desk:search`. */
const shownName = (key) => String(key).replace(/^mcp:([^:]*):/, "$1: ").replace(/^skill:/, "");

/** Milliseconds since the epoch of a time in seconds or in ISO 8601; NaN where there is none. */
function timeOf(time) {
  if (time === null || time === undefined) return Number.NaN;
  return typeof time === "number" ? time * 1000 : Date.parse(time);
}
