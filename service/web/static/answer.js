// Shows an answer: what it means, if that can be told from its shape, and always what came.

import { complaint } from "./api.js";
import { element } from "./dom.js";
import { columns } from "./requests.js";

/** Of more classes than this only the likeliest are shown. */
const ALL = 12, SOME = 10;
const MOST_ROWS = 8;

/** Return the elements that show an answer to a request of this signature. */
export function answered(signature, answer) {
  const facts = element("p", { class: "facts" },
    element("span", { class: answer.status === 200 ? "badge good" : "badge bad" }, `${answer.status}`),
    ` ${(answer.seconds * 1000).toFixed(1)} ms, ${answer.text.length} bytes`);
  const meaning = answer.status === 200 && answer.json ? meanings(signature, answer.json) : [failed(complaint(answer))];
  const body = element("details", { open: !meaning.length }, element("summary", {}, "The answer as it came"),
    element("pre", { tabindex: 0 }, pretty(answer)));
  return [...meaning, facts, body];
}

/** Return the element that tells what went wrong. */
export function failed(text) {
  return element("p", { class: "fault" }, text);
}

function meanings(signature, json) {
  return columns(signature, json).flatMap(({ name, rows }) => {
    return [rows].flat().slice(0, MOST_ROWS).flatMap((row) => {
      if (isDistribution(row)) return distribution(name, row);
      return ["string", "number", "boolean"].includes(typeof row) ? value(name, row) : [];
    });
  });
}

/** Tell whether these are probabilities, one for each class. */
function isDistribution(row) {
  if (!Array.isArray(row) || row.length < 2 || !row.every((value) => value >= 0 && value <= 1)) return false;
  return Math.abs(row.reduce((sum, value) => sum + value, 0) - 1) < 0.01;
}

function distribution(name, row) {
  const ranked = row.map((value, index) => ({ value, index })).sort((one, other) => other.value - one.value);
  const [best] = ranked;
  const shown = row.length > ALL ? ranked.slice(0, SOME) : ranked.sort((one, other) => one.index - other.index);
  return element("figure", { class: "distribution" },
    element("figcaption", {},
      element("strong", { class: "best" }, `${best.index}`),
      element("span", {}, `${percent(best.value)} likely`, element("br"), element("small", {}, name))),
    element("ol", {}, shown.map(({ value, index }) => bar(index, value, index === best.index))));
}

function value(name, row) {
  return element("p", { class: "value" }, element("small", {}, name), ` ${row}`);
}

function bar(index, value, isBest) {
  const filled = element("span", { class: "filled" });
  filled.style.inlineSize = `${value * 100}%`;
  return element("li", { class: isBest ? "winner" : "" },
    element("span", { class: "label" }, `${index}`),
    element("span", { class: "bar", "aria-hidden": "true" }, filled),
    element("span", { class: "share" }, percent(value)));
}

function percent(value) {
  return `${(value * 100).toFixed(1)} %`;
}

function pretty({ json, text }) {
  if (json === undefined) return text;
  return JSON.stringify(json, null, 2).replace(/\[\n([^[\]{}]*)\]/g, (list) => list.replace(/\n\s*/g, " "));
}
