// A conversation with one instance: its session in this tab, what was said, the turn that runs, and what waits for it.

import { ApprovalCard } from "./approval.js";
import { ask, Refused } from "./api.js";
import { announce, button, h, memory, randomName, toast, visible } from "./dom.js";
import { agentMessage, Answer, markPartial, personMessage } from "./message.js";
import { ConnectionLost, follow, isAnsweredAnew, parsed } from "./stream.js";

const HISTORY = 100;
const MOST_WAITING = 20;
const FAILED = "Connection error. Please try again.";

export class Conversation {
  #waiting = []; // messages for later, each {text, element}
  #turn = null; // the one that runs: {text, key, place, controller, …}
  #answer = null;
  #loading = null;
  #isReady = false;

  /** `page` has `onChange()`, and `giveBack(text)` for what could not be sent. */
  constructor(id, agent, page) {
    this.id = id;
    this.agent = agent;
    this.page = page;
    this.log = h("div", { class: "messages", role: "log", "aria-live": "polite", "aria-relevant": "additions", "aria-label": "Messages" });
    this.growing = h("div", { class: "messages growing", role: "group", "aria-live": "off", "aria-label": "The answer that is being written" });
    this.queue = h("div", { class: "messages waiting", role: "group", "aria-label": "Messages that wait" });
    this.element = h("div", { class: "conversation", hidden: true }, this.#greeting(), this.log, this.growing, this.queue);
  }

  get isRunning() {
    return this.#turn !== null && !this.#answer?.isAsking;
  }

  get canStop() {
    return this.isRunning && !this.#turn.isStopping && !this.#turn.isLost;
  }

  get #session() {
    return memory.get(this.#name("session"));
  }

  #name(what) {
    return `${what}.${this.id}`;
  }

