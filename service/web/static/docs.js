// The API's document as a page: its operations by model, each with what it takes and what it answers.

import { ask, complaint } from "./api.js";
import { failed } from "./answer.js";
import { element } from "./dom.js";
import { outline } from "./outline.js";
import { onToken } from "./token.js";

const place = document.getElementById("document");

async function start() {
  try {
    const answer = await ask("openapi.json");
    if (answer.status !== 200) throw new Error(complaint(answer));
    show(answer.json);
  } catch (error) {
    place.replaceChildren(failed(error.message));
  }
}

function show(spec) {
  document.getElementById("version").textContent = spec.info.version;
  document.getElementById("about").textContent = spec.info.description;
  document.getElementById("access").hidden = !spec.components.securitySchemes;
  const operations = Object.entries(spec.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method, ...operation })));
  place.replaceChildren(...spec.tags.map(({ name }) => element("section", { class: "operations" },
    element("h2", {}, name),
    operations.filter(({ tags }) => tags.includes(name)).map((one) => shown(one, spec)))));
  const asked = document.getElementById(location.hash.slice(1));
  if (asked) asked.open = true;
}

function shown({ path, method, summary, description, operationId, parameters, requestBody, responses, security }, spec) {
  const closed = (security ?? spec.security).length > 0;
  return element("details", { id: operationId },
    element("summary", {},
      element("span", { class: `method ${method}` }, method.toUpperCase()),
      element("code", {}, path), element("small", {}, summary)),
    element("div", { class: "operation" },
      description ? element("p", {}, description) : [],
      closed ? element("p", { class: "hint" }, "Send your token along: ", element("code", {}, "Authorization: Bearer TOKEN")) : [],
      parameters.map(({ name, in: place, schema }) =>
        element("p", {}, element("code", {}, place === "path" ? `{${name}}` : name), ` in the ${place}: ${outline(schema, spec)}`)),
      requestBody ? [element("h3", {}, "Request"), bodies(requestBody.content, spec)] : [],
      element("h3", {}, "Answers"),
      Object.entries(responses).map(([status, response]) => answer(status, response, spec))));
}

function answer(status, response, spec) {
  const { description, content = {} } = response.$ref ? spec.components.responses[status] : response;
  const good = status.startsWith("2");
  return element("div", { class: "response" },
    element("p", {}, element("span", { class: good ? "badge good" : "badge" }, status), ` ${description}`),
    good ? bodies(content, spec) : []);
}

function bodies(content, spec) {
  return Object.entries(content).map(([type, { schema, example }]) => [
    element("p", { class: "hint" }, type),
    schema ? element("pre", { tabindex: 0 }, outline(schema, spec)) : [],
    example ? element("details", {}, element("summary", {}, "Example"),
      element("pre", { tabindex: 0, class: "wrapped" }, JSON.stringify(example))) : [],
  ]);
}

onToken(start);
start();
