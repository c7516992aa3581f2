// Joins the parts of the page: who is signed in, the choice of an agent, and the field below.

import { ask, Refused, signedIn, whenSignedOut } from "./api.js";
import { Conversation } from "./conversation.js";
import { $, announce, h, memory, toast, visible } from "./dom.js";

const CODE = /^#([\w-]{20,128})$/;
const NEAR = 120; // pixels from the end at which the page follows what is written
const isTouch = matchMedia("(pointer: coarse)");

let who = null;
let agents = [];
let now = null; // the conversation that is shown
const conversations = new Map(); // by slug

// --- who is signed in ---

async function start() {
  const code = takeCode();
  try {
    if (code) await ask("POST", "/session", { link: code }, { once: true });
    await enter();
  } catch (error) {
    showSignIn(code ? words(error, "This link is used up or too old. Ask the bot for a new one.") : startWords(error));
  }
}

/** The code of a link, which leaves the address at once. */
function takeCode() {
  const found = CODE.exec(location.hash);
  if (location.hash) history.replaceState(null, "", location.pathname + location.search);
  return found?.[1] ?? null;
}

const startWords = (error) => (isRefusal(error) ? "" : words(error, ""));
const isRefusal = (error) => error instanceof Refused && [401, 403, 404].includes(error.status);

function words(error, refused) {
  if (isRefusal(error)) return refused;
  return error instanceof Refused ? error.message : "The host cannot be reached. Please try again.";
}

async function enter() {
  const found = await ask("GET", "/session", undefined, { once: true });
  if (!found?.account) throw new Refused(401, {});
  const name = `${found.account} ${found.person}`;
  if (memory.get("who") !== name) forgetAll();
  memory.set("who", name);
  if (who && `${who.account} ${who.person}` !== name) {
    location.reload(); // somebody else: nothing of the one before stays on the page
    return;
  }
  who = found;
  signedIn();
  showChat();
  await readAgents();
}

function forgetAll() {
  const text = memory.get("text");
  memory.clear();
  if (!who) memory.set("text", text);
}

function showSignIn(notice) {
  $("sign-in-notice").textContent = notice;
  $("sign-in").hidden = false;
  $("chat").hidden = true;
  $("bar").hidden = true;
  document.body.dataset.view = "sign-in";
  $("key").focus();
}

function showChat() {
  $("sign-in").hidden = true;
  $("chat").hidden = false;
  $("bar").hidden = false;
  document.body.dataset.view = "chat";
  const name = visible(String(who.name || who.user || who.person || "you"));
  $("who-name").textContent = name;
  $("who-account").textContent = `Account ${visible(String(who.account))}`;
  $("who").textContent = [...name][0].toUpperCase();
  $("who").setAttribute("aria-label", `Signed in as ${name}`);
}

async function signIn(event) {
  event.preventDefault();
  const field = $("key");
  const key = field.value.trim();
  if (!key) return;
  field.value = ""; // the key is not kept anywhere: the cookie stands for it
  $("sign-in-button").disabled = true;
  try {
    await ask("POST", "/session", { key }, { once: true });
    await enter();
  } catch (error) {
    showSignIn(words(error, "This host does not know this key."));
  } finally {
    $("sign-in-button").disabled = false;
  }
}

async function signOut() {
  try {
    await ask("DELETE", "/session", undefined, { once: true });
  } catch (error) {
    if (!isRefusal(error)) {
      toast(words(error, ""));
      return;
    }
  }
  memory.clear();
  location.replace("/");
}

// --- agents ---

async function readAgents() {
  try {
    agents = await ask("GET", `/accounts/${encodeURIComponent(who.account)}/agents`);
  } catch (error) {
    toast(words(error, "You may not use the agents of this account."));
    agents = [];
  }
  const chosen = $("agent-selector").value || memory.get("agent");
  const options = agents.map(({ slug, name }) => h("option", { value: slug }, visible(String(name || slug))));
  if (!options.length) options.push(h("option", { value: "" }, "No agents"));
  $("agent-selector").replaceChildren(...options);
  $("agent-selector").disabled = !agents.length;
  $("new-chat").disabled = !agents.length;
  $("nothing").hidden = agents.length > 0;
  if (agents.some((one) => one.slug === chosen)) $("agent-selector").value = chosen;
  await choose($("agent-selector").value);
}

