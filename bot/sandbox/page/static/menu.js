// The commands that the bots of a chat offer: shown while a message begins with a slash.

import { $, h } from "./dom.js";
import { get } from "./api.js";
import { state, room } from "./state.js";

let offered = []; // [{ text, description }] of the open chat
let shown = [];
let chosen = 0;

/** Telegram's order: the narrowest scope that has commands counts, and no wider one. */
function commandsOf(bot, one) {
  const member = one.members.find((each) => each.id === state.me);
  const isAdmin = ["administrator", "creator"].includes(member?.status);
  const scopes = one.bot
    ? [`chat:${one.chat.id}:0`, "all_private_chats"]
    : [
        `chat_member:${one.chat.id}:${state.me}`,
        ...(isAdmin ? [`chat_administrators:${one.chat.id}:0`] : []),
        `chat:${one.chat.id}:0`,
        ...(isAdmin ? ["all_chat_administrators"] : []),
        "all_group_chats",
      ];
  const scope = [...scopes, "default"].find((each) => bot.commands[`${each}:`]);
  return bot.commands[`${scope}:`] ?? [];
}

/** Reads anew what the bots of the open chat offer to the person one is. */
export async function readCommands() {
  const key = state.room;
  const { bots } = await get("/control/state");
  const one = room();
  if (!one || state.room !== key) return;
  const here = bots.filter((bot) => one.members.some((member) => member.id === bot.id));
  offered = here.flatMap((bot) => commandsOf(bot, one).map(({ command, description }) => ({
    text: one.bot ? `/${command}` : `/${command}@${bot.username}`,
    description: one.bot ? description : `${bot.first_name}: ${description}`,
  })));
  $("commands").hidden = !offered.length;
  draw();
}

const isOpen = () => !$("menu").hidden;

function draw() {
  const written = $("write").value;
  shown = /^\/[\w@]*$/.test(written) ? offered.filter(({ text }) => text.startsWith(written.toLowerCase())) : [];
  if (shown.length === 1 && shown[0].text === written) shown = [];
  chosen = Math.min(chosen, Math.max(0, shown.length - 1));
  $("menu").replaceChildren(...shown.map(({ text, description }, at) => h("li", {
    id: `command-${at}`, role: "option", "aria-selected": String(at === chosen),
    on: { mousedown: (event) => { event.preventDefault(); take(at); } },
  }, h("b", {}, text), h("span", {}, description))));
  $("menu").hidden = !shown.length;
  $("write").setAttribute("aria-expanded", String(isOpen()));
  if (!isOpen()) return $("write").removeAttribute("aria-activedescendant");
  $("write").setAttribute("aria-activedescendant", `command-${chosen}`);
  $(`command-${chosen}`).scrollIntoView({ block: "nearest" });
}

function take(at) {
  $("write").value = `${shown[at].text} `;
  $("write").focus();
  draw();
}

function move(step) {
  chosen = (chosen + step + shown.length) % shown.length;
  draw();
}

/** A key in the field; whether the menu took it. Enter on a command that is written out sends it. */
export function takesKey(event) {
  if (!isOpen() || event.isComposing) return false;
  if (event.key === "Enter" && shown.some(({ text }) => text === $("write").value)) {
    $("menu").hidden = true;
    return false;
  }
  const steps = { ArrowDown: 1, ArrowUp: -1 };
  if (event.key in steps) move(steps[event.key]);
  else if (event.key === "Tab" || (event.key === "Enter" && !event.shiftKey)) take(chosen);
  else if (event.key === "Escape") $("menu").hidden = true;
  else return false;
  event.preventDefault();
  return true;
}

export function prepareMenu() {
  $("write").addEventListener("input", () => {
    chosen = 0;
    draw();
    if ($("write").value === "/") readCommands();
  });
  $("write").addEventListener("blur", () => { $("menu").hidden = true; });
  $("commands").addEventListener("mousedown", (event) => event.preventDefault());
  $("commands").addEventListener("click", () => {
    $("write").value = isOpen() ? "" : "/";
    $("write").focus();
    draw();
    readCommands();
  });
}
