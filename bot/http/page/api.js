// Requests to this host. The cookie says who asks; no key is kept here.

/** An answer that says no: its status, and what it says about the reason. */
export class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail || problem.title || `The host answered with status ${status}.`);
    this.status = status;
    this.problem = problem;
  }
}

/** What a refusal says, as an object; at worst an empty one. */
export async function refusalOf(response) {
  let problem = {};
  try {
    const found = JSON.parse(await response.text());
    if (found && typeof found === "object") problem = found;
  } catch {
    // A proxy may answer with something that is not JSON.
  }
  return new Refused(response.status, problem);
}

let asking = null; // while nobody is signed in: { promise, resolve }
let onSignedOut = () => {};

/** Sets what is called when the session has ended. */
export const whenSignedOut = (act) => {
  onSignedOut = act;
};

/** Returns when somebody has signed in again. */
export function signedInAgain() {
  if (!asking) {
    asking = Promise.withResolvers();
    onSignedOut();
  }
  return asking.promise;
}

/** Lets those go on who wait for a person who is signed in. */
export function signedIn() {
  asking?.resolve();
  asking = null;
}

/**
 * The JSON of an answer, null where it has none. Raises Refused; a session that ended is waited for, unless `once`.
 */
export async function ask(method, path, body = undefined, { once = false, headers = {} } = {}) {
  for (;;) {
    const sent = body === undefined ? { ...headers } : { "Content-Type": "application/json", ...headers };
    const response = await fetch(path, {
      method,
      headers: sent,
      body: body === undefined ? undefined : JSON.stringify(body),
      credentials: "same-origin",
      redirect: "error",
      signal: AbortSignal.timeout(30_000),
    });
    if (response.status === 401 && !once) {
      await signedInAgain();
      continue;
    }
    if (!response.ok) throw await refusalOf(response);
    const text = await response.text();
    return text ? JSON.parse(text) : null;
  }
}
