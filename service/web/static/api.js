// Asks the service. Addresses are relative to the page's, so that it works behind a path of an ingress too.

let token = ""; // in memory only

/** Send this token along from now on; an empty one is none. */
export function useToken(given) {
  token = given;
}

/** Tell whether a token is in use. */
export function hasToken() {
  return token !== "";
}

/** GET `path`, or POST `body` to it: JSON text, or what its `more` headers say.
 *
 * Returns {status, seconds, text, json, after}: json is undefined if it is none, `after` are the seconds after which to
 * try again, 0 if the service says nothing of that. */
export async function ask(path, body, signal, more = {}) {
  const headers = { Accept: "application/json", ...(body !== undefined && { "Content-Type": "application/json" }), ...more };
  if (token) headers.Authorization = `Bearer ${token}`;
  const method = body === undefined ? "GET" : "POST";
  const begun = performance.now();
  const response = await fetch(path, { method, headers, body, signal, cache: "no-store" });
  const text = await response.text(), seconds = (performance.now() - begun) / 1000;
  const after = Number(response.headers.get("Retry-After")) || 0;
  return { status: response.status, seconds, text, json: parsed(text), after };
}

/** Return what a person is to know of an answer that tells of an error. */
export function complaint({ status, text, json }) {
  const said = typeof json?.error === "string" ? json.error : text.slice(0, 300);
  return `${MEANINGS[status] ?? "That did not work."} (${status}${said && `: ${said}`})`;
}

const MEANINGS = {
  400: "The model cannot take this.",
  401: "A token is needed: enter it above.",
  403: "This token is not known: enter another one above.",
  404: "There is no such model.",
  413: "This is too large.",
  429: "The service is full: try again in a moment.",
  503: "The model is not ready yet: try again in a moment.",
  504: "It took too long.",
};

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
