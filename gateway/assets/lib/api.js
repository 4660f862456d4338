// The HTTP interface of the broker, as docs/http.md describes it. All requests of the dashboard go through
// `request`, which adds what the server asks for, reads JSON, and turns every failure into a `Problem` whose
// message is a sentence for people.

import { parse, write } from "./json.js";

/** A request that did not succeed. `status` is 0 if there was no answer at all. */
export class Problem extends Error {
  constructor(status, body, path) {
    super(body.detail || body.title || `${path} answered ${status}`);
    this.status = status;
    this.title = body.title || (status === 0 ? "No answer" : `Status ${status}`);
    this.attempts = body.attempts || [];
    this.error = body.error;
    this.kind = (body.type || "").split(":").pop();
  }

  /** What the reader can do about it; empty if there is nothing to add. */
  get advice() {
    return ADVICE[this.kind] || ADVICE[this.status] || "";
  }
}

const ADVICE = {
  0: "Is the name server still running? This page keeps trying to reach it.",
  401: "Log in on the page Domain.",
  403: "Ask an administrator for the right, or log in as somebody else on the page Domain.",
  413: "Send it as a file by the command line, or in smaller pieces.",
  429: "Wait a moment, then try again.",
  "may-have-run": "The answer was lost. Look whether it happened before you try again: this method is not safe to repeat.",
  503: "Start a worker that hosts the object, or wait until one is back.",
  504: "Allow more time, or submit it as a task.",
};

/** Listeners are told when a request is refused because nobody is logged in. */
export const onUnauthenticated = new Set();

/**
 * Sends a request. `options`: `method`, `body` (any JSON value), `signal`, `timeout` in milliseconds.
 * Answers `{ value, headers, ms }`; throws a `Problem`, or an AbortError if the caller ended it.
 */
export async function request(path, options = {}) {
  const { method = "GET", body, signal, timeout } = options;
  const headers = { accept: "application/json", "x-requested-with": "fetch" };
  if (method !== "GET") headers["content-type"] = "application/json";
  const signals = [signal, timeout && AbortSignal.timeout(timeout)].filter(Boolean);
  const started = performance.now();
  let response;
  let text;
  try {
    response = await fetch(path, {
      method,
      headers,
      body: body === undefined ? undefined : write(body),
      signal: signals.length > 1 ? AbortSignal.any(signals) : signals[0],
      cache: "no-store",
    });
    text = await response.text();
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Problem(0, { title: "No answer", detail: "the name server does not answer" }, path);
  }
  const ms = performance.now() - started;
  if (!response.ok) throw problemOf(response, text, path);
  return { value: text === "" ? null : readAnswer(text, path), headers: response.headers, ms };
}

function problemOf(response, text, path) {
  if (response.status === 401) onUnauthenticated.forEach((tell) => tell());
  let body = {};
  try {
    body = parse(text) ?? {};
  } catch {
    body = { detail: text.slice(0, 300) };
  }
  return new Problem(response.status, body, path);
}

function readAnswer(text, path) {
  try {
    return parse(text);
  } catch {
    throw new Problem(0, { title: "Not JSON", detail: `${path} answered something that is not JSON` }, path);
  }
}

/** The value that a GET of a path answers. */
export async function get(path, options) {
  return (await request(path, options)).value;
}

/** The value that a POST to a path answers. */
export async function post(path, body, options) {
  return (await request(path, { ...options, method: "POST", body })).value;
}

/** A path of segments, each encoded: `path("v1", "tasks", id)`. */
export function path(...segments) {
  return `/${segments.map(encodeURIComponent).join("/")}`;
}

/** A query string of those parameters that have a value. */
export function query(parameters) {
  const pairs = Object.entries(parameters).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  return pairs.length === 0 ? "" : `?${new URLSearchParams(pairs)}`;
}

/** Calls a method of an object: `{ value, worker, attempts, ms }`. */
export async function call(object, method, args, options = {}) {
  const target = path("v1", "objects", object, method) + query({ timeout: options.within, policy: options.policy });
  const answer = await request(target, { method: "POST", body: args, signal: options.signal });
  return {
    value: answer.value,
    worker: answer.headers.get("pyroxene-worker") || "",
    attempts: Number(answer.headers.get("pyroxene-attempts")) || 1,
    ms: Number(answer.headers.get("pyroxene-elapsed-ms")) || answer.ms,
  };
}
