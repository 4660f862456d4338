// JSON Schema (2020-12, as schemars writes it) read for forms. `shapeOf` says which kind of field a schema
// wants, `check` whether a value fits; both follow `$ref` into the `$defs` of the interface. What is not
// understood becomes a field for any JSON, so there is no schema without a form.

/** Follows references. */
export function resolve(schema, defs) {
  let found = schema;
  for (let depth = 0; depth < 20 && found && typeof found === "object" && found.$ref; depth += 1) {
    const { $ref, ...beside } = found;
    const target = defs?.[decodeURIComponent($ref.split("/").pop())];
    if (!target) return true;
    found = { ...target, ...beside };
  }
  return found ?? true;
}

/** Whether null is allowed, and the schema without it. */
export function nullable(schema, defs) {
  const found = resolve(schema, defs);
  if (found === true || found === false) return { optional: false, schema: found };
  if (Array.isArray(found.type) && found.type.includes("null")) {
    const rest = found.type.filter((type) => type !== "null");
    return { optional: true, schema: { ...found, type: rest.length === 1 ? rest[0] : rest } };
  }
  for (const key of ["anyOf", "oneOf"]) {
    const variants = found[key]?.map((variant) => resolve(variant, defs));
    if (variants?.some((variant) => variant.type === "null")) {
      const rest = variants.filter((variant) => variant.type !== "null");
      const { [key]: _, ...beside } = found;
      return { optional: true, schema: rest.length === 1 ? { ...rest[0], description: beside.description || rest[0].description } : { ...beside, [key]: rest } };
    }
  }
  return { optional: false, schema: found };
}

/** Whether a parameter may be left out. */
export function isOptional(parameter, defs) {
  return parameter.required === false || nullable(parameter.schema, defs).optional;
}

const NUMBERS = new Set(["number", "integer"]);

/**
 * The kind of a field: "number", "integer", "decimal", "string", "boolean", "choice", "numbers", "matrix", "bytes",
 * "list", "object", "map", "variants", "null" or "any"; with `schema`, and what belongs to the kind.
 */
export function shapeOf(schema, defs) {
  const { schema: found, optional } = nullable(schema, defs);
  const shape = { ...kindOf(found, defs), schema: found, optional };
  return shape;
}

function kindOf(schema, defs) {
  if (schema === true || schema === false || typeof schema !== "object") return { kind: "any" };
  if (Array.isArray(schema.enum)) return { kind: "choice", options: schema.enum.map((value) => ({ value, text: String(value) })) };
  if ("const" in schema) return { kind: "choice", options: [{ value: schema.const, text: String(schema.const) }] };
  const variants = schema.oneOf || schema.anyOf;
  if (variants) return variantsOf(variants.map((variant) => resolve(variant, defs)), defs);
  // An exact number, which a text keeps exact.
  const texts = "pattern" in schema && Array.isArray(schema.type) && schema.type.length === 2 && schema.type.includes("string");
  if (texts && schema.type.includes("number")) return { kind: "decimal" };
  switch (schema.type) {
    case "boolean":
    case "string":
    case "null":
    case "number":
    case "integer":
      return { kind: schema.type };
    case "array":
      return listOf(schema, defs);
    case "object":
      return objectOf(schema);
    default:
      return { kind: "any" };
  }
}

function variantsOf(variants) {
  if (variants.every((variant) => "const" in variant || variant.enum)) {
    const options = variants.flatMap((variant) => ("const" in variant ? [variant.const] : variant.enum).map((value) => ({ value, text: String(value), hint: variant.description })));
    return { kind: "choice", options };
  }
  return { kind: "variants", variants: variants.map((variant, index) => ({ schema: variant, title: variantTitle(variant, index) })) };
}

function variantTitle(variant, index) {
  if (variant.title) return variant.title;
  if ("const" in variant) return String(variant.const);
  const names = Object.keys(variant.properties || {});
  if (names.length === 1) return names[0];
  return typeof variant.type === "string" ? variant.type : `variant ${index + 1}`;
}

function listOf(schema, defs) {
  const item = resolve(schema.items ?? true, defs);
  if (NUMBERS.has(item.type)) {
    if (item.format === "uint8" || (item.minimum === 0 && item.maximum === 255)) return { kind: "bytes", item };
    return { kind: "numbers", item };
  }
  if (item.type === "array") {
    const inner = resolve(item.items ?? true, defs);
    if (NUMBERS.has(inner.type)) return { kind: "matrix", item: inner };
  }
  if (schema.prefixItems) return { kind: "any" };
  return { kind: "list", item };
}

function objectOf(schema) {
  if (schema.properties) return { kind: "object", properties: schema.properties, required: new Set(schema.required || []) };
  if (schema.additionalProperties && schema.additionalProperties !== true) return { kind: "map", item: schema.additionalProperties };
  return { kind: "any" };
}

