// The request of a form as a line for the shell.

import { hasToken } from "./api.js";
import { choice, element } from "./dom.js";
import { protocols } from "./requests.js";

/** Longer bodies go into a file. */
const LONGEST = 4000;

/** Return {element, show}; `show` takes the tensors of the request, [{name, text}]. */
export function commandLine(model, signature) {
  let protocol = protocols[0], tensors = [], body = "";
  const save = element("button", { type: "button", hidden: true, click: () =>
    download(new Blob([body], { type: "application/json" }), "request.json") }, "Save request.json");

  function show(given = tensors) {
    tensors = given;
    body = compact(protocol.body(signature, tensors));
    save.hidden = body.length <= LONGEST;
    box.show(line(protocol.path(model), body));
  }

  const choose = choice("Protocol", protocols.map(({ title }) => title), (position) => {
    protocol = protocols[position];
    show();
  });
  const box = shell(choose, save);
  return { element: box.element, show };
}

/** Return {element, show}: lines for the shell that can be copied; `choose` stands above them, `more` below. */
export function shell(choose, ...more) {
  const code = element("code"), status = element("span", { role: "status", class: "hint" });
  const copy = element("button", { type: "button", click: async () => {
    status.textContent = (await copied(code)) ? "Copied." : "Marked: copy it with Ctrl+C.";
  } }, "Copy");
  const made = element("section", { class: "curl" },
    element("h3", {}, "The same from the command line"), choose,
    element("pre", { tabindex: 0 }, code), element("p", { class: "row" }, copy, more, status));
  const show = (text) => {
    code.textContent = text;
    status.textContent = "";
  };
  return { element: made, show };
}

/** Return how a line begins that asks the service at `path`. */
export function curl(path) {
  const token = hasToken() ? ` \\\n  -H "Authorization: Bearer $TOKEN"` : "";
  const address = new URL(path, document.baseURI);
  return `curl ${address.search ? `'${address}'` : address}${token} \\\n `;
}

/** Have the browser save a blob as a file. */
export function download(blob, name) {
  const href = URL.createObjectURL(blob);
  element("a", { href, download: name }).click();
  URL.revokeObjectURL(href);
}

function line(path, body) {
  const data = body.length > LONGEST ? "@request.json" : `'${body.replaceAll("'", `'\\''`)}'`;
  return `${curl(path)} -H 'Content-Type: application/json' \\\n  -d ${data}`;
}

/** Leave out the blanks outside of strings, which only make JSON easier to edit. */
function compact(body) {
  return body.replace(/("(?:[^"\\]|\\.)*")|\s+/g, (_, text) => text ?? "");
}

async function copied(code) {
  try {
    await navigator.clipboard.writeText(code.textContent); // only where the page came by HTTPS, or from this machine
    return true;
  } catch {
    getSelection().selectAllChildren(code);
    return document.execCommand("copy");
  }
}
