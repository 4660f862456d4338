// Lists and matrices of numbers from text: JSON, or numbers apart by blanks, commas, semicolons, tabs or lines,
// as they come from a spreadsheet or a file of comma-separated values.

import { Unreadable } from "./schema.js";
import { integer, parse } from "./json.js";

/** A list of numbers, or `Unreadable`. */
export function readNumbers(text) {
  const trimmed = text.trim();
  if (trimmed.startsWith("[")) {
    const list = readJson(trimmed);
    return Array.isArray(list) && list.every(isNumber) ? list : new Unreadable(text, "This is not a list of numbers in JSON.");
  }
  const words = trimmed.split(/[\s,;]+/).filter(Boolean);
  const numbers = [];
  for (const [index, word] of words.entries()) {
    const number = readNumber(word);
    if (number === null) return new Unreadable(text, `"${word.slice(0, 30)}", number ${index + 1}, is not a number.`);
    numbers.push(number);
  }
  return numbers;
}

/** A matrix, one row on each line, or `Unreadable`. */
export function readMatrix(text) {
  const trimmed = text.trim();
  if (trimmed.startsWith("[[")) {
    const rows = readJson(trimmed);
    if (!Array.isArray(rows) || !rows.every((row) => Array.isArray(row) && row.every(isNumber))) {
      return new Unreadable(text, "This is not a list of rows of numbers in JSON.");
    }
    return sameLength(rows, text);
  }
  const rows = [];
  for (const [index, line] of trimmed.split(/\r?\n/).entries()) {
    if (line.trim() === "") continue;
    const row = readNumbers(line);
    if (row instanceof Unreadable) return new Unreadable(text, `Line ${index + 1}: ${row.reason}`);
    rows.push(row);
  }
  return sameLength(rows, text);
}

function sameLength(rows, text) {
  const odd = rows.findIndex((row) => row.length !== rows[0].length);
  if (odd > 0) return new Unreadable(text, `Row ${odd + 1} has ${rows[odd].length} numbers, the first has ${rows[0].length}.`);
  return rows;
}

/** One number, or null. */
export function readNumber(word) {
  const trimmed = word.trim();
  if (/^[+-]?\d+$/.test(trimmed)) return integer(trimmed.replace("+", ""));
  if (!/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(trimmed)) return null;
  const number = Number(trimmed);
  return Number.isFinite(number) ? number : null;
}

function readJson(text) {
  try {
    return parse(text);
  } catch {
    return null;
  }
}

function isNumber(value) {
  return typeof value === "number" || typeof value === "bigint";
}

/** Text that reads back as the same list or matrix. */
export function writeNumbers(numbers) {
  return numbers.join(" ");
}

/** One row on each line. */
export function writeMatrix(rows) {
  return rows.map(writeNumbers).join("\n");
}
