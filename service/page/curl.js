// The request of a form as a line for the shell.

import { hasToken } from "./api.js";
import { choice, element } from "./dom.js";
import { protocols } from "./requests.js";

/** Longer bodies go into a file. */
const LONGEST = 4000;

/** Return {element, show}; `show` takes the tensors of the request, [{name, text}]. */
export function commandLine(model, signature) {
  let protocol = protocols[0], tensors = [], body = "";
  const code = element("code"), status = element("span", { role: "status", class: "hint" });
  const save = element("button", { type: "button", hidden: true, click: () => download(body) }, "Save request.json");
  const copy = element("button", { type: "button", click: async () => {
    status.textContent = (await copied(code)) ? "Copied." : "Marked: copy it with Ctrl+C.";
  } }, "Copy");

  function show(given = tensors) {
    tensors = given;
    body = compact(protocol.body(signature, tensors));
    save.hidden = body.length <= LONGEST;
    code.textContent = line(new URL(protocol.path(model), document.baseURI), body);
    status.textContent = "";
  }

  const choose = choice("Protocol", protocols.map(({ title }) => title), (position) => {
    protocol = protocols[position];
    show();
  });
  const made = element("section", { class: "curl" },
    element("h3", {}, "The same from the command line"), choose,
    element("pre", { tabindex: 0 }, code), element("p", { class: "row" }, copy, save, status));
  return { element: made, show };
}

function line(url, body) {
  const token = hasToken() ? ` \\\n  -H "Authorization: Bearer $TOKEN"` : "";
  const data = body.length > LONGEST ? "@request.json" : `'${body.replaceAll("'", `'\\''`)}'`;
  return `curl ${url}${token} \\\n  -H 'Content-Type: application/json' \\\n  -d ${data}`;
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

function download(body) {
  const href = URL.createObjectURL(new Blob([body], { type: "application/json" }));
  element("a", { href, download: "request.json" }).click();
  URL.revokeObjectURL(href);
}
