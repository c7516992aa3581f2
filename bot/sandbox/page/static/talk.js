// The conversation: what was said in the plugged line, what is being written, and the field below.

import { $, h, toast } from "./dom.js";
import { act, get } from "./api.js";
import { messageElement, draftElement } from "./message.js";
import { state, room, bot, nameOf, topicOf, keep, party, textOf } from "./state.js";
import { chipsFor } from "./chips.js";
import { prepareMenu, readCommands, takesKey } from "./menu.js";

let about = null; // { kind: "reply" | "edit", item }
const day = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });

const doing = {
  say: (text) => say(text),
  reply: (item) => aboutTo("reply", item),
  edit: (item) => aboutTo("edit", item),
  stop: (draft) => act("stop", { person: state.me, room: state.room, draft: draft.draft_id }),
};

/** Loads and shows the plugged line. */
export async function openTalk() {
  aboutTo(null);
  const one = room();
  $("foot").hidden = !one;
  if (!one) return showNothing();
  title(one);
  $("chips").replaceChildren(...chipsFor(one).map(chip));
  readCommands();
  const key = one.key;
  await load(key);
  if (state.room === key) drawAll();
}

function showNothing() {
  $("talk-name").textContent = "No chat is open";
  $("talk-about").textContent = "Choose a chat.";
  $("messages").replaceChildren();
  $("drafts").replaceChildren();
}

function title(one) {
  const topic = one.topics.find((each) => each.id === state.topic);
  const name = one.chat.is_forum ? `${one.chat.title} / ${topic?.name ?? "General"}` : nameOf(one);
  $("talk-name").textContent = name;
  const members = one.members.map((member) => member.first_name).join(", ");
  $("talk-about").textContent = one.bot ? `@${bot(one.bot)?.username} · bot` : members;
  document.title = `${name} – Switchboard sandbox`;
}

/** Fetches a room's messages, for what was missed while nobody listened. */
export async function load(key) {
  const before = new Set(state.messages.get(key)?.keys());
  const items = await get(`/control/messages?room=${encodeURIComponent(key)}`);
  const heard = [...(state.messages.get(key)?.values() ?? [])];
  state.messages.set(key, new Map());
  for (const item of items) keep(key, item);
  // What was heard while the answer was on its way may be newer than the answer.
  for (const item of heard) if (!before.has(item.message.message_id)) keep(key, item);
}

export function drawAll() {
  const one = room();
  if (!one) return;
  const nodes = [];
  let before = "";
  for (const item of here()) {
    const date = day.format(new Date(item.message.date * 1000));
    if (date !== before) nodes.push(h("li", { class: "day plate", data: { day: date } }, date));
    before = date;
    nodes.push(messageElement(item, one, doing));
  }
  if (!nodes.length) nodes.push(h("li", { class: "empty" }, emptyWords(one)));
  $("messages").replaceChildren(...nodes);
  drawDrafts();
  drawTyping();
  drawKeys();
  toBottom();
}

function emptyWords(one) {
  if (one.bot) return "No messages yet. Write something, or choose a suggestion below.";
  return "Here a bot sees only what is addressed to it: mention it by its @name, reply to it, or send a command.";
}

const here = () => [...(state.messages.get(state.room)?.values() ?? [])].filter(({ message }) => isHere(message));
const isHere = (message) => !room()?.chat.is_forum || topicOf(message) === state.topic;

/** Shows a message of the plugged line, new or changed. */
export function showMessage(item) {
  if (!isHere(item.message)) return;
  const near = nearBottom();
  const element = messageElement(item, room(), doing);
  const old = $("messages").querySelector(`[data-id="${item.message.message_id}"]`);
  if (old) old.replaceWith(element);
  else append(element, item.message);
  drawKeys();
  settle(near || item.message.from?.id === state.me);
}

function append(element, message) {
  $("messages").querySelector(".empty")?.remove();
  const date = day.format(new Date(message.date * 1000));
  const days = [...$("messages").querySelectorAll(".day")];
  if (days.at(-1)?.dataset.day !== date) $("messages").append(h("li", { class: "day plate", data: { day: date } }, date));
  $("messages").append(element);
}

export function removeMessage(id) {
  $("messages").querySelector(`[data-id="${id}"]`)?.remove();
}

