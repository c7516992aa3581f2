// Questions of other conversations that wait for this person: of tabs that were closed, and of other people.

import { ApprovalCard } from "./approval.js";
import { ask } from "./api.js";
import { $, h, visible } from "./dom.js";

const EVERY = 15_000;
const MOST = 50;
const MOST_ACCOUNTS = 10;

const cards = new Map(); // by id of the approval

/** Looks for questions in these accounts, now, and again and again while the page is seen. */
export function watchQuestions(accounts) {
  const look = () => document.hidden || show(accounts.slice(0, MOST_ACCOUNTS));
  setInterval(look, EVERY);
  document.addEventListener("visibilitychange", look);
  $("questions").addEventListener("toggle", (event) => event.newState === "closed" && removeAnswered());
  look();
}

async function show(accounts) {
  let found;
  try {
    found = (await Promise.all(accounts.map(openIn))).flat();
  } catch {
    return; // whoever is signed out, or has no connection, is told elsewhere
  }
  const shown = new Set([...document.querySelectorAll("#conversations [data-approval]")].map((one) => one.dataset.approval));
  for (const approval of found.slice(0, MOST)) {
    if (!shown.has(approval.id) && !cards.has(approval.id)) add(approval);
  }
  for (const [id, card] of cards) {
    if (!found.some((one) => one.id === id)) card.goOn();
    if (shown.has(id)) remove(id);
  }
  drawCount();
}

async function openIn(account) {
  const path = `/api/v1/approvals?${new URLSearchParams({ account })}`;
  const { approvals } = await ask("GET", path, undefined, { once: true });
  return approvals.map((one) => ({ ...one, account }));
}

function add(approval) {
  const card = new ApprovalCard(approval, approval.account, drawCount);
  const who = [approval.person, approval.instance].filter(Boolean).map((one) => visible(String(one)));
  if (who.length) card.element.prepend(h("p", { class: "hint" }, who.join(" · ")));
  cards.set(approval.id, card);
  $("questions-list").append(card.element);
}

function remove(id) {
  cards.get(id).element.remove();
  cards.delete(id);
}

function removeAnswered() {
  for (const [id, card] of cards) if (!card.isOpen) remove(id);
  drawCount();
}

function drawCount() {
  const open = [...cards.values()].filter((card) => card.isOpen).length;
  $("questions-button").hidden = cards.size === 0;
  const words = open === 1 ? "1 question" : `${open} questions`;
  if ($("questions-button").textContent !== words) $("questions-button").textContent = words;
}
