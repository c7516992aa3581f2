// What the page asks of the sandbox.

import { toast } from "./dom.js";

async function answer(response) {
  const kind = response.headers.get("content-type") || "";
  const body = kind.includes("json") ? await response.json() : await response.text();
  if (!response.ok) throw new Error(body.error || `the sandbox answered ${response.status}`);
  return body;
}

export async function get(path) {
  return answer(await fetch(path));
}

export async function post(path, body = {}) {
  const headers = { "Content-Type": "application/json" };
  return answer(await fetch(path, { method: "POST", headers, body: JSON.stringify(body) }));
}

/** An act of a person; false, and a word on the page, when it was refused. */
export async function act(name, body) {
  try {
    return await post(`/control/${name}`, body);
  } catch (error) {
    toast(error instanceof TypeError ? "The sandbox is not running." : error.message);
    return false;
  }
}

/** Listens forever: a stream that ended, for whatever reason, is opened again. */
export function listen(handlers, lost) {
  let source;
  const open = () => {
    source = new EventSource("/page/stream");
    for (const [kind, handle] of Object.entries(handlers)) {
      source.addEventListener(kind, (event) => handle(JSON.parse(event.data)));
    }
    source.onerror = () => {
      lost();
      if (source.readyState === EventSource.CLOSED) setTimeout(open, 700);
    };
  };
  open();
}
