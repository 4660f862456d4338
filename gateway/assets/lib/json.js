// JSON that keeps large integers. JavaScript's numbers are exact only up to 2^53, but objects here speak of
// 64-bit integers; so a larger one is read as a BigInt, shown with all its digits, and written back as it was.

/** Reads JSON text; throws a SyntaxError if it is none. */
export function parse(text) {
  return JSON.parse(text, (_key, value, context) => {
    const source = context?.source;
    if (typeof value === "number" && !Number.isSafeInteger(value) && source && /^-?\d+$/.test(source)) {
      return BigInt(source);
    }
    return value;
  });
}

/** Writes a value as JSON text; `indent` is the number of blanks of a level, 0 for one line. */
export function write(value, indent = 0) {
  if (!holdsBigInt(value)) return JSON.stringify(value, null, indent) ?? "null";
  // BigInts travel through JSON.stringify as marked texts, and lose their marks and quotes here.
  const mark = `\u0000n${Math.random().toString(36).slice(2)}:`;
  const text = JSON.stringify(value, (_key, item) => (typeof item === "bigint" ? mark + item : item), indent);
  return text.replaceAll(new RegExp(`"\\\\u0000${mark.slice(1)}(-?\\d+)"`, "g"), "$1");
}

function holdsBigInt(value) {
  if (typeof value === "bigint") return true;
  if (value === null || typeof value !== "object") return false;
  return (Array.isArray(value) ? value : Object.values(value)).some(holdsBigInt);
}

/** An integer from digits: a number where that is exact, else a BigInt. */
export function integer(digits) {
  const number = Number(digits);
  return Number.isSafeInteger(number) ? number : BigInt(digits);
}
