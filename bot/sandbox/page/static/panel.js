// Behind the board: the timeline of what happened, the faults one can order, the host's log.

import { $, h, toast, kept } from "./dom.js";
import { get, post } from "./api.js";
import { state, party, cordOf } from "./state.js";

const KINDS = {
  update: { glyph: "↓", name: "Updates", tells: "what a bot received" },
  call: { glyph: "↑", name: "Calls", tells: "what a bot called" },
  model: { glyph: "◆", name: "Model", tells: "requests to the model" },
  tool: { glyph: "⚙", name: "Tools", tells: "tools that ran, and their results" },
  setup: { glyph: "·", name: "Setup", tells: "what a bot calls at its start" },
};
const MERGED = new Set(["sendMessageDraft", "editMessageText", "sendChatAction", "getMyCommands", "setMyCommands"]);
const SETUP = new Set(["getMe", "getMyCommands", "setMyCommands", "deleteMyCommands", "getWebhookInfo", "setWebhook", "deleteWebhook"]);
const MOST = 400;
const shown = new Set(Object.keys(KINDS).filter((kind) => kind !== "setup"));
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });

// --- the timeline ---

export function drawTimeline(heads) {
  $("timeline").replaceChildren();
  for (const head of heads) addToTimeline(head);
}

/** A new entry on top, or a known one with how it ended. */
export function addToTimeline(head) {
  const known = $("timeline").querySelector(`li[data-id="${head.id}"]`);
  if (known) return known.querySelector("summary").replaceWith(summary(head, Number(known.dataset.count)));
  const newest = $("timeline").firstElementChild;
  if (newest && mergeable(head, newest)) {
    newest.dataset.id = head.id;
    newest.dataset.count = Number(newest.dataset.count) + 1;
    return newest.querySelector("summary").replaceWith(summary(head, Number(newest.dataset.count)));
  }
  $("timeline").prepend(entry(head));
  if ($("timeline").childElementCount > MOST) $("timeline").lastElementChild.remove();
}

function mergeable(head, newest) {
  return MERGED.has(head.title) && newest.dataset.title === head.title && newest.dataset.bot === String(head.bot)
    && head.status === 200 && newest.dataset.status === "200" && !newest.querySelector("details").open;
}

/** Calls that only set a bot up are a kind of their own, unless one failed. */
const kindOf = (head) => (head.kind === "call" && SETUP.has(head.title) && head.status === 200 ? "setup" : head.kind);

function entry(head) {
  const item = h("li", { data: { id: head.id, kind: kindOf(head), title: head.title, bot: String(head.bot), status: String(head.status), count: "1" } });
  const details = h("details", { on: { toggle: () => details.open && open(details, item.dataset.id) } }, summary(head, 1));
  item.append(details);
  item.hidden = !shown.has(item.dataset.kind);
  return item;
}

function summary(head, count) {
  const kind = KINDS[kindOf(head)];
  const who = head.bot ? party(head.bot)?.first_name : "";
  const bad = head.status === "cut" || head.status === "error" || Number(head.status) >= 400;
  const end = [head.status ?? (head.kind === "model" ? "…" : ""), head.ms >= 0 ? `${head.ms} ms` : ""].filter(Boolean).join(" · ");
  return h("summary", { data: head.bot ? { cord: cordOf(head.bot) } : {} },
    h("span", { class: "glyph", title: kind.tells, "aria-hidden": "true" }, kind.glyph),
    h("b", {}, count > 1 ? `${head.title} ×${count}` : head.title),
    h("span", { class: bad ? "end bad" : "end" }, end),
    h("span", { class: "note" }, [clock.format(new Date(head.at * 1000)), who, head.note].filter(Boolean).join(" · ")));
}

async function open(details, id) {
  details.querySelector(".json")?.remove();
  let text;
  try {
    text = JSON.stringify(await get(`/page/timeline/${id}`), null, 2);
  } catch (error) {
    text = error.message;
  }
  details.append(h("pre", { class: "json", tabindex: "0" }, text));
}

function drawFilters() {
  $("filters").replaceChildren(...Object.entries(KINDS).map(([name, kind]) => {
    const button = h("button", { type: "button", "aria-pressed": String(shown.has(name)), title: kind.tells }, h("i", { "aria-hidden": "true" }, kind.glyph), kind.name);
    button.addEventListener("click", () => {
      if (!shown.delete(name)) shown.add(name);
      button.setAttribute("aria-pressed", String(shown.has(name)));
      for (const item of $("timeline").children) item.hidden = !shown.has(item.dataset.kind);
    });
    return button;
  }));
}

// --- faults ---

