// Messages of a conversation as elements: what a person wrote, and what an agent answers.

import { h, visible } from "./dom.js";
import { GrowingText, rendered } from "./markdown.js";

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });

/** What a person wrote, as it was written. */
export function personMessage(text, at = new Date()) {
  return h("article", { class: "message person" }, author("You"), h("div", { class: "bubble", dir: "auto" }, text), timeElement(at));
}

/** An answer that is whole, as the history has it. */
export function agentMessage(text, { name, at, isPartial }) {
  const element = h("article", { class: "message agent" }, author(name), h("div", { class: "text" }, rendered(text)), timeElement(at));
  if (isPartial) markPartial(element);
  return element;
}

/** Marks an answer of which the end is missing. */
export function markPartial(element) {
  if (element.classList.contains("partial-response")) return;
  element.classList.add("partial-response");
  element.append(h("div", { class: "error-notice" }, "⚠️ Response incomplete"));
}

const author = (name) => h("span", { class: "unseen" }, `${visible(name)}: `);

function timeElement(at) {
  const time = new Date(at);
  if (Number.isNaN(time.getTime())) return null;
  const isToday = time.toDateString() === new Date().toDateString();
  return h("time", { datetime: time.toISOString() }, (isToday ? clock : day).format(time));
}

/** An answer while it is written. */
export class Answer {
  #text = null; // the text that grows now
  #typing = h("div", { class: "typing", "aria-hidden": "true" }, h("i"), h("i"), h("i"));
  #connection = h("p", { class: "connection", role: "status" });

  constructor(name) {
    this.name = name;
    this.cards = [];
    this.element = h("article", { class: "message agent", "aria-busy": "true" }, author(name), this.#typing);
  }

  get isEmpty() {
    return !this.element.querySelector(".text, .approval");
  }

  /** More of its text. */
  append(piece) {
    if (!piece) return;
    this.#wait(false);
    this.#closeCards();
    if (!this.#text) {
      this.#text = new GrowingText(h("div", { class: "text" }));
      this.#add(this.#text.box);
    }
    this.#text.append(piece);
  }

  /** A tool that it uses. */
  useTool(name) {
    this.#closeCards();
    this.#endText();
    this.#endTools();
    this.#add(h("p", { class: "tool", data: { running: "", tool: name } }, `Using ${visible(String(name ?? "a tool")).slice(0, 200)} …`));
    this.#wait(false);
  }

  /** A question to people; until it is answered the answer waits. */
  addCard(card) {
    this.#endText();
    this.#unsay(card.tools);
    this.#endTools();
    this.cards.push(card);
    this.#add(card.element);
    this.#wait(false);
  }

  get isAsking() {
    return this.cards.some((card) => card.isOpen);
  }

  /** After a decision it is being written again. */
  resume() {
    if (!this.isAsking) this.#wait(true);
  }

  /** Whether its connection is there. */
  set connected(is) {
    this.#connection.textContent = is ? "" : "Connection lost. Reconnecting …";
    if (is) this.#connection.remove();
    else this.element.append(this.#connection);
  }

  /** Nothing more comes. */
  end({ isPartial = false, note = "" } = {}) {
    this.#wait(false);
    this.#endText();
    this.#endTools();
    for (const card of this.cards) if (card.isOpen) card.close("This question is no longer open.");
    this.#connection.remove();
    this.element.removeAttribute("aria-busy");
    if (isPartial) markPartial(this.element);
    if (note) this.element.append(h("p", { class: "note" }, note));
    if (!this.isEmpty) this.element.append(timeElement(new Date()));
  }

  #add(element) {
    if (this.#typing.parentNode) this.#typing.before(element);
    else if (this.#connection.parentNode) this.#connection.before(element);
    else this.element.append(element);
  }

  #wait(on) {
    if (on) this.element.append(this.#typing);
    else this.#typing.remove();
  }

  #endText() {
    this.#text?.end();
    this.#text = null;
  }

  #endTools() {
    for (const each of this.element.querySelectorAll(".tool[data-running]")) {
      delete each.dataset.running;
      each.textContent = each.textContent.replace(/^Using (.*) …$/s, "Used $1");
    }
  }

  /** Tools that the agent has only chosen, and asks about: it says that it uses them once it may. */
  #unsay(tools) {
    for (const each of [...this.element.querySelectorAll(".tool, .text, .approval")].reverse()) {
      if (!each.matches(".tool")) return;
      if (tools.includes(each.dataset.tool)) each.remove();
    }
  }

  #closeCards() {
    this.#endTools();
    for (const card of this.cards) card.goOn();
  }
}
