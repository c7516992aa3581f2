// One message, or one draft, as an element.

import { h, copy, alertBox, toast } from "./dom.js";
import { act } from "./api.js";
import { rendered } from "./entities.js";
import { state, party, bot, cordOf, fileOf, serviceWords, textOf } from "./state.js";

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });

export function avatar(who) {
  const isBot = Boolean(bot(who.id));
  const letters = (who.first_name ?? "?").slice(0, 1);
  return h("span", { class: isBot ? "avatar" : "avatar person-a", "aria-hidden": "true", data: isBot ? { cord: cordOf(who.id) } : {} }, letters);
}

/** The element of a message; `doing` has `reply(item)`, `edit(item)` and `say(text)`. */
export function messageElement(item, room, doing) {
  const { message } = item;
  const service = serviceWords(message);
  if (service) return h("li", { class: "service", data: { id: message.message_id } }, service);
  const author = message.from ?? message.sender_chat ?? {};
  const mine = author.id === state.me;
  const named = !mine && !room.bot;
  const bubble = h("div", { class: "bubble" },
    named && h("span", { class: "name" }, author.first_name ?? author.title),
    mine ? h("span", { class: "unseen" }, "You: ") : !named && h("span", { class: "unseen" }, `${author.first_name}: `),
    quoted(message),
    attachment(message),
    body(message, doing),
    meta(item, mine, doing));
  const column = h("div", { class: "column" }, bubble, buttons(item, room), reactions(item));
  const cord = author.is_bot ? { cord: cordOf(author.id) } : {};
  return h("li", { class: mine ? "message mine" : "message", data: { id: message.message_id, ...cord } },
    !mine && !room.bot && avatar(author), column);
}

export function draftElement(draft, room, doing) {
  const author = party(draft.bot) ?? { first_name: "Bot", id: draft.bot };
  const stop = draft.can_stop && h("button", { type: "button", class: "stop", on: { click: () => doing.stop(draft) } }, "Stop");
  const bubble = h("div", { class: "bubble" },
    !room.bot && h("span", { class: "name" }, author.first_name),
    h("div", { class: "text" }, rendered(draft.text, draft.entities)),
    h("div", { class: "meta" }, h("span", {}, "being written"), stop));
  return h("li", { class: "message draft", data: { cord: cordOf(draft.bot) } },
    !room.bot && avatar(author), h("div", { class: "column" }, bubble));
}

function quoted(message) {
  const to = message.reply_to_message;
  if (!to || to.forum_topic_created) return null;
  return h("span", { class: "quoted" }, `${to.from?.first_name ?? ""}: ${textOf(to)}`);
}

function attachment(message) {
  const file = fileOf(message);
  if (!file) return null;
  const url = `/page/file/${encodeURIComponent(file.id)}`;
  if (file.kind === "photo") {
    const image = h("img", { class: "picture", src: url, alt: message.caption || "Picture" });
    image.addEventListener("error", () => image.replaceWith(h("span", { class: "file" }, "A picture that this browser cannot show")));
    return image;
  }
  return h("a", { class: "file", href: url, download: file.name }, `⤓ ${file.name}`, h("small", {}, ` ${Math.ceil(file.size / 1024)} KB`));
}

function body(message, doing) {
  const text = message.text ?? message.caption;
  if (!text) return null;
  const entities = message.entities ?? message.caption_entities ?? [];
  return h("div", { class: "text" }, rendered(text, entities, { command: doing.say }));
}

function meta(item, mine, doing) {
  const { message } = item;
  const when = new Date(message.date * 1000);
  const acts = h("span", { class: "acts" },
    h("button", { type: "button", on: { click: () => doing.reply(item) } }, "Reply"),
    mine && message.text && h("button", { type: "button", on: { click: () => doing.edit(item) } }, "Edit"));
  return h("div", { class: "meta" }, acts,
    message.edit_date && h("span", {}, "edited"),
    h("time", { datetime: when.toISOString() }, clock.format(when)));
}

function buttons(item, room) {
  const rows = item.message.reply_markup?.inline_keyboard;
  if (!rows) return null;
  const shown = rows.map((row) => h("div", {}, row.map((button) => key(button, item, room))));
  return h("div", { class: "buttons", role: "group", "aria-label": "Buttons of this message" }, shown);
}

function key(button, item, room) {
  if (button.url && /^https?:/i.test(button.url)) {
    return h("a", { class: "key", href: button.url, target: "_blank", rel: "noopener noreferrer" }, `${button.text} ↗`);
  }
  const pressed = async () => {
    if (button.copy_text) return copy(button.copy_text.text);
    if (!button.callback_data) return toast("The sandbox has no such thing behind this button");
    return act("press", { person: state.me, room: room.key, message: item.message.message_id, button: button.callback_data });
  };
  return h("button", { type: "button", class: "key", on: { click: pressed } }, button.text);
}

function reactions(item) {
  const emoji = item.reactions.flatMap((one) => one.reaction.map((r) => r.emoji ?? "★"));
  return emoji.length ? h("span", { class: "reactions", "aria-label": `Reactions: ${emoji.join(" ")}` }, emoji.join(" ")) : null;
}

/** What a bot said to a press. */
export function callbackAnswer(data) {
  if (data.person !== state.me || !data.text) return;
  if (data.show_alert) alertBox(data.text);
  else toast(data.text);
}
