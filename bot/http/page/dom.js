// Elements without markup: everything that is shown goes in as text, never as HTML.

export const $ = (id) => document.getElementById(id);

/** An element with attributes and children; `on` holds listeners, `data` goes into its dataset. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "on") for (const [kind, act] of Object.entries(value)) element.addEventListener(kind, act);
    else if (name === "data") Object.assign(element.dataset, value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export const button = (words, act, attributes = {}) =>
  h("button", { type: "button", on: { click: act }, ...attributes }, words);

const HIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g;

/** A text in which characters that cannot be seen, or that turn the direction of others, are spelt out. */
export const visible = (text) =>
  text.replace(HIDDEN, (one) => `\\u{${one.codePointAt(0).toString(16).padStart(4, "0")}}`);

/** At most so many characters, with a word on how many were left out. */
export const shortened = (text, most) =>
  text.length <= most ? text : `${text.slice(0, most)} … (${text.length - most} more characters)`;

/** A message that goes away by itself after a while. */
export function toast(words, kind = "error") {
  const shown = h("p", { class: "toast", data: { kind } }, words);
  $("toasts").append(shown);
  while ($("toasts").childElementCount > 3) $("toasts").firstElementChild.remove();
  setTimeout(() => shown.remove(), 6000);
}

/** Something that only a screen reader says. */
export function announce(words) {
  $("announcer").textContent = words;
}

/** What this tab remembers, and no other; keys and cookies are never among it. */
export const memory = {
  get(name) {
    try {
      return JSON.parse(sessionStorage.getItem(`switchboard.${name}`));
    } catch {
      return null;
    }
  },
  set(name, value) {
    try {
      if (value === null || value === undefined) sessionStorage.removeItem(`switchboard.${name}`);
      else sessionStorage.setItem(`switchboard.${name}`, JSON.stringify(value));
    } catch {
      // Without storage, a reload starts a new conversation.
    }
  },
  clear() {
    try {
      for (const name of Object.keys(sessionStorage)) {
        if (name.startsWith("switchboard.")) sessionStorage.removeItem(name);
      }
    } catch {
      // There is nothing to clear.
    }
  },
};

/** A random name of 22 characters. */
export function randomName() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}
