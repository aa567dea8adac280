// The form for every model: each input's values as JSON.

import { element } from "./dom.js";
import { shapeText, zeros } from "./tensors.js";

export const title = "JSON";

/** Tell whether this form is one for the signature; it is one for all. */
export function fits() {
  return true;
}

/** Return {element, read}; `read` returns [{name, text}], or throws an Error that says what is wrong. */
export function create({ inputs }, changed) {
  const areas = inputs.map((input) =>
    element("textarea", { rows: 10, spellcheck: false, autocapitalize: "off", input: () => changed() }, zeros(input)));
  const fields = inputs.map((input, position) =>
    element("label", { class: "field" },
      element("span", {}, element("b", {}, input.name), ` ${input.type}, ${shapeText(input)}`), areas[position]));
  const read = () => inputs.map(({ name }, position) => ({ name, text: checked(name, areas[position].value) }));
  return { element: element("div", {}, fields), read };
}

function checked(name, text) {
  try {
    JSON.parse(text);
  } catch (error) {
    throw new Error(`${name} is not JSON: ${error.message}`);
  }
  return text.trim();
}
