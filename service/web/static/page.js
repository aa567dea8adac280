// The page: which models there are, and the one that is looked at. The part of the address behind # names it.

import { ask, complaint } from "./api.js";
import { failed } from "./answer.js";
import { element } from "./dom.js";
import { model } from "./model.js";
import { askForToken, onToken } from "./token.js";

/** Milliseconds after which a model that was not ready is asked again. */
const AGAIN = 2000;

const tabs = document.getElementById("models");
const place = document.getElementById("model");
let names = [], latest = 0;

async function start() {
  try {
    const answer = await ask("./");
    if (answer.status !== 200) throw new Error(complaint(answer));
    names = answer.json.models;
    document.getElementById("version").textContent = answer.json.version;
    tabs.hidden = names.length < 2;
    tabs.replaceChildren(...names.map((name) => element("a", { href: `#${name}` }, name)));
    await open();
  } catch (error) {
    place.replaceChildren(failed(error.message));
  }
}

/** Show the model that the address names, or the first. */
async function open() {
  const turn = ++latest;
  const asked = location.hash.slice(1); // names need no encoding
  const name = names.includes(asked) ? asked : names[0];
  for (const tab of tabs.children) tab.ariaCurrent = tab.textContent === name ? "page" : null;
  const shown = await model(name);
  if (turn !== latest) return; // another one was asked for meanwhile
  place.replaceChildren(shown.element);
  if (shown.status === 401 || shown.status === 403) askForToken();
  if (shown.status === 503) setTimeout(() => turn === latest && open(), AGAIN);
}

addEventListener("hashchange", open);
onToken(open);
start();
