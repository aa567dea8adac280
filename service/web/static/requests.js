// The bodies of requests, from tensors given as JSON text: text, so that no digit of a long integer is lost.

import { shapeOf } from "./tensors.js";

/** The formats that the service speaks; `body` takes a signature and its tensors, [{name, text}], as the forms read them. */
export const protocols = [
  {
    title: "TensorFlow Serving",
    path: (model) => `v1/models/${model}:predict`,
    body(signature, tensors) {
      const name = isDefault(signature) ? "" : `"signature_name": ${JSON.stringify(signature.name)}, `;
      if (tensors.length === 1) {
        const rows = signature.inputs[0].shape?.[0] === null && signature.outputs.every(({ shape }) => shape?.[0] === null);
        return `{${name}"${rows ? "instances" : "inputs"}": ${tensors[0].text}}`;
      }
      return `{${name}"inputs": {${tensors.map((t) => `${JSON.stringify(t.name)}: ${t.text}`).join(", ")}}}`;
    },
  },
  {
    title: "Open Inference Protocol",
    path: (model) => `v2/models/${model}/infer`,
    body(signature, tensors) {
      const inputs = tensors.map(({ name, text }) => {
        const { datatype } = signature.inputs.find((input) => input.name === name);
        const shape = JSON.stringify(shapeOf(JSON.parse(text)));
        return `{"name": ${JSON.stringify(name)}, "datatype": "${datatype}", "shape": ${shape}, "data": ${text}}`;
      });
      const chosen = isDefault(signature) ? "" : `, "parameters": {"signature_name": ${JSON.stringify(signature.name)}}`;
      return `{"inputs": [${inputs.join(", ")}]${chosen}}`;
    },
  },
];

function isDefault({ name }) {
  return name === "serving_default";
}

/** Return the answer's tensors by row: [{name, rows}], in the order of the signature's outputs. */
export function columns(signature, { predictions, outputs }) {
  const alone = signature.outputs.length === 1;
  return signature.outputs.map(({ name }) => {
    if (predictions) return { name, rows: alone ? predictions : predictions.map((row) => row[name]) };
    return { name, rows: alone ? outputs : outputs?.[name] };
  });
}
