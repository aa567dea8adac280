// The form for every model: each input's values as JSON.

import { element } from "./dom.js";
import { shapeText, zeros } from "./tensors.js";

export const title = "JSON";

const MOST_LINES = 18;

/** Tell whether this form is one for the signature; it is one for all. */
export function fits() {
  return true;
}

/** Return {element, read}; `read` returns [{name, text}], or throws an Error that says what is wrong. */
export function create({ inputs }, changed) {
  const areas = inputs.map((input) => {
    const text = zeros(input), rows = Math.min(MOST_LINES, text.split("\n").length);
    return element("textarea", { rows, spellcheck: false, autocapitalize: "off", input: () => changed() }, text);
  });
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