/** A value to begin with. */
export function initial(schema, defs, depth = 0) {
  const { kind, schema: found, optional, options, properties, required, variants } = shapeOf(schema, defs);
  if (found && typeof found === "object" && "default" in found) return found.default;
  if (optional || depth > 6) return undefined;
  switch (kind) {
    case "boolean":
      return false;
    case "choice":
      return options[0]?.value;
    case "null":
      return null;
    case "list":
      return [];
    case "map":
      return {};
    case "object":
      return Object.fromEntries(Object.keys(properties).filter((name) => required.has(name)).map((name) => [name, initial(properties[name], defs, depth + 1)]));
    case "variants":
      return initial(variants[0].schema, defs, depth + 1);
    default:
      return undefined;
  }
}

/** Why a value does not fit, in words; null if it does. The server checks everything; this is for quick help. */
export function check(value, schema, defs, depth = 0) {
  const { kind, schema: found, optional, item, properties, required } = shapeOf(schema, defs);
  if (value === undefined || value === null) return optional || kind === "null" || (kind === "any" && value === null) ? null : "Please fill this in.";
  if (value instanceof Unreadable) return value.reason;
  if (depth > 8) return null;
  if (kind === "number" || kind === "integer") return checkNumber(value, found, kind);
  if (kind === "string") return checkText(value, found);
  if (kind === "decimal") return checkDecimal(value);
  if (kind === "numbers" || kind === "bytes" || kind === "matrix" || kind === "list") {
    const size = checkSize(value, found);
    if (size) return size;
    if (kind === "bytes") return null;
    if (kind === "numbers") return firstFault(value, (entry) => checkNumber(entry, item, item.type));
    if (kind === "list") return firstFault(value, (entry) => check(entry, item, defs, depth + 1));
    return null;
  }
  if (kind === "object") {
    for (const name of Object.keys(properties)) {
      const given = value[name];
      if (given === undefined && !required.has(name)) continue;
      const fault = check(given, properties[name], defs, depth + 1);
      if (fault) return `${name}: ${fault}`;
    }
  }
  return null;
}

function firstFault(values, faultOf) {
  for (const [index, entry] of values.entries()) {
    const fault = faultOf(entry);
    if (fault) return `Number ${index + 1}: ${fault}`;
  }
  return null;
}

function checkNumber(value, schema, kind) {
  if (typeof value !== "number" && typeof value !== "bigint") return kind === "integer" ? "A whole number, please." : "A number, please.";
  if (kind === "integer" && typeof value === "number" && !Number.isInteger(value)) return "A whole number, please.";
  if (schema.minimum !== undefined && value < schema.minimum) return `At least ${schema.minimum}, please.`;
  if (schema.maximum !== undefined && value > schema.maximum) return `At most ${schema.maximum}, please.`;
  return null;
}

// The schema's pattern is a worker's: one that is wrong or slow would stop the page. The server checks the rest.
function checkDecimal(value) {
  return /^-?\d+(\.\d+)?$/.test(String(value)) ? null : "A number such as 12.50, please.";
}

function checkText(value, schema) {
  const length = [...value].length;
  if (schema.minLength !== undefined && length < schema.minLength) return `At least ${schema.minLength} characters, please.`;
  if (schema.maxLength !== undefined && length > schema.maxLength) return `At most ${schema.maxLength} characters, please.`;
  return null;
}

function checkSize(value, schema) {
  if (!Array.isArray(value)) return "A list, please.";
  if (schema.minItems !== undefined && value.length < schema.minItems) return schema.minItems === 1 ? "At least one, please." : `At least ${schema.minItems}, please.`;
  if (schema.maxItems !== undefined && value.length > schema.maxItems) return `At most ${schema.maxItems}, please.`;
  return null;
}

/** What stands for text that could not be read as the value that a field wants. */
export class Unreadable {
  constructor(text, reason) {
    this.text = text;
    this.reason = reason;
  }
}

/** The type of a value in a few words: "list of numbers", "text, may be left out". */
export function typeWords(schema, defs) {
  const { kind, schema: found, optional, item } = shapeOf(schema, defs);
  const words = {
    number: "number",
    integer: "whole number",
    decimal: "number, kept exact",
    string: "text",
    boolean: "yes or no",
    choice: "one of several",
    numbers: item?.type === "integer" ? "list of whole numbers" : "list of numbers",
    matrix: "matrix: one row on each line",
    bytes: "bytes",
    list: "list",
    object: "fields",
    map: "names with values",
    variants: "one of several forms",
    null: "nothing",
    any: "any JSON",
  }[kind];
  const bounds = [];
  if (found?.minimum !== undefined && found.minimum !== 0) bounds.push(`from ${found.minimum}`);
  if (found?.minimum === 0) bounds.push("not negative");
  if (found?.maximum !== undefined) bounds.push(`up to ${found.maximum}`);
  return [words, ...bounds, optional ? "may be left out" : ""].filter(Boolean).join(", ");
}

/** A type as a signature has it: `numbers`, `text?`. */
export function typeName(schema, defs) {
  const { kind, optional, item } = shapeOf(schema, defs);
  const reference = typeof schema === "object" && schema?.$ref ? schema.$ref.split("/").pop() : "";
  const names = { string: "text", integer: "int", numbers: item?.type === "integer" ? "ints" : "numbers", object: reference || "object", variants: reference || "variants", choice: reference || "choice", list: `${item ? typeName(item, defs) : "any"}[]` };
  return (names[kind] || kind) + (optional ? "?" : "");
}
