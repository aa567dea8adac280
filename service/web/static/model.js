// One model: its versions, a form for each of its signatures, the answer, and what goes in and out.

import { answered, failed } from "./answer.js";
import { ask, complaint } from "./api.js";
import { commandLine } from "./curl.js";
import { choice, element } from "./dom.js";
import * as draw from "./draw.js";
import * as json from "./json.js";
import { protocols } from "./requests.js";
import * as speech from "./speech.js";
import { shapeText, signatures, zeros } from "./tensors.js";

/** Kinds of form; those that fit a signature are offered, the first of them is shown.
 *
 * Each has a `title`; `fits` tells whether it is one for a signature; `create` takes a signature and a function to call
 * upon every change, with true if an answer is wanted at once, and returns {element, read}: `read` returns the tensors
 * of the request, [{name, text}], or throws an Error that tells a person what is missing. */
const FORMS = [draw, json];

/** Return the element that shows the model, and whether it lacks a token or is not ready: {element, status}. */
export async function model(name) {
  const [state, metadata] = await Promise.all([ask(`v1/models/${name}`), ask(`v1/models/${name}/metadata`)]);
  const head = element("header", {}, element("h2", {}, name), versions(state));
  const body = metadata.status === 200 ? choices(name, signatures(metadata.json)) : [failed(complaint(metadata))];
  return { element: element("article", {}, head, body), status: metadata.status };
}

function versions({ json }) {
  return (json?.model_version_status ?? []).map(({ version, state }) =>
    element("span", { class: state === "AVAILABLE" ? "badge good" : "badge" }, `version ${version}: ${state.toLowerCase()}`));
}

function choices(name, all) {
  const place = element("div");
  const open = (position) => place.replaceChildren((speech.fits(all[position]) ? spoken : signature)(name, all[position]));
  open(0);
  return [choice("Signature", all.map((one) => one.name), open), place];
}

/** A model of speech can be spoken to, or asked as all others are. */
function spoken(name, one) {
  const ways = [() => speech.create(name), () => signature(name, one)], place = element("div", {}, ways[0]());
  const choose = choice("Way to ask", ["Speech", "Tensors"], (way) => place.replaceChildren(ways[way]()));
  return element("div", { class: "ways" }, choose, place);
}

function signature(name, one) {
  const line = commandLine(name, one);
  const answer = element("div", { class: "answer", "aria-live": "polite" },
    element("p", { class: "hint" }, "The answer will stand here."));
  const send = sender(name, one, answer);
  const kinds = FORMS.filter((kind) => kind.fits(one));
  const forms = kinds.map((kind) => kind.create(one, (finished) => change(finished)));
  let form = forms[0];

  function change(finished) {
    line.show(attempt(form, one));
    if (finished) send(form);
  }

  const place = element("div", {}, form.element);
  const kind = choice("Kind of form", kinds.map(({ title }) => title), (position) => {
    form = forms[position];
    place.replaceChildren(form.element);
    change(false);
  });
  const submit = (event) => {
    event.preventDefault();
    send(form);
  };
  change(false);
  return element("div", { class: "signature" },
    element("form", { class: "ask", submit }, kind, place, element("button", { class: "primary" }, "Ask the model")),
    answer, line.element, tables(one));
}

/** Return a function that sends what the form holds and shows the answer to what was sent last. */
function sender(name, one, place) {
  let earlier = new AbortController();
  return async (form) => {
    earlier.abort();
    const { signal } = (earlier = new AbortController());
    place.setAttribute("aria-busy", "true");
    try {
      const answer = await ask(protocols[0].path(name), protocols[0].body(one, form.read()), signal);
      place.replaceChildren(...answered(one, answer));
    } catch (error) {
      if (!signal.aborted) place.replaceChildren(failed(error.message));
    }
    if (!signal.aborted) place.removeAttribute("aria-busy");
  };
}

/** Return what the form holds, or zeros while that is no request. */
function attempt(form, { inputs }) {
  try {
    return form.read();
  } catch {
    return inputs.map((input) => ({ name: input.name, text: zeros(input) }));
  }
}

function tables({ inputs, outputs }) {
  const row = (kind) => (tensor) => element("tr", {},
    element("td", {}, kind), element("td", {}, element("code", {}, tensor.name)),
    element("td", {}, tensor.type), element("td", {}, shapeText(tensor)));
  return element("section", { class: "tensors" },
    element("h3", {}, "What goes in and comes out"),
    element("table", {},
      element("thead", {}, element("tr", {}, ["", "name", "type", "shape"].map((head) => element("th", { scope: "col" }, head)))),
      element("tbody", {}, inputs.map(row("input")), outputs.map(row("output")))));
}
