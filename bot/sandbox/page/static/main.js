// Joins the parts: the stream of events on one side, the page on the other.

import { $, h, kept } from "./dom.js";
import { get, listen } from "./api.js";
import { state, room, rooms, keep, lineOf, topicOf } from "./state.js";
import { drawLines, layCord } from "./lines.js";
import * as talk from "./talk.js";
import * as panel from "./panel.js";
import { callbackAnswer } from "./message.js";
import { prepareTheme } from "./theme.js";

let online = false;

// --- what is plugged in ---

function plug(key, topic = null) {
  state.room = key;
  state.topic = topic;
  state.fresh.delete(lineOf(key, topic));
  document.body.dataset.view = "talk";
  const hash = `#${lineOf(key, topic).replace("#", ":")}`;
  if (location.hash !== hash) history.replaceState(null, "", hash);
  kept.set("line", hash);
  redraw();
  talk.openTalk();
}

function plugFromHash() {
  const [key, topic] = decodeURIComponent(location.hash.slice(1)).split(":");
  const known = rooms().find((one) => one.key === key);
  if (known) plug(key, topic ? Number(topic) : null);
  return Boolean(known);
}

function redraw() {
  drawLines(plug);
  layCord();
}

// --- who one is ---

function become(id) {
  state.me = id;
  kept.set("me", id);
  const one = room();
  if (one && !rooms().includes(one)) {
    const mine = one.bot ? rooms().find((other) => other.bot === one.bot) : null;
    state.room = null;
    if (mine) return plug(mine.key);
  }
  redraw();
  return talk.openTalk();
}

function drawPeople() {
  const legend = $("people").querySelector("legend");
  const choices = state.world.persons.map((person) => h("label", { class: "person" },
    h("input", { type: "radio", name: "me", value: person.id, on: { change: () => become(person.id) } }),
    h("span", {}, person.first_name, state.about.admins.includes(person.id) && h("small", {}, "admin"))));
  $("people").replaceChildren(legend, ...choices);
  for (const input of $("people").querySelectorAll("input")) input.checked = Number(input.value) === state.me;
}

// --- what the sandbox tells ---

async function hello(data) {
  online = true;
  Object.assign(state, { world: data.world, about: data.about, host: data.host, trouble: data.trouble });
  state.drafts.clear();
  state.typing.clear();
  for (const one of data.world.rooms) for (const draft of one.drafts) setDraft(one.key, draft);
  if (!state.world.persons.some((person) => person.id === state.me)) {
    const before = Number(kept.get("me"));
    state.me = state.world.persons.find((person) => person.id === before)?.id ?? state.world.persons[0]?.id ?? 0;
  }
  drawPeople();
  panel.drawTimeline(data.timeline);
  panel.drawFaults();
  $("model-hint").textContent = data.about.model === "real"
    ? "A real model answers in this sandbox; its requests are not shown here."
    : "";
  drawHost();
  await catchUp();
}

/** Reads what was said while nobody listened. */
async function catchUp() {
  await Promise.all(rooms().map((one) => talk.load(one.key)));
  if (room()) {
    redraw();
    await talk.openTalk();
  } else if (!plugFromHash() && matchMedia("(min-width: 761px)").matches) {
    const first = rooms()[0];
    if (first) plug(first.key);
  } else {
    redraw();
  }
}

function drawHost() {
  const host = state.host;
  const shown = online ? host?.state ?? "starting" : "gone";
  const model = state.about.model === "real" ? "real model" : "script, no model";
  const words = { up: "Host is up", starting: "Host is starting …", down: "Host is down", stopped: "Host has stopped", gone: "Sandbox is not running" };
  $("host").dataset.state = shown;
  if ($("host-words").textContent !== words[shown]) $("host-words").textContent = words[shown];
  $("host-detail").textContent = shown === "up" ? `· ${model}` : "";
  const notices = {
    down: `The host died. It is restarted at once; no message is lost. ${host?.words ?? ""}`,
    starting: host?.starts > 1 ? "The host is restarting; it continues where it stopped." : "",
    gone: "The sandbox is not running. Start it again, and this page reconnects by itself.",
  };
  const notice = notices[shown] ?? "";
  $("notice").hidden = !notice;
  if ($("notice").textContent !== notice) $("notice").textContent = notice;
}

function setDraft(key, draft) {
  if (!state.drafts.has(key)) state.drafts.set(key, new Map());
  const name = `${draft.bot}:${draft.draft_id}`;
  if (draft.gone || (!draft.text && draft.stopped)) state.drafts.get(key).delete(name);
  else state.drafts.get(key).set(name, draft);
}

async function said(event, isNew) {
  const { chat, data } = event;
  if (!room(chat)) state.world = await get("/control/state");
  const item = keep(chat, data);
  state.typing.get(chat)?.delete(data.message.from?.id);
  const line = lineOf(chat, room(chat)?.chat.is_forum ? topicOf(data.message) : null);
  const here = line === lineOf(state.room, state.topic);
  if (here) talk.showMessage(item);
  else if (isNew && data.message.from?.id !== state.me) state.fresh.add(line);
  if (chat === state.room) talk.drawTyping();
  if (data.message.forum_topic_created) state.world = await get("/control/state");
  redraw();
}

const heard = {
  hello,
  message: (event) => said(event, true),
  edit: (event) => said(event, false),
  delete: (event) => {
    state.messages.get(event.chat)?.delete(event.data.message_id);
    if (event.chat === state.room) talk.removeMessage(event.data.message_id);
    redraw();
  },
  draft: (event) => {
    setDraft(event.chat, event.data);
    if (event.chat === state.room) { talk.drawDrafts(); talk.drawTyping(); }
    redraw();
  },
  typing: (event) => {
    if (!state.typing.has(event.chat)) state.typing.set(event.chat, new Map());
    state.typing.get(event.chat).set(event.bot, Date.now() + 5000);
    if (event.chat === state.room) talk.drawTyping();
    redraw();
  },
  reaction: async (event) => {
    await talk.load(event.chat);
    const item = state.messages.get(event.chat)?.get(event.data.message_id);
    if (item && event.chat === state.room) talk.showMessage(item);
  },
  callback: (event) => callbackAnswer(event.data),
  timeline: panel.addToTimeline,
  host: (data) => { state.host = data; drawHost(); panel.drawFaults(); },
  trouble: (data) => { state.trouble = data; panel.drawFaults(); },
};

function lost() {
  online = false;
  drawHost();
}

/** Typing and drafts fade by themselves. */
function fade() {
  const now = Date.now();
  let faded = false;
  for (const typing of state.typing.values()) {
    for (const [who, until] of typing) if (until <= now) { typing.delete(who); faded = true; }
  }
  for (const drafts of state.drafts.values()) {
    for (const [name, draft] of drafts) if (draft.until * 1000 <= now) { drafts.delete(name); faded = true; }
  }
  if (!faded) return;
  talk.drawDrafts();
  talk.drawTyping();
  redraw();
}

prepareTheme();
talk.prepare();
panel.prepare(() => layCord());
$("back").addEventListener("click", () => { document.body.dataset.view = "lines"; redraw(); });
$("lines").addEventListener("scroll", layCord, { passive: true });
addEventListener("resize", layCord);
addEventListener("hashchange", plugFromHash);
setInterval(fade, 1000);
listen(heard, lost);
