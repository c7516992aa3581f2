// One turn as it is written: its events in order, each once, across as many connections as that takes.

import { Refused, refusalOf, signedInAgain } from "./api.js";
import { EventParser } from "./sse.js";

const MOST_TRIES = 12;
const FIRST_WAIT = 250;
const LONGEST_WAIT = 8000;
const SILENCE = 45_000; // a heartbeat comes every 15 seconds
const PASSING = new Set([408, 425, 429, 500, 502, 503, 504]);

/** The host could not be reached for longer than one wants to wait. */
export class ConnectionLost extends Error {}

/**
 * The events of the turn that `body` begins, or of the one that runs already under the same idempotency key.
 *
 * `place.id` is the last event that was read, and moves with the stream: from there the turn is read on, and no other
 * one begins; an event "place" says only that it moved. `onState` hears "open" and "lost". Raises Refused, ConnectionLost, and AbortError at `signal`.
 */
export async function* follow(url, body, { key, place, signal, onState }) {
  let tries = 0;
  for (;;) {
    const before = place.id;
    let wait = null;
    try {
      const attempt = new AbortController();
      const response = await opened(url, body, { key, after: before, signal, attempt });
      if (response.status === 204) return;
      if (response.status === 401) {
        await signedInAgain();
        continue;
      }
      if (PASSING.has(response.status)) wait = Number(response.headers.get("Retry-After")) * 1000;
      else if (!response.ok) throw await refusalOf(response);
      else {
        onState("open");
        for await (const event of eventsOf(response, place, attempt)) {
          yield event;
          if (event.kind === "done" || (event.kind === "error" && !isAnsweredAnew(event))) return;
        }
      }
    } catch (error) {
      if (signal.aborted || error instanceof Refused) throw error;
    }
    tries = place.id === before ? tries + 1 : 1;
    if (tries > MOST_TRIES) throw new ConnectionLost();
    onState("lost");
    wait ||= Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** (tries - 1)) * (0.5 + Math.random() / 2);
    await pause(Math.min(wait, 60_000), signal);
  }
}

/** The object in an event's data; an empty one where there is none. */
export function parsed(data) {
  try {
    const found = JSON.parse(data);
    return found && typeof found === "object" ? found : {};
  } catch {
    return {};
  }
}

/** Whether an `error` ends only what was shown so far: the whole answer follows as a new message. */
export const isAnsweredAnew = (event) => event.kind === "error" && parsed(event.data).answered_anew === true;

/** The answer to a request for the turn; `attempt` is aborted where nothing comes. */
async function opened(url, body, { key, after, signal, attempt }) {
  const timer = setTimeout(() => attempt.abort(), SILENCE);
  try {
    return await fetch(url, {
      method: "POST",
      headers: {
        "Content-Type": "application/json",
        Accept: "text/event-stream",
        "Idempotency-Key": key,
        ...(after && { "Last-Event-ID": after }),
      },
      body: JSON.stringify(body),
      signal: AbortSignal.any([signal, attempt.signal]),
      credentials: "same-origin",
      redirect: "error",
      cache: "no-store",
    });
  } finally {
    clearTimeout(timer);
  }
}

async function* eventsOf(response, place, attempt) {
  const parser = new EventParser();
  const decoder = new TextDecoder();
  const reader = response.body.getReader();
  let timer;
  try {
    for (;;) {
      timer = setTimeout(() => attempt.abort(), SILENCE);
      const { done, value } = await reader.read();
      clearTimeout(timer);
      if (done) return;
      for (const { id, kind, data } of parser.feed(decoder.decode(value, { stream: true }))) {
        if (id && !isAfter(id, place.id)) continue;
        place.id = id || place.id;
        yield data === null ? { id, kind: "place", data: "" } : { id, kind, data };
      }
    }
  } finally {
    clearTimeout(timer);
    reader.cancel().catch(() => {});
  }
}

/** Whether an event comes after another one of its turn: an id is <turn>-<milliseconds>-<number>. */
export function isAfter(id, last) {
  const [turn, time, number] = id.split("-");
  const [lastTurn, lastTime, lastNumber] = last.split("-");
  if (turn !== lastTurn || lastNumber === undefined) return true;
  return time === lastTime ? Number(number) > Number(lastNumber) : Number(time) > Number(lastTime);
}

/** Waits; not longer than until the browser says that the network is back. */
function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const end = () => {
      clearTimeout(timer);
      removeEventListener("online", end);
      signal.removeEventListener("abort", end);
      if (signal.aborted) reject(signal.reason);
      else resolve();
    };
    const timer = setTimeout(end, milliseconds);
    addEventListener("online", end);
    signal.addEventListener("abort", end);
  });
}
