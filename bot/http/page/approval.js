// A question whether a tool may run, as a card: what is asked, and two buttons to answer it.

import { ask, Refused } from "./api.js";
import { announce, button, h, shortened, toast, visible } from "./dom.js";
import { rendered } from "./markdown.js";

const MOST_CALLS = 20;
const MOST_SHOWN = 8000;
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });

/** One approval. `onDecided` is called after this person has answered it. */
export class ApprovalCard {
  #id;
  #timer = 0;
  #onDecided;

  constructor(approval, onDecided) {
    this.#id = String(approval.id);
    this.#onDecided = onDecided;
    this.isOpen = true;
    const calls = Array.isArray(approval.calls) ? approval.calls : [];
    const title = h("p", { class: "asks" }, approval.question ? visible(String(approval.question)) : "May I do this?");
    this.reason = h("input", { type: "text", maxlength: "500", autocomplete: "off", placeholder: "Reason (optional)",
      "aria-label": "Reason (optional)" });
    this.approve = button("Approve", () => this.#decide("approve"), { class: "primary" });
    this.deny = button("Deny", () => this.#decide("deny"), { class: "danger" });
    this.reason.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.reason.value = "";
    });
    this.outcome = h("p", { class: "outcome", role: "status" });
    this.actions = h("div", { class: "actions" }, this.approve, this.deny, this.reason);
    this.element = h("section", { class: "approval", "aria-label": "Approval", data: { approval: this.#id } },
      title, calls.slice(0, MOST_CALLS).map(callElement),
      calls.length > MOST_CALLS && h("p", {}, `and ${calls.length - MOST_CALLS} more calls`),
      this.actions, this.outcome);
    this.#expireAt(timeOf(approval.expires_at));
    announce(`The agent asks for approval: ${title.textContent}`);
  }

  #expireAt(time) {
    const left = time - Date.now();
    if (!Number.isFinite(left)) return;
    if (left <= 0) {
      this.close("Nobody answered in time.");
      return;
    }
    this.outcome.textContent = `Answer by ${clock.format(new Date(time))}.`;
    if (left < 2 ** 31) this.#timer = setTimeout(() => this.close("Nobody answered in time."), left);
  }

  /** Says how it ended; it cannot be answered any more. */
  close(words) {
    if (!this.isOpen) return;
    this.isOpen = false;
    clearTimeout(this.#timer);
    if (this.actions.contains(document.activeElement)) document.getElementById("message")?.focus();
    this.actions.remove();
    this.outcome.textContent = words;
  }

  async #decide(decision) {
    const reason = this.reason.value.trim();
    this.#enable(false);
    try {
      const path = `/api/v1/approvals/${encodeURIComponent(this.#id)}`;
      await ask("POST", path, { decision, ...(reason && { reason }) });
      const words = decision === "approve" ? "✓ Approved" : "✗ Denied";
      this.close(reason ? `${words}: ${reason}` : words);
      this.element.dataset.decision = decision;
      this.#onDecided();
    } catch (error) {
      this.#onRefused(error);
    }
  }

  #onRefused(error) {
    const status = error instanceof Refused ? error.status : 0;
    if ([404, 409, 410].includes(status)) {
      this.close(status === 404 ? "This question is no longer open." : error.message);
      return;
    }
    this.#enable(true);
    if (status === 403) this.outcome.textContent = error.message; // it says who may answer
    else toast(status ? error.message : "Connection error. Please try again.");
  }

  #enable(on) {
    for (const each of [this.approve, this.deny, this.reason]) each.disabled = !on;
  }
}

/** A call with its arguments, each as plain text in which nothing is hidden. */
function callElement(call) {
  const name = visible(String(call?.tool ?? call?.name ?? "a tool"));
  if (call?.arguments === undefined && call?.description) {
    return h("div", { class: "call" }, rendered(shortened(visible(String(call.description)), MOST_SHOWN)));
  }
  const given = call?.arguments ?? {};
  const isObject = typeof given === "object" && !Array.isArray(given);
  const rows = isObject ? Object.entries(given) : [["", given]];
  const value = (one) => visible(typeof one === "string" ? one : JSON.stringify(one, null, 2));
  return h("div", { class: "call" },
    h("code", { class: "tool-name" }, shortened(name, 200)),
    rows.length > 0 && h("dl", {}, rows.slice(0, 50).flatMap(([key, one]) => [
      h("dt", {}, shortened(visible(key), 200)),
      h("dd", { tabindex: "0" }, shortened(value(one), MOST_SHOWN))])),
    rows.length > 50 && h("p", {}, `and ${rows.length - 50} more arguments`));
}

/** Milliseconds since the epoch of a time in seconds or in ISO 8601; NaN where there is none. */
function timeOf(time) {
  if (time === null || time === undefined) return Number.NaN;
  return typeof time === "number" ? time * 1000 : Date.parse(time);
}
