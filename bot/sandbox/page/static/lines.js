// The board on the left: a jack for each chat and topic, and the cord that is plugged in.

import { $, h } from "./dom.js";
import { state, rooms, nameOf, bot, lineOf, lastOf, textOf, cordOf, room } from "./state.js";

let pressed = false;
let afterPress = null;

$("lines").addEventListener("pointerdown", () => { pressed = true; });
for (const end of ["pointerup", "pointercancel"]) addEventListener(end, released);

function released() {
  pressed = false;
  const plug = afterPress;
  afterPress = null;
  if (plug) setTimeout(() => drawLines(plug)); // the click itself comes first
}

/**
 * Draws the board anew; `plug(key, topic)` is called when a line is chosen. While a line is being
 * pressed the board stays as it is: a line that is replaced in between would not feel the click.
 */
export function drawLines(plug) {
  if (pressed) {
    afterPress = plug;
    return;
  }
  const focused = document.activeElement?.dataset?.line;
  const mine = rooms();
  const direct = mine.filter((one) => one.bot);
  const groups = mine.filter((one) => !one.bot);
  $("lines").replaceChildren(
    h("h2", { class: "plate" }, "Bots"),
    h("ul", {}, direct.map((one) => h("li", {}, line(one, null, plug)))),
    h("h2", { class: "plate" }, "Groups"),
    h("ul", {}, groups.flatMap((one) => group(one, plug))));
  if (focused) $("lines").querySelector(`[data-line="${CSS.escape(focused)}"]`)?.focus();
}

function group(one, plug) {
  if (!one.chat.is_forum) return [h("li", {}, line(one, null, plug))];
  const topics = [{ id: null, name: "General" }, ...one.topics];
  return [
    h("li", {}, h("h2", { class: "plate" }, `${one.chat.title} · topics`)),
    ...topics.map((topic) => h("li", {}, line(one, topic, plug))),
  ];
}

function line(one, topic, plug) {
  const id = topic?.id ?? null;
  const key = lineOf(one.key, id);
  const current = state.room === one.key && state.topic === id;
  const name = topic ? topic.name : nameOf(one);
  const last = lastOf(one, id);
  const light = lit(one, id, key);
  const about = light === "busy" ? "is writing …" : last ? said(last, one) : subtitle(one, topic);
  const cord = one.bot ? cordOf(one.bot) : "3";
  return h("button", {
    type: "button", class: topic ? "line topic" : "line", "aria-current": current ? "true" : null,
    data: { line: key, cord, lit: light }, on: { click: () => plug(one.key, id) },
  },
  h("span", { class: "avatar", "aria-hidden": "true" }, topic ? "#" : name.slice(0, 1)),
  h("span", { class: "who" }, h("b", {}, name), h("span", { class: "last" }, about.replaceAll("\n", " ")),
    state.fresh.has(key) && h("span", { class: "unseen" }, " (new message)")),
  h("span", { class: "jack", "aria-hidden": "true" }));
}

function said(last, one) {
  const who = last.from?.id === state.me ? "You" : one.bot ? "" : last.from?.first_name;
  return who ? `${who}: ${textOf(last)}` : textOf(last);
}

function lit(one, topic, key) {
  const drafts = [...(state.drafts.get(one.key)?.values() ?? [])];
  const types = [...(state.typing.get(one.key)?.values() ?? [])].some((until) => until > Date.now());
  if (types || drafts.some((draft) => (draft.topic ?? null) === topic)) return "busy";
  return state.fresh.has(key) ? "new" : "";
}

function subtitle(one, topic) {
  if (one.bot) return `@${bot(one.bot)?.username ?? ""}`;
  if (topic) return "Nothing here yet";
  return one.members.map((member) => member.first_name).join(", ");
}

/** Lays the cord from the chosen line's jack to the conversation's. */
export function layCord() {
  const from = $("lines").querySelector('[aria-current="true"] .jack');
  const to = $("head-jack");
  const one = room();
  to.classList.toggle("plugged", Boolean(from));
  const cord = one?.bot ? cordOf(one.bot) : "3";
  to.dataset.cord = cord;
  $("cord").dataset.cord = cord;
  const path = from ? route(from, to) : "";
  for (const part of $("cord").querySelectorAll("path")) part.setAttribute("d", path);
}

function route(from, to) {
  const board = $("lines").getBoundingClientRect();
  const a = centre(from);
  const b = centre(to);
  if (a.y < board.top || a.y > board.bottom || !board.width) return "";
  const sag = Math.min(46, 14 + Math.abs(a.y - b.y) / 6);
  const x = (a.x + b.x) / 2;
  return `M${a.x} ${a.y}C${x + 12} ${a.y + sag} ${x - 6} ${b.y + sag} ${b.x} ${b.y}`;
}

function centre(element) {
  const box = element.getBoundingClientRect();
  return { x: box.left + box.width / 2, y: box.top + box.height / 2 };
}