  #path(what) {
    const { account, slug } = this.agent;
    return `/accounts/${encodeURIComponent(account)}/agents/${encodeURIComponent(slug)}/${what}`;
  }

  #greeting() {
    const { name, slug, description, capabilities } = this.agent;
    const list = Array.isArray(capabilities) ? capabilities : [];
    return h("div", { class: "greeting" },
      h("h2", { dir: "auto" }, visible(name || slug)),
      description && h("p", { dir: "auto" }, visible(description)),
      list.length > 0 && h("ul", {}, list.slice(0, 30).map((one) => h("li", { dir: "auto" }, visible(String(one))))),
      !description && !list.length && h("p", {}, "Write a message to begin."));
  }

  // --- what was said ---

  /** Shows the history, and reads on where a turn still runs; once. */
  load() {
    this.#loading ??= this.#load();
    return this.#loading;
  }

  async #load() {
    for (const text of memory.get(this.#name("waiting")) ?? []) this.#wait(text);
    try {
      if (this.#session) await this.#showHistory();
    } catch (error) {
      if (error instanceof Refused && error.status === 404) this.#forget();
      else toast(error instanceof Refused ? error.message : FAILED);
    }
    this.#isReady = true;
    this.#next();
  }

  async #showHistory() {
    const query = new URLSearchParams({ session_id: this.#session, limit: HISTORY });
    const { messages } = await ask("GET", `${this.#path("history")}?${query}`);
    this.log.setAttribute("aria-live", "off"); // nobody wants all of it read out
    this.log.replaceChildren(...messages.map((one) => this.#element(one)));
    setTimeout(() => this.log.setAttribute("aria-live", "polite"), 500);
    this.#resume(messages);
    this.page.onChange(true);
  }

  #element({ role, content, at, metadata }) {
    if (role === "human") return personMessage(String(content), at);
    return agentMessage(String(content), { name: this.agent.name || this.agent.slug, at, isPartial: Boolean(metadata?.partial) });
  }

  /** Goes on with the turn that ran when the page was left. */
  #resume(messages) {
    const left = memory.get(this.#name("turn"));
    const isOwn = ({ output_id }) => Boolean(left?.id) && output_id === left.id;
    if (!left || messages.some((one) => isOwn(one) && one.role !== "human" && !one.metadata?.partial)) {
      this.#remember(null);
      return;
    }
    const last = messages.at(-1);
    const isShown = messages.some(isOwn) || (last?.role === "human" && last.content === left.text);
    // It is read from its beginning, as nothing of it is on this page but what the history calls partial.
    const parts = [...this.log.children].filter((_, at) => isOwn(messages[at]) && messages[at].role !== "human");
    this.#run({ text: left.text, key: left.key, place: { id: left.id ? `${left.id}-0-0` : "" }, parts }, isShown);
  }

  #remember(turn) {
    const id = turn?.place.id.split("-")[0];
    if (turn && turn.remembered === id) return;
    memory.set(this.#name("turn"), turn && { text: turn.text, key: turn.key, id });
    if (turn) turn.remembered = id;
  }

  #forget() {
    for (const what of ["session", "turn"]) memory.set(this.#name(what), null);
  }

  // --- writing ---

  /** Sends a message, or keeps it for when the running turn has ended. */
  say(text) {
    if (this.#answer?.isAsking) this.#leaveQuestion();
    if (this.#turn || this.#waiting.length || !this.#isReady) {
      if (this.#waiting.length >= MOST_WAITING) return false;
      this.#wait(text);
      if (this.#isReady) this.#next(); // those that waited behind a question
    } else {
      this.#run({ text, key: randomName(), place: { id: "" } });
    }
    this.page.onChange(true);
    return true;
  }

  /** A message instead of an answer to a question ends the turn that asked. */
  #leaveQuestion() {
    for (const card of this.#answer.cards) {
      if (card.isOpen) card.close("✗ Not approved: you wrote instead");
    }
    this.#turn?.controller.abort();
    this.#end();
  }

  #wait(text) {
    const item = { text };
    const withdraw = () => {
      this.#withdraw(item);
      this.page.giveBack(text);
    };
    item.element = h("article", { class: "message person" },
      h("div", { class: "bubble", dir: "auto" }, text),
      h("p", { class: "note" }, "Waiting ", button("Withdraw", withdraw, { class: "quiet" })));
    this.#waiting.push(item);
    this.queue.append(item.element);
    this.#keepWaiting();
    announce("Your message waits until the answer is complete.");
  }

  #withdraw(item) {
    this.#waiting = this.#waiting.filter((one) => one !== item);
    item.element.remove();
    this.#keepWaiting();
  }

  #keepWaiting() {
    memory.set(this.#name("waiting"), this.#waiting.length ? this.#waiting.map((one) => one.text) : null);
  }

  #next() {
    if (this.#turn || !this.#waiting.length) return;
    const [item] = this.#waiting;
    this.#withdraw(item);
    this.#run({ text: item.text, key: randomName(), place: { id: "" } });
  }

  // --- a turn ---

  async #run(turn, isShown = false) {
    Object.assign(turn, { isStopping: false, isLost: false, controller: new AbortController() });
    this.#turn = turn;
    if (!isShown) {
      turn.element = personMessage(turn.text);
      this.log.append(turn.element);
    }
    if (!this.#session) memory.set(this.#name("session"), randomName());
    this.#begin();
    await this.#read(turn);
  }

  #begin() {
    this.#answer = new Answer(this.agent.name || this.agent.slug);
    this.growing.append(this.#answer.element);
    this.page.onChange(true);
  }

  async #read(turn) {
    const body = { message: turn.text, session_id: this.#session };
    const options = { key: turn.key, place: turn.place, signal: turn.controller.signal };
    const onState = (state) => {
      if (this.#turn === turn && this.#answer) this.#answer.connected = state === "open";
      this.#remember(turn);
    };
    this.#remember(turn);
    try {
      for await (const event of follow(this.#path("stream"), body, { ...options, onState })) {
        if (this.#turn !== turn) return;
        this.#hear(turn, event);
      }
      if (this.#turn !== turn) return;
      turn.isOver = this.#answer.isAsking;
      if (!turn.isOver) this.#finish(turn, {});
    } catch (error) {
      if (this.#turn === turn) this.#fail(turn, error);
    }
  }

  #hear(turn, event) {
    this.#remember(turn);
    if (turn.isStopping === "asked" && turn.place.id) this.#sendStop(turn);
    if (event.kind !== "place") turn.parts?.splice(0).forEach((one) => one.remove());
    if (event.kind === "message") {
      this.#answer.append(event.data);
      this.page.onChange();
      return;
    }
    const data = parsed(event.data); // an error of the connection has none
    if (event.kind === "tool") this.#answer.useTool(data.tool);
    else if (event.kind === "approval") this.#ask(turn, data);
    else if (isAnsweredAnew(event)) this.#startOver();
    else if (event.kind === "error") this.#finish(turn, { error: data });
    this.page.onChange();
  }

  #ask(turn, approval) {
    const card = new ApprovalCard(approval, this.agent.account, () => {
      if (this.#turn !== turn) return; // it was left meanwhile: the answer of now is another turn's
      if (!turn.isLost) this.#answer?.resume();
      this.page.onChange();
      if (turn.isOver) this.#readOn(turn);
    });
    this.#answer.addCard(card);
  }

  /** The text so far did not fit; the answer comes whole as a new message. */
  #startOver() {
    this.#settle({ isPartial: true });
    this.#begin();
  }

  #finish(turn, { error }) {
    const isPartial = Boolean(error) && !turn.isStopping && !this.#answer.isEmpty;
    if (error && !turn.isStopping) toast(FAILED);
    const reason = error && !turn.isStopping && this.#answer.isEmpty ? error.message || "There is no answer." : "";
    this.#settle({ isPartial, note: turn.isStopping ? "Stopped." : reason });
    this.#end();
    this.#next();
  }

  /** Moves the answer to the messages, which are read out. */
  #settle(how) {
    const answer = this.#answer;
    const focused = answer.element.contains(document.activeElement) ? document.activeElement : null;
    answer.end(how);
    if (answer.isEmpty && !answer.element.querySelector(".note")) answer.element.remove();
    else this.log.append(answer.element);
    focused?.focus();
    this.#answer = null;
  }

  #end() {
    if (this.#answer) this.#settle({});
    this.#turn = null;
    this.#remember(null);
    this.page.onChange();
  }

  #fail(turn, error) {
    if (error instanceof Refused && error.status === 404 && !turn.place.id && !turn.isSecondTry) {
      this.#beginAgain(turn);
      return;
    }
    if (error instanceof Refused) {
      this.#answer.element.remove();
      this.#answer = null;
      turn.element?.remove();
      this.#end();
      this.page.giveBack([turn.text, ...this.#waiting.map((one) => one.text)].join("\n\n"));
      for (const item of [...this.#waiting]) this.#withdraw(item);
      toast(error.message);
      return;
    }
    toast(FAILED);
    turn.isLost = true;
    if (!this.#answer.isEmpty) markPartial(this.#answer.element);
    this.#answer.connected = true;
    const again = button("Try again", () => this.#tryAgain(turn, note), { class: "small" });
    const note = h("p", { class: "note" }, error instanceof ConnectionLost ? "The host cannot be reached. " : "Something went wrong here. ", again);
    this.#answer.element.append(note);
    this.page.onChange(true);
  }

  /** The session is not this person's any more: the message goes into a new one. */
  #beginAgain(turn) {
    const note = h("p", { class: "note" }, "The earlier conversation has ended. The agent does not know it any more.");
    turn.element?.before(note);
    Object.assign(turn, { isSecondTry: true, key: randomName() });
    memory.set(this.#name("session"), randomName());
    this.#read(turn);
  }

  #tryAgain(turn, note) {
    note.remove();
    const { element } = this.#answer;
    element.classList.remove("partial-response");
    element.querySelector(".error-notice")?.remove();
    turn.isLost = false;
    this.#readOn(turn);
  }

  #readOn(turn) {
    turn.isOver = false;
    this.#read(turn);
    this.page.onChange();
  }

  /** Asks the host to end the turn; what was written so far stays. */
  async stop() {
    const turn = this.#turn;
    if (!this.canStop) return;
    turn.isStopping = "asked";
    this.page.onChange();
    if (turn.place.id) await this.#sendStop(turn);
  }

  async #sendStop(turn) {
    turn.isStopping = "sent";
    try {
      await ask("POST", this.#path("stop"), { output_id: turn.place.id.split("-")[0] });
    } catch (error) {
      if (error instanceof Refused && [404, 409].includes(error.status)) return; // it has just ended
      turn.isStopping = false;
      toast(error instanceof Refused ? error.message : FAILED);
      this.page.onChange();
    }
  }

  /** Leaves this conversation for a new one; what waits is given back to be edited. */
  async startNew() {
    const turn = this.#turn;
    const texts = this.#waiting.map((one) => one.text);
    for (const item of [...this.#waiting]) this.#withdraw(item);
    if (turn) {
      if (this.canStop && turn.place.id) this.#sendStop(turn);
      turn.controller.abort();
      this.#answer?.element.remove();
      this.#answer = null;
      this.#end();
    }
    this.#forget();
    this.log.replaceChildren();
    if (texts.length) this.page.giveBack(texts.join("\n\n"));
    announce("New chat.");
    this.page.onChange(true);
  }
}
