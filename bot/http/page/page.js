// Joins the parts of the page: who is signed in, the choice of an agent, and the field below.

import { ask, Refused, signedIn, whenSignedOut } from "./api.js";
import { Conversation } from "./conversation.js";
import { $, h, memory, randomName, toast, visible } from "./dom.js";
import { watchQuestions } from "./questions.js";

const CODE = /^#([\w-]{20,128})$/;
const NEAR = 120; // pixels from the end at which the page follows what is written
const isTouch = matchMedia("(pointer: coarse)");

let who = null;
let isWatching = false;
let agents = [];
let now = null; // the conversation that is shown
const conversations = new Map(); // by <account>/<slug>

// --- who is signed in ---

async function start() {
  const code = takeCode();
  await leaveCopies();
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

/** A copy of a tab begins conversations of its own: two would write into the same one. */
async function leaveCopies() {
  if (!navigator.locks) return; // as on pages without https; there the two share a conversation
  for (;;) {
    const name = memory.get("tab") ?? randomName();
    memory.set("tab", name);
    if (await isFirstWith(name)) return;
    memory.clear();
  }
}

/** Whether no other tab has this name; then none gets it as long as this page is open. */
function isFirstWith(name) {
  return new Promise((resolve) => {
    const hold = () => {
      resolve(true);
      return new Promise(() => {});
    };
    const options = { signal: AbortSignal.timeout(500) }; // a page that is left takes a moment to go
    navigator.locks.request(`switchboard.${name}`, options, hold).catch(() => resolve(false));
  });
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
  const before = memory.get("who");
  if (before !== name) forgetAll(before !== null);
  memory.set("who", name);
  if (who && `${who.account} ${who.person}` !== name) {
    location.reload(); // somebody else: nothing of the one before stays on the page
    return;
  }
  who = found;
  signedIn();
  showChat();
  await readAgents();
  if (!isWatching) watchQuestions(accountsOf(who));
  isWatching = true;
}

/** Forgets what this tab remembers; also what was written, where that was somebody else. */
function forgetAll(alsoText) {
  const tab = memory.get("tab");
  memory.clear();
  memory.set("tab", tab);
  setText(alsoText ? "" : $("message").value);
}

function showSignIn(notice) {
  $("sign-in-notice").textContent = notice;
  $("sign-in").hidden = false;
  $("chat").hidden = true;
  $("bar").hidden = true;
  $("key").focus();
}

function showChat() {
  $("sign-in").hidden = true;
  $("chat").hidden = false;
  $("bar").hidden = false;
  fit();
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
    if (!isTouch.matches) $("message").focus();
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
  const accounts = accountsOf(who);
  const lists = await Promise.all(accounts.map(agentsOf));
  if (lists.includes(null)) { // the list of before stays
    if (!now) setTimeout(readAgents, 3000);
    return;
  }
  const isSame = JSON.stringify(agents) === JSON.stringify(lists.flat());
  if (isSame && now) return;
  agents = lists.flat();
  const groups = accounts.map((account, at) => h("optgroup", { label: visible(account) }, lists[at].map(option)));
  const options = accounts.length > 1 ? groups.filter((one) => one.childElementCount) : lists[0].map(option);
  if (!agents.length) options.push(h("option", {}, "No agents"));
  const selector = $("agent-selector");
  selector.replaceChildren(...options);
  selector.disabled = !agents.length;
  $("new-chat").disabled = !agents.length;
  $("nothing").hidden = agents.length > 0;
  const chosen = memory.get("agent");
  const at = Math.max(0, agents.findIndex((one) => idOf(one) === chosen));
  if (agents.length) selector.selectedIndex = at;
  if (!now || now.id !== chosen || !agents.length || idOf(agents[at]) !== chosen) await choose(agents[at]);
}

const idOf = ({ account, slug }) => `${account}/${slug}`;

const accountsOf = ({ accounts }) => accounts.slice(0, 50);

/** The agents of an account; null where they cannot be asked for now. */
async function agentsOf(account) {
  try {
    const found = await ask("GET", `/accounts/${encodeURIComponent(account)}/agents`);
    return found.map((one) => ({ ...one, account }));
  } catch (error) {
    toast(words(error, `You may not use the agents of the account ${account}.`));
    return isRefusal(error) ? [] : null;
  }
}

const option = ({ slug, name }) => h("option", { value: slug }, visible(String(name || slug)));

/** Shows the conversation with an agent, and leaves the others as they are. */
async function choose(agent) {
  const id = agent && idOf(agent);
  if (now && now.id !== id) now.element.hidden = true;
  now = null;
  if (agent) {
    memory.set("agent", id);
    if (!conversations.has(id)) {
      const made = new Conversation(id, agent, { onChange: (follow) => made === now && onChange(follow), giveBack });
      conversations.set(id, made);
      $("conversations").append(made.element);
    }
    now = conversations.get(id);
    now.element.hidden = false;
    document.title = `${visible(String(agent.name || agent.slug))} – Switchboard`;
  }
  onChange(true);
  await now?.load();
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

/** The field is as high as its text, up to the limit in the style sheet. */
function fit() {
  const field = $("message");
  field.style.height = "auto";
  if (field.scrollHeight) field.style.height = `${field.scrollHeight}px`; // 0 while it is not shown
}

function onInput() {
  const field = $("message");
  fit();
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
$("agent-selector").addEventListener("change", () => choose(agents[$("agent-selector").selectedIndex]));
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
const resized = new ResizeObserver(() => isFollowing && onChange(true));
for (const name of ["conversations", "scroll"]) resized.observe($(name));
addEventListener("resize", fit);
addEventListener("keydown", onEscape);
addEventListener("hashchange", () => CODE.test(location.hash) && location.reload());
document.addEventListener("visibilitychange", readAgentsAgain);
addEventListener("focus", readAgentsAgain);
setText(memory.get("text") ?? "");
await start();
