// Elements without markup: everything that is shown goes in as text nodes.

export const $ = (id) => document.getElementById(id);

/** An element with properties and children; `data` goes to its dataset, `on` to listeners. */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "class") element.className = value;
    else if (name === "data") Object.assign(element.dataset, value);
    else if (name === "on") for (const [kind, act] of Object.entries(value)) element.addEventListener(kind, act);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export function toast(words, seconds = 4) {
  const shown = h("p", { class: "toast" }, words);
  $("toasts").append(shown);
  setTimeout(() => shown.remove(), seconds * 1000);
}

export function alertBox(words) {
  $("alert-words").textContent = words;
  if (!$("alert").open) $("alert").showModal();
}

export const kept = {
  get(name) {
    try { return localStorage.getItem(`sandbox.${name}`); } catch { return null; }
  },
  set(name, value) {
    try { localStorage.setItem(`sandbox.${name}`, value); } catch { /* private windows keep nothing */ }
  },
};

export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    toast("Copied", 2);
  } catch {
    toast("This browser does not allow copying here");
  }
}
