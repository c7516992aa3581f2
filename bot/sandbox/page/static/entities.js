// A text with the Bot API's entities as nodes. Offsets are UTF-16 units, as in JavaScript.

import { h, copy } from "./dom.js";

const SAFE = /^(https?|mailto|tel|tg|tonsite):/i;
const BLOCKS = new Set(["pre", "blockquote", "expandable_blockquote"]);

/** Nodes for `text`; `act` has `command(text)` for what is pressed in it. */
export function rendered(text, entities = [], act = {}) {
  const sorted = [...entities].sort((a, b) => a.offset - b.offset || b.length - a.length);
  return between(text, 0, text.length, sorted, act);
}

function between(text, start, stop, entities, act) {
  const nodes = [];
  let at = start;
  for (let index = 0; index < entities.length; index += 1) {
    const entity = entities[index];
    const end = Math.min(entity.offset + entity.length, stop);
    if (entity.offset < at || end <= entity.offset) continue;
    const block = BLOCKS.has(entity.type);
    push(nodes, trimmed(text.slice(at, entity.offset), afterBlock(nodes), block));
    const inner = entities.slice(index + 1).filter((one) => one.offset >= entity.offset && one.offset + one.length <= end);
    nodes.push(element(entity, between(text, entity.offset, end, inner, act), text.slice(entity.offset, end), act));
    at = end;
  }
  push(nodes, trimmed(text.slice(at, stop), afterBlock(nodes), false));
  return nodes;
}

const push = (nodes, text) => { if (text) nodes.push(document.createTextNode(text)); };
const afterBlock = (nodes) => nodes.at(-1)?.dataset?.block === "yes";

// A block stands on lines of its own: the line breaks around it are already there.
function trimmed(text, after, before) {
  const cut = after ? text.replace(/^\n/, "") : text;
  return before ? cut.replace(/\n$/, "") : cut;
}

const PLAIN = { bold: "strong", italic: "em", underline: "u", strikethrough: "s", code: "code" };

function element(entity, children, text, act) {
  const plain = PLAIN[entity.type];
  if (plain) return h(plain, {}, children);
  switch (entity.type) {
    case "pre": return codeBlock(entity.language, children, text);
    case "blockquote": case "expandable_blockquote":
      return h("blockquote", { data: { block: "yes" } }, children);
    case "spoiler": return spoiler(children);
    case "text_link": return link(entity.url, children);
    case "url": return link(/^[a-z]+:/i.test(text) ? text : `http://${text}`, children);
    case "email": return link(`mailto:${text}`, children);
    case "phone_number": return link(`tel:${text}`, children);
    case "bot_command": return h("button", { type: "button", class: "linkish", on: { click: () => act.command?.(text) } }, children);
    case "mention": case "text_mention": case "hashtag": case "cashtag":
      return h("strong", {}, children);
    default: return h("span", {}, children);
  }
}

function link(url, children) {
  if (!SAFE.test(url)) return h("span", { title: url }, children);
  return h("a", { href: url, target: "_blank", rel: "noopener noreferrer", title: url }, children);
}

function spoiler(children) {
  const shown = h("button", { type: "button", class: "spoiler", "aria-expanded": "false", "aria-label": "Hidden text: press to show" });
  const open = () => {
    shown.setAttribute("aria-expanded", "true");
    shown.removeAttribute("aria-label");
  };
  shown.addEventListener("click", open, { once: true });
  shown.append(...children);
  return shown;
}

function codeBlock(language, children, text) {
  const head = h("header", {},
    h("span", { class: "plate" }, language || "text"),
    h("button", { type: "button", on: { click: () => copy(text) } }, "Copy"));
  const body = h("pre", { tabindex: "0", "aria-label": language ? `Code in ${language}` : "Preformatted text" }, h("code", {}, children));
  return h("div", { class: "code", data: { block: "yes" } }, head, body);
}
