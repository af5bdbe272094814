/* The public API, as the reader: the browser adds the session, this adds what proves
   that a page of ours asks. */

/** What was not done, and why: `problem` is what the service says of it, if it does. */
export class Refused extends Error {
  constructor(status, problem, response = null) {
    super(problem?.detail ?? "");
    this.name = "Refused";
    this.status = status;
    this.problem = problem ?? {};
    this.response = response;
  }
}

/**
 * Send a request; return what was answered, parsed, or null for nothing.
 * Throws Refused; its status is 0 where the service could not be reached.
 * @param {string} method
 * @param {string} path
 * @param {unknown} [body]
 * @param {{headers?: Record<string, string>, signal?: AbortSignal}} [options]
 */
export async function call(method, path, body, { headers = {}, signal } = {}) {
  const response = await send(method, path, body, headers, signal);
  const answer = await parsed(response);
  if (response.ok) return answer;
  // Unless it was about a password that the page has just asked for.
  if (response.status === 401 && !headers.Authorization) signIn();
  throw new Refused(response.status, answer, response);
}

/** The Idempotency-Key of a request, which is done once however often it is sent. */
export class OnceKey {
  #text = null;
  #key;

  /** Return the key of a body: the same until another is sent, or it is forgotten. */
  of(body) {
    const text = JSON.stringify(body);
    if (text !== this.#text) [this.#text, this.#key] = [text, randomText()];
    return this.#key;
  }

  /** Have the same body be a new request. */
  forget() {
    this.#text = null;
  }
}

/** Go to sign in, and back to this page after it. */
export function signIn() {
  const next = location.pathname + location.search;
  location.assign(`/ui/sign-in?${new URLSearchParams({ next })}`);
}

async function send(method, path, body, headers, signal) {
  const token = document.querySelector("meta[name=csrf-token]")?.content ?? "";
  const all = { Accept: "application/json", "X-CSRF-Token": token, ...headers };
  if (body !== undefined) all["Content-Type"] = "application/json";
  const sent = body === undefined ? undefined : JSON.stringify(body);
  try {
    return await fetch(path, { method, headers: all, body: sent, signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, { detail: error.message });
  }
}

async function parsed(response) {
  const isJson = (response.headers.get("Content-Type") ?? "").includes("json");
  if (response.status === 204 || !isJson) return null;
  return response.json();
}

/** Return a text that nobody else has; randomUUID takes a page behind TLS. */
function randomText() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