async function choose(slug) {
  const agent = agents.find((one) => one.slug === slug);
  if (now && now.agent.slug !== slug) now.element.hidden = true;
  if (!agent) {
    now = null;
    onChange();
    return;
  }
  memory.set("agent", slug);
  if (!conversations.has(slug)) {
    const made = new Conversation(who.account, agent, { onChange: (follow) => made === now && onChange(follow), giveBack });
    conversations.set(slug, made);
    $("conversations").append(made.element);
  }
  now = conversations.get(slug);
  now.element.hidden = false;
  document.title = `${visible(String(agent.name || slug))} – Switchboard`;
  onChange(true);
  await now.load();
}

let agentsReadAt = 0;

/** New instances are in the list when one comes back to the page. */
function readAgentsAgain() {
  if (document.hidden || !who || $("chat").hidden || Date.now() - agentsReadAt < 5000) return;
  agentsReadAt = Date.now();
  readAgents();
}

// --- writing ---

function send() {
  const text = $("message").value.trim();
  if (!text || !now) return;
  if (!now.say(text)) {
    toast("Too many messages are waiting.");
    return;
  }
  setText("");
}

function setText(text) {
  $("message").value = text;
  onInput();
}

/** A text that was not sent stands in the field again. */
function giveBack(text) {
  const written = $("message").value;
  setText(written.trim() ? `${text}\n\n${written}` : text);
  $("message").focus();
}

function onInput() {
  const field = $("message");
  field.style.height = "auto";
  field.style.height = `${field.scrollHeight}px`;
  memory.set("text", field.value || null);
  $("send").disabled = !field.value.trim() || !now;
}

function onKey(event) {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing || isTouch.matches) return;
  event.preventDefault();
  send();
}

function stop() {
  now?.stop();
  $("message").focus();
}

// --- what is seen ---

const isNearEnd = () => {
  const { scrollHeight, scrollTop, clientHeight } = $("scroll");
  return scrollHeight - scrollTop - clientHeight < NEAR;
};
let isFollowing = true;
let frame = 0;

function onChange(follow = false) {
  if (follow) isFollowing = true;
  const isRunning = Boolean(now?.isRunning);
  $("stop").hidden = !isRunning;
  $("stop").disabled = !now?.canStop;
  $("send").disabled = !$("message").value.trim() || !now;
  $("message").disabled = !now;
  const state = isRunning ? "The agent is writing." : "";
  if ($("state").textContent !== state) $("state").textContent = state;
  frame ||= requestAnimationFrame(scrollDown);
}

function scrollDown() {
  frame = 0;
  if (isFollowing) $("scroll").scrollTop = $("scroll").scrollHeight;
  $("newer").hidden = isFollowing;
}

function onScroll() {
  isFollowing = isNearEnd();
  $("newer").hidden = isFollowing || !now?.isRunning;
}

function onEscape(event) {
  if (event.key !== "Escape" || event.isComposing) return;
  if ($("toasts").childElementCount) $("toasts").replaceChildren();
}

function skip(event) {
  event.preventDefault();
  ($("chat").hidden ? $("key") : $("message")).focus();
}

whenSignedOut(() => showSignIn("Your session has ended. Sign in to go on; what you wrote is still here."));
$("skip").addEventListener("click", skip);
$("sign-in").addEventListener("submit", signIn);
$("sign-out").addEventListener("click", signOut);
$("agent-selector").addEventListener("change", () => choose($("agent-selector").value));
$("new-chat").addEventListener("click", () => {
  now?.startNew();
  $("message").focus();
});
$("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  send();
});
$("message").addEventListener("input", onInput);
$("message").addEventListener("keydown", onKey);
$("message").setAttribute("enterkeyhint", isTouch.matches ? "enter" : "send");
$("stop").addEventListener("click", stop);
$("newer").addEventListener("click", () => onChange(true));
$("scroll").addEventListener("scroll", onScroll, { passive: true });
new ResizeObserver(() => isFollowing && onChange(true)).observe($("conversations"));
addEventListener("keydown", onEscape);
addEventListener("hashchange", () => CODE.test(location.hash) && start());
document.addEventListener("visibilitychange", readAgentsAgain);
addEventListener("focus", readAgentsAgain);
setText(memory.get("text") ?? "");
announce("");
await start();
