// Questions of other conversations that wait for this person: of tabs that were closed, and of other people.

import { ApprovalCard } from "./approval.js";
import { ask } from "./api.js";
import { $, h, visible } from "./dom.js";

const EVERY = 15_000;
const MOST = 50;

const cards = new Map(); // by id of the approval

/** Looks for questions now, and again and again while the page is seen. */
export function watchQuestions() {
  setInterval(() => document.hidden || look(), EVERY);
  document.addEventListener("visibilitychange", () => document.hidden || look());
  $("questions").addEventListener("toggle", (event) => event.newState === "closed" && removeAnswered());
  look();
}

async function look() {
  let found;
  try {
    found = (await ask("GET", "/api/v1/approvals", undefined, { once: true })).approvals;
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

function add(approval) {
  const card = new ApprovalCard(approval, drawCount);
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