export function drawDrafts() {
  const near = nearBottom();
  const drafts = [...(state.drafts.get(state.room)?.values() ?? [])];
  const fitting = drafts.filter((draft) => !room()?.chat.is_forum || (draft.topic ?? null) === state.topic);
  const stopFocused = document.activeElement?.classList.contains("stop");
  $("drafts").replaceChildren(...fitting.map((draft) => draftElement(draft, room(), doing)));
  if (stopFocused) $("drafts").querySelector(".stop")?.focus();
  if (fitting.length) settle(near);
}

export function drawTyping() {
  const now = Date.now();
  const typing = [...(state.typing.get(state.room)?.entries() ?? [])].filter(([, until]) => until > now);
  const names = typing.map(([who]) => party(who)?.first_name).filter(Boolean);
  const shown = $("drafts").childElementCount ? "" : names.length ? `${names.join(", ")} is typing …` : "";
  if ($("typing").textContent !== shown) $("typing").textContent = shown;
}

function drawKeys() {
  const last = here().map((item) => item.screen).filter(Boolean).at(-1);
  const rows = last?.keyboard ?? [];
  $("keys").hidden = !rows.length;
  $("keys").replaceChildren(...rows.map((row) => h("div", {}, row.map((key) =>
    h("button", { type: "button", class: "key", on: { click: () => say(key.text) } }, key.text)))));
}

const chip = (text) => h("button", { type: "button", class: "chip", on: { click: () => fill(text) } }, text);

function fill(text) {
  $("write").value = text;
  grow();
  $("write").focus();
}

// --- scrolling ---

const nearBottom = () => $("scroll").scrollHeight - $("scroll").scrollTop - $("scroll").clientHeight < 120;

function settle(follow) {
  if (follow) toBottom();
  else $("newer").hidden = false;
}

function toBottom() {
  $("scroll").scrollTop = $("scroll").scrollHeight;
  $("newer").hidden = true;
}

// --- writing ---

function aboutTo(kind, item) {
  about = kind ? { kind, item } : null;
  $("about-to").hidden = !kind;
  if (!kind) return;
  const words = textOf(item.message);
  $("about-to-words").textContent = `${kind === "edit" ? "Edit" : "Reply to"}: ${words}`;
  if (kind === "edit") fill(item.message.text);
  $("write").focus();
}

async function say(text) {
  const words = text.trim();
  if (!words || !state.room) return;
  const given = about;
  aboutTo(null);
  const order = { person: state.me, room: state.room, text: words };
  const done = given?.kind === "edit"
    ? await act("edit", { ...order, message: given.item.message.message_id })
    : await act("say", { ...order, topic: state.topic, reply_to: given?.item.message.message_id });
  if (!done) fill(words);
}

function grow() {
  const field = $("write");
  field.style.height = "auto";
  field.style.height = `${Math.min(field.scrollHeight, 180)}px`;
}

async function attach() {
  const file = $("attach").files[0];
  $("attach").value = "";
  if (!file || !state.room) return;
  if (file.size > 20 * 1024 * 1024) return toast("A bot can download at most 20 MB");
  const kind = /^image\/(png|jpeg|webp)$/.test(file.type) ? "photo" : "document";
  const order = { person: state.me, room: state.room, topic: state.topic, kind, name: file.name, mime: file.type || undefined };
  await act("attach", { ...order, data: await base64(file), caption: $("write").value.trim() });
  fill("");
}

function base64(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });
}

export function prepare() {
  const send = () => {
    const text = $("write").value;
    fill("");
    say(text);
  };
  $("send").addEventListener("click", send);
  $("write").addEventListener("input", grow);
  prepareMenu();
  $("write").addEventListener("keydown", (event) => {
    if (takesKey(event)) return;
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      send();
    }
    if (event.key === "Escape") aboutTo(null);
  });
  $("attach").addEventListener("change", attach);
  $("about-to-cancel").addEventListener("click", () => aboutTo(null));
  $("newer").addEventListener("click", toBottom);
  let follow = true;
  $("scroll").addEventListener("scroll", () => {
    follow = nearBottom();
    if (follow) $("newer").hidden = true;
  }, { passive: true });
  new ResizeObserver(() => { if (follow) toBottom(); }).observe($("scroll"));
}
