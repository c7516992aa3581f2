// A small, safe part of Markdown as elements. Nothing that is written here can become markup or a script.

import { button, h } from "./dom.js";

const DEEPEST = 4;
const OPEN_MOST = 16 * 1024; // characters of a block that are drawn again and again while it grows

const FENCE = /^ {0,3}(`{3,}|~{3,})\s*([\w+#.-]{0,30})/;
const HEADING = /^ {0,3}(#{1,6})\s+(.*)$/;
const RULE = /^ {0,3}(?:(?:\*\s*){3,}|(?:-\s*){3,}|(?:_\s*){3,})$/;
const ITEM = /^( {0,12})([-*+•]|\d{1,9}[.)])\s+(.*)$/;
const QUOTE = /^ {0,3}> ?(.*)$/;
const COLUMNS = /^[\s|:-]+$/;

const isBlank = (line) => !line.trim();
const isTable = (lines, at) => {
  const below = lines[at + 1] ?? "";
  return lines[at].includes("|") && below.includes("|") && below.includes("--") && COLUMNS.test(below);
};
const isShort = (line) => line.length < 200;
const begins = (lines, at) =>
  FENCE.test(lines[at]) || HEADING.test(lines[at]) || ITEM.test(lines[at]) || QUOTE.test(lines[at]) ||
  (isShort(lines[at]) && RULE.test(lines[at])) || isTable(lines, at);

/** The blocks of a text, each as {kind, at, …}: `at` is the number of its first line. */
export function blocksOf(lines) {
  const blocks = [];
  for (let at = 0; at < lines.length; ) {
    if (isBlank(lines[at])) {
      at += 1;
      continue;
    }
    const [block, next] = blockAt(lines, at);
    blocks.push({ ...block, at });
    at = next;
  }
  return blocks;
}

function blockAt(lines, at) {
  const line = lines[at];
  const fence = FENCE.exec(line);
  if (fence) return code(lines, at, fence);
  const heading = HEADING.exec(line);
  if (heading) return [{ kind: "heading", level: heading[1].length, text: heading[2] }, at + 1];
  if (isShort(line) && RULE.test(line)) return [{ kind: "rule" }, at + 1];
  if (ITEM.test(line)) return list(lines, at);
  if (QUOTE.test(line)) return quote(lines, at);
  if (isTable(lines, at)) return table(lines, at);
  let end = at + 1;
  while (end < lines.length && !isBlank(lines[end]) && !begins(lines, end)) end += 1;
  return [{ kind: "paragraph", text: lines.slice(at, end).join("\n") }, end];
}

function code(lines, at, [, mark, language]) {
  const closes = (line) => {
    const text = line.trim();
    return text.length >= mark.length && text === mark[0].repeat(text.length);
  };
  let end = at + 1;
  while (end < lines.length && !closes(lines[end])) end += 1;
  return [{ kind: "code", language, text: lines.slice(at + 1, end).join("\n") }, end + 1];
}

function list(lines, at) {
  const [, { length: own }, mark] = ITEM.exec(lines[at]);
  const isOrdered = /\d/.test(mark);
  const items = [];
  let end = at;
  while (end < lines.length) {
    const line = lines[end];
    const indent = line.search(/\S|$/);
    const item = ITEM.exec(line);
    if (item && indent <= own + 1 && /\d/.test(item[2]) === isOrdered) items.push([item[3]]);
    else if (isBlank(line)) {
      if (end + 1 >= lines.length || !continues(lines[end + 1], own, isOrdered)) break;
      items.at(-1).push("");
    } else if (indent > own + 1) items.at(-1).push(line.slice(Math.min(indent, own + mark.length + 1)));
    else break;
    end += 1;
  }
  return [{ kind: "list", isOrdered, start: Number.parseInt(mark, 10), items }, end];
}

function continues(line, own, isOrdered) {
  const item = ITEM.exec(line);
  const indent = line.search(/\S|$/);
  return !isBlank(line) && (indent > own + 1 || (item !== null && /\d/.test(item[2]) === isOrdered));
}

function quote(lines, at) {
  let end = at;
  const inner = [];
  for (let found = QUOTE.exec(lines[end]); found; found = end < lines.length ? QUOTE.exec(lines[end]) : null) {
    inner.push(found[1]);
    end += 1;
  }
  return [{ kind: "quote", lines: inner }, end];
}

function table(lines, at) {
  let end = at + 2;
  while (end < lines.length && lines[end].includes("|")) end += 1;
  return [{ kind: "table", head: cells(lines[at]), rows: lines.slice(at + 2, end).map(cells) }, end];
}

function cells(line) {
  const text = line.trim().replace(/^\|/, "").replace(/\|$/, "");
  return text.split("|").slice(0, 30).map((cell) => cell.trim());
}

// --- elements ---

function elementOf(block, depth = 0) {
  switch (block.kind) {
    case "code":
      return codeBox(block);
    case "heading":
      return h(`h${Math.min(block.level + 2, 6)}`, {}, inline(block.text));
    case "rule":
      return h("hr");
    case "list":
      return listOf(block, depth);
    case "quote":
      return h("blockquote", {}, elementsOf(block.lines, depth + 1));
    case "table":
      return tableOf(block);
    default:
      return h("p", {}, inline(block.text));
  }
}

function elementsOf(lines, depth) {
  if (depth > DEEPEST) return [h("p", {}, lines.join("\n"))];
  return blocksOf(lines).map((block) => elementOf(block, depth));
}

function listOf({ isOrdered, start, items }, depth) {
  const made = items.map((lines) => {
    const blocks = depth < DEEPEST ? blocksOf(lines) : [{ kind: "paragraph", text: lines.join("\n") }];
    const [first, ...others] = blocks;
    if (first?.kind !== "paragraph") return h("li", {}, blocks.map((one) => elementOf(one, depth + 1)));
    return h("li", {}, inline(first.text), others.map((one) => elementOf(one, depth + 1)));
  });
  return isOrdered ? h("ol", { start }, made) : h("ul", {}, made);
}

function tableOf({ head, rows }) {
  const row = (tag, texts) => h("tr", {}, head.map((_, at) => h(tag, {}, inline(texts[at] ?? ""))));
  const made = h("table", {}, h("thead", {}, row("th", head)), h("tbody", {}, rows.map((one) => row("td", one))));
  return h("div", { class: "table", tabindex: "0", role: "region", "aria-label": "Table" }, made);
}

function codeBox({ language, text }) {
  const shown = h("code", {}, text);
  const copy = async () => {
    await navigator.clipboard.writeText(shown.textContent);
    copier.textContent = "Copied";
    setTimeout(() => (copier.textContent = "Copy"), 2000);
  };
  const copier = button("Copy", () => copy().catch(() => (copier.textContent = "Not allowed")), { class: "quiet" });
  return h("figure", { class: "code" },
    h("figcaption", {}, h("span", {}, language || "code"), navigator.clipboard && copier),
    h("pre", { tabindex: "0", dir: "ltr" }, shown));
}

// --- within a line ---

const SPECIAL = /[`*_[\\]|https?:\/\//g;
const URL_END = /[\s<>"'`]/g;
const isWord = (character) => character !== undefined && /[\p{L}\p{N}]/u.test(character);

/** A text with code, bold, italics and links as nodes; as much work as the text is long. */
export function inline(text, depth = 0) {
  const nodes = [];
  const found = new Map(); // where each closing mark is next
  let plain = 0;
  const next = (mark, from) => {
    if (!found.has(mark) || (found.get(mark) >= 0 && found.get(mark) < from)) found.set(mark, text.indexOf(mark, from));
    return found.get(mark);
  };
  const put = (from, to, node) => {
    if (from > plain) nodes.push(text.slice(plain, from));
    if (node !== null) nodes.push(node);
    plain = to;
  };
  for (let at = nextSpecial(text, 0); at >= 0; at = nextSpecial(text, at)) {
    const end = depth > DEEPEST ? at : special(text, at, { next, put, depth });
    at = Math.max(end, at + 1);
  }
  put(text.length, text.length, null);
  return nodes;
}

function nextSpecial(text, from) {
  SPECIAL.lastIndex = from;
  return SPECIAL.exec(text)?.index ?? -1;
}

/** Where the mark at this place ends; the same place where it is none. */
function special(text, at, { next, put, depth }) {
  const inner = (from, to) => inline(text.slice(from, to), depth + 1);
  switch (text[at]) {
    case "\\":
      if (!/[!-/:-@[-`{-~]/.test(text[at + 1] ?? "")) return at;
      put(at, at + 1, null);
      return at + 2;
    case "`": {
      const mark = /`+/y;
      mark.lastIndex = at;
      const ticks = mark.exec(text)[0];
      const end = ticks.length < 9 ? next(ticks, at + ticks.length) : -1;
      if (end < 0) return at + ticks.length;
      put(at, end + ticks.length, h("code", {}, text.slice(at + ticks.length, end).trim() || " "));
      return end + ticks.length;
    }
    case "*":
    case "_": {
      const mark = text[at + 1] === text[at] ? text[at].repeat(2) : text[at];
      const from = at + mark.length;
      if (isWord(text[at - 1]) || !text[from] || /\s/.test(text[from])) return from;
      const end = next(mark, from);
      if (end <= from || /\s/.test(text[end - 1]) || isWord(text[end + mark.length])) return from;
      put(at, end + mark.length, h(mark.length === 2 ? "strong" : "em", {}, inner(from, end)));
      return end + mark.length;
    }
    case "[":
      return link(text, at, { next, put, inner });
    default: {
      URL_END.lastIndex = at;
      const stop = Math.min(URL_END.exec(text)?.index ?? text.length, at + 2000);
      const url = text.slice(at, stop).replace(/[.,;:!?)\]*_]{1,20}$/, "");
      const made = anchor(url, [url]);
      if (made) put(at, at + url.length, made);
      return at + url.length;
    }
  }
}

function link(text, at, { next, put, inner }) {
  const middle = next("](", at + 1);
  if (middle < 0 || middle - at > 500) return at + 1;
  let depth = 1;
  let end = middle + 2;
  for (; end < text.length && end - middle < 2000; end += 1) {
    if (text[end] === "(") depth += 1;
    else if (text[end] === ")") depth -= 1;
    if (!depth || /\s/.test(text[end])) break;
  }
  if (depth) return end; // what was looked at is not looked at again
  const made = anchor(text.slice(middle + 2, end), inner(at + 1, middle));
  if (!made) return at + 1;
  put(at, end + 1, made);
  return end + 1;
}

/** A link that opens in a new tab; null unless it leads to http or https. */
function anchor(address, children) {
  let url;
  try {
    url = new URL(address);
  } catch {
    return null;
  }
  if (!["http:", "https:"].includes(url.protocol) || url.username || url.password) return null;
  return h("a", { href: url.href, target: "_blank", rel: "noopener noreferrer nofollow", title: url.href }, children);
}

// --- a text that grows ---

/** Shows a text while it grows. What is complete is made once; only the end is made again. */
export class GrowingText {
  #tail = ""; // from the first line that may still change its meaning
  #open = []; // the blocks and elements of that end
  #frame = 0;
  #next = 0; // when it may be drawn again

  constructor(box) {
    this.box = box;
  }

  append(piece) {
    this.#tail += piece;
    this.#frame ||= requestAnimationFrame((now) => this.#draw(now));
  }

  /** Draws all of it now. */
  end() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    this.#render();
  }

  #draw(now) {
    this.#frame = 0;
    if (now < this.#next) {
      this.#frame = requestAnimationFrame((then) => this.#draw(then));
      return;
    }
    const start = performance.now();
    this.#render();
    // A long block takes long to draw; so it is drawn less often, and the page stays quick.
    this.#next = now + 8 * (performance.now() - start);
  }

  #render() {
    const lines = this.#tail.split(/\r\n|\n|\r/);
    const blocks = blocksOf(lines);
    // The last line is not complete: it may turn out to belong to the block before it.
    const closed = blocks.length - (blocks.at(-1)?.at === lines.length - 1 ? 2 : 1);
    if (closed > 0) {
      this.#show(blocks.splice(0, closed));
      this.#open = [];
      this.#tail = lines.slice(blocks[0].at).join("\n");
    }
    this.#show(blocks);
    if (this.#tail.length > OPEN_MOST && blocks.length < 2) this.#cut(lines.slice(blocks[0]?.at ?? 0), blocks[0]?.kind);
  }

  /** Closes a block that became too long to draw again and again, after its last whole line. */
  #cut(lines, kind) {
    const head = lines.slice(0, { code: 1, table: 2 }[kind] ?? 0); // what says how the next lines are meant
    const last = lines.length > head.length + 1 ? lines.pop() : "";
    this.#show(blocksOf(lines));
    this.#open = [];
    this.#tail = [...head, last].join("\n");
  }

  /** Puts blocks in the place of those that were open. */
  #show(blocks) {
    const [old, block] = [this.#open[0], blocks[0]];
    if (old?.block.kind === "code" && block?.kind === "code" && this.#open.length === 1 && blocks.length === 1) {
      const shown = old.element.querySelector("code");
      old.element.querySelector("figcaption > span").textContent = block.language || "code";
      if (block.text.startsWith(old.block.text)) shown.append(block.text.slice(old.block.text.length));
      else shown.textContent = block.text;
      old.block = block;
      return;
    }
    for (const { element } of this.#open) element.remove();
    this.#open = blocks.map((one) => ({ block: one, element: elementOf(one) }));
    this.box.append(...this.#open.map(({ element }) => element));
  }
}

/** A whole text as elements. */
export function rendered(text) {
  return elementsOf(text.split(/\r\n|\n|\r/), 0);
}
