// Numbers, sizes and times as people read them, each with its unit. Nothing else in the dashboard formats a
// number, so that the same quantity looks the same on every page.

const grouped = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium", hourCycle: "h23" });

/** What stands where nothing was measured. */
export const NOTHING = "–";

/** A whole number with its thousands apart: 12,345. */
export function count(number) {
  return number === null || number === undefined ? NOTHING : grouped.format(number);
}

/** A number with its noun: "1 worker", "3 workers". */
export function plural(number, one, many = `${one}s`) {
  return `${count(number)} ${number === 1 ? one : many}`;
}

/** A number with three significant digits and k, M or G: 1.25 k. */
export function short(number) {
  if (number === null || number === undefined) return NOTHING;
  const size = Math.abs(number);
  if (size >= 1e9) return `${digits(number / 1e9)} G`;
  if (size >= 1e6) return `${digits(number / 1e6)} M`;
  if (size >= 1e4) return `${digits(number / 1e3)} k`;
  if (Number.isInteger(number)) return count(number);
  return size >= 1000 ? count(Math.round(number)) : digits(number);
}

function digits(number) {
  const size = Math.abs(number);
  if (size === 0) return "0";
  if (size < 0.01) return "<0.01";
  return String(Number(number.toPrecision(size >= 100 ? 3 : 2)));
}

/** Milliseconds as [number, unit], for figures that set the unit apart. */
export function durationParts(ms) {
  if (ms === null || ms === undefined) return [NOTHING, ""];
  if (ms === 0) return ["0", "ms"];
  if (ms < 1) return [digits(ms * 1000), "µs"];
  if (ms < 1000) return [digits(ms), "ms"];
  if (ms < 60_000) return [digits(ms / 1000), "s"];
  if (ms < 3_600_000) return [`${Math.floor(ms / 60_000)}:${two(Math.floor(ms / 1000) % 60)}`, "min"];
  if (ms < 86_400_000) return [`${Math.floor(ms / 3_600_000)}:${two(Math.floor(ms / 60_000) % 60)}`, "h"];
  return [digits(ms / 86_400_000), "days"];
}

function two(number) {
  return String(number).padStart(2, "0");
}

/** Milliseconds as text: 250 µs, 12 ms, 3.4 s, 2:05 min. */
export function duration(ms) {
  return durationParts(ms).join(" ").trim();
}

/** Bytes as text: 512 B, 12 KiB. */
export function bytes(number) {
  if (number === null || number === undefined) return NOTHING;
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (number >= 1024 && unit < units.length - 1) {
    number /= 1024;
    unit += 1;
  }
  return `${digits(number)} ${units[unit]}`;
}

/** A share of 1 as text: 12 %, <1 %. */
export function percent(share) {
  if (share === null || share === undefined || Number.isNaN(share)) return NOTHING;
  if (share > 0 && share < 0.01) return "<1 %";
  return `${Math.round(share * 100)} %`;
}

/** A time of day, with the day if it is another one than today. */
export function time(moment) {
  if (!moment) return NOTHING;
  const date = new Date(moment);
  const today = new Date().toDateString() === date.toDateString();
  return today ? clock.format(date) : `${day.format(date)}, ${clock.format(date)}`;
}

/** A time with everything, for titles. */
export function fullTime(moment) {
  return moment ? full.format(new Date(moment)) : "";
}

/** How long ago a moment was, in words: just now, 12 s ago, 3 min ago. */
export function ago(moment, now = Date.now()) {
  if (!moment) return NOTHING;
  const ms = now - new Date(moment).getTime();
  if (ms < 2000) return ms < -2000 ? `in ${span(-ms)}` : "just now";
  return `${span(ms)} ago`;
}

function span(ms) {
  const seconds = Math.round(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.round(seconds / 60)} min`;
  if (seconds < 86_400) return `${Math.round(seconds / 3600)} h`;
  return plural(Math.round(seconds / 86_400), "day");
}

/** Names as a sentence has them: a, b and c; of many, the first ones. */
export function list(names, most = 4) {
  const shown = names.length > most ? [...names.slice(0, most - 1), `${count(names.length - most + 1)} others`] : names;
  if (shown.length < 2) return shown.join("");
  return `${shown.slice(0, -1).join(", ")} and ${shown.at(-1)}`;
}

/** The first paragraph of a documentation text, and the rest of it. */
export function docParts(doc) {
  const paragraphs = (doc || "").split(/\n\s*\n/).map((text) => text.replaceAll("\n", " ").trim()).filter(Boolean);
  return { first: paragraphs[0] || "", rest: paragraphs.slice(1) };
}
