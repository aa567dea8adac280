// Signatures as the service tells them, and tensors as JSON text.

const TYPES = {
  DT_FLOAT: ["float32", "FP32"], DT_DOUBLE: ["float64", "FP64"], DT_HALF: ["float16", "FP16"],
  DT_INT8: ["int8", "INT8"], DT_INT16: ["int16", "INT16"], DT_INT32: ["int32", "INT32"], DT_INT64: ["int64", "INT64"],
  DT_UINT8: ["uint8", "UINT8"], DT_UINT16: ["uint16", "UINT16"], DT_UINT32: ["uint32", "UINT32"],
  DT_UINT64: ["uint64", "UINT64"], DT_BOOL: ["bool", "BOOL"], DT_STRING: ["string", "BYTES"],
};

/** Return the signatures of TensorFlow Serving's metadata: [{name, inputs, outputs}], the default one first.
 *
 * Each tensor is {name, type, datatype, shape}: shape holds null for a free size, and is null if the rank is unknown. */
export function signatures({ metadata }) {
  const found = Object.entries(metadata.signature_def.signature_def).map(([name, { inputs, outputs }]) =>
    ({ name, inputs: specs(inputs), outputs: specs(outputs) }));
  return found.sort((one, other) => (other.name === "serving_default") - (one.name === "serving_default"));
}

/** Return a tensor's shape for a person: `n × 8 × 8 × 1`. */
export function shapeText({ shape }) {
  if (shape === null) return "any shape";
  return shape.map((size, axis) => size ?? (axis === 0 ? "n" : "any")).join(" × ") || "one value";
}

/** Return the shape of nested lists, by their first items. */
export function shapeOf(value) {
  return Array.isArray(value) ? [value.length, ...(value.length ? shapeOf(value[0]) : [])] : [];
}

/** Return the JSON text of a tensor of nothing, free sizes being 1: a line for each row, whose items may be pixels. */
export function zeros({ type, shape }) {
  const nothing = { string: '""', bool: "false" }[type] ?? "0";
  const flat = shape?.at(-1) <= 4 ? 2 : 1;
  const nest = ([size, ...rest], indent) => {
    if (size === undefined) return nothing;
    const items = Array(size ?? 1).fill(nest(rest, `${indent} `));
    return rest.length < flat ? `[${items.join(", ")}]` : `[\n${indent} ${items.join(`,\n${indent} `)}\n${indent}]`;
  };
  return nest(shape ?? [1], "");
}

function specs(tensors) {
  return Object.entries(tensors).map(([name, { dtype, tensor_shape: { dim, unknown_rank: unknown } }]) => {
    const [type, datatype] = TYPES[dtype] ?? [dtype, dtype];
    return { name, type, datatype, shape: unknown ? null : dim.map(({ size }) => (Number(size) < 0 ? null : Number(size))) };
  });
}