async function order(body) {
  try {
    state.trouble = await post("/page/trouble", body);
    drawFaults();
  } catch (error) {
    toast(error.message);
  }
}

async function kill() {
  try {
    await post("/page/kill");
  } catch (error) {
    toast(error.message);
  }
}

export function drawFaults() {
  const focused = document.activeElement?.id;
  const { switches, model } = state.about;
  const real = model === "real";
  const of = (side) => switches.filter((one) => one.side === side).map(faultSwitch);
  $("pane-faults").replaceChildren(
    killer(),
    h("h3", { class: "plate" }, "Bot API"), ...of("telegram"),
    h("h3", { class: "plate" }, "Model"),
    ...(real ? [h("p", { class: "hint" }, "A real model answers; only the script can be made to fail.")] : [slow(), ...of("model")]),
    h("button", { type: "button", class: "small clear", id: "clear", on: { click: () => order({ clear: true }) } }, "Clear all faults"));
  if (focused) $(focused)?.focus();
}

function killer() {
  const host = state.host;
  const up = host?.state === "up";
  const words = up ? `Process ${host.pid}, started ${host.starts === 1 ? "once" : `${host.starts} times`}.` : "It is being restarted …";
  return h("div", { class: "killer" },
    h("b", {}, "The host"),
    h("p", {}, `${words} Kill it while an answer is being written: the answer still comes, once.`),
    h("button", { type: "button", class: "kill", id: "kill", disabled: !host?.pid, on: { click: kill } }, "Pull the plug (kill -9)"));
}

function faultSwitch(one) {
  const armed = state.trouble.armed[one.name] ?? 0;
  return h("div", { class: "switch" }, h("b", { id: `name-${one.name}` }, one.label), h("p", {}, one.tells),
    h("button", {
      type: "button", id: `arm-${one.name}`, data: armed ? { armed: "yes" } : {},
      "aria-describedby": `name-${one.name}`, on: { click: () => order({ arm: one.name }) },
    }, armed ? `Armed ×${armed}` : "Arm"));
}

function slow() {
  const on = state.trouble.slow;
  return h("div", { class: "switch" }, h("b", { id: "name-slow" }, "Slow model"), h("p", {}, "Five tokens a second: time to watch an answer grow, or to stop it."),
    h("button", {
      type: "button", id: "slow", role: "switch", "aria-checked": String(on), "aria-labelledby": "name-slow",
      on: { click: () => order({ slow: !on }) },
    }, on ? "On" : "Off"));
}

// --- the panel itself ---

// A terminal's log in a narrow pane: the time of day without its fractions, no columns.
const narrow = (log) => log.replace(/^\d{4}-\d\d-\d\d[T ](\d\d:\d\d:\d\d)(\.\d+)?Z?/gm, "$1").replace(/ +\]/g, "]").replace(/ {2,}/g, " ");

async function readLog() {
  try {
    $("log").textContent = narrow(await get("/page/log")) || "The log is empty.";
    $("pane-log").scrollTop = $("pane-log").scrollHeight;
  } catch (error) {
    $("log").textContent = error.message;
  }
}

function choose(tab) {
  for (const one of document.querySelectorAll('[role="tab"]')) {
    const chosen = one === tab;
    one.setAttribute("aria-selected", String(chosen));
    one.tabIndex = chosen ? 0 : -1;
    $(one.getAttribute("aria-controls")).hidden = !chosen;
  }
  if (tab.id === "tab-log") readLog();
}

export function prepare(changed) {
  drawFilters();
  const tabs = [...document.querySelectorAll('[role="tab"]')];
  for (const [at, tab] of tabs.entries()) {
    tab.addEventListener("click", () => choose(tab));
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const next = tabs[(at + step + tabs.length) % tabs.length];
      choose(next);
      next.focus();
    });
  }
  const toggle = (open) => {
    $("panel").hidden = !open;
    $("panel-toggle").setAttribute("aria-expanded", String(open));
    changed();
  };
  const wide = matchMedia("(min-width: 1181px)");
  const choice = (open) => {
    if (wide.matches) kept.set("panel", open ? "open" : "shut");
    toggle(open);
  };
  $("panel-toggle").addEventListener("click", () => choice($("panel").hidden));
  $("panel-close").addEventListener("click", () => { choice(false); $("panel-toggle").focus(); });
  $("panel").addEventListener("keydown", (event) => { if (event.key === "Escape") $("panel-close").click(); });
  $("log-again").addEventListener("click", readLog);
  wide.addEventListener("change", () => toggle(wide.matches && kept.get("panel") !== "shut"));
  toggle(wide.matches && kept.get("panel") !== "shut");
}
