// A JSON Schema as a person would write it down: {"instances": [float32, n × 8 × 8 × 1], "signature_name"?: …}.

/** Return the outline of a schema of the document `spec`, in lines indented by `indent`. */
export function outline(schema, spec, indent = "") {
  const { $ref, anyOf, const: constant, enum: some, type, properties, items, format } = schema;
  if ($ref) return outline($ref.slice(2).split("/").reduce((found, key) => found[key], spec), spec, indent);
  if (anyOf) return anyOf.map((one) => outline(one, spec, indent)).join(anyOf.some(isLong) ? `\n${indent}or ` : " or ");
  if (constant !== undefined) return JSON.stringify(constant);
  if (some) return some.map((one) => JSON.stringify(one)).join(" or ");
  if (type === "array") return list(schema, spec, indent);
  if (properties && Object.keys(properties).length) return record(schema, spec, indent);
  if (items) return `[${outline(items, spec, indent)}]`;
  return format ?? type ?? "anything";
}

/** Nested arrays are a tensor: its element's type, and its sizes from the outside to the inside. */
function list(schema, spec, indent) {
  const sizes = [];
  let inner = schema;
  for (; inner?.type === "array"; inner = inner.items) {
    sizes.push(inner.minItems !== undefined && inner.minItems === inner.maxItems ? inner.minItems : "n");
  }
  const each = inner ? outline(inner, spec, indent) : "anything";
  return each.includes("\n") ? `[${each}, …]` : `[${each}, ${sizes.join(" × ")}]`;
}

function record({ properties, required = [] }, spec, indent) {
  const deeper = `${indent}  `;
  const lines = Object.entries(properties).map(([name, one]) =>
    `${deeper}${JSON.stringify(name)}${required.includes(name) ? "" : "?"}: ${outline(one, spec, deeper)}`);
  return `{\n${lines.join(",\n")}\n${indent}}`;
}

function isLong({ $ref, properties }) {
  return Boolean($ref || properties);
}
