// What the dashboard knows of the broker, kept up to date by the stream of events. Pages read `live` through
// `useLive`, which draws them again after a change. If the stream breaks, this module says so and tries again
// until it is back; then everything is read anew, because events may have been missed.
//
// A browser opens only six connections to a server, for all its tabs together, and each stream takes one. So a
// tab that nobody looks at gives its stream back after a while.

import { Problem, get, onUnauthenticated } from "./api.js";
import { useEffect, useState } from "./html.js";
import { pauseWhileAside } from "./stream.js";

/** The state of the broker as far as it is known. */
export const live = {
  /** "connecting", "live", "away" (trying again) or "login" (somebody has to log in first). */
  connection: "connecting",
  /** When the connection was last lost or found, in milliseconds since 1970. */
  since: Date.now(),
  whoami: null,
  /** What somebody who has just logged out is to know. */
  farewell: "",
  workers: new Map(),
  /** Workers that went away while this page was open, with the time. */
  gone: new Map(),
  objects: new Map(),
  nameservers: [],
  /** Checks of the name server: `{ store, directory }`. */
  checks: null,
  /** Tasks by state; null if there is no store. */
  tasks: null,
  /** The figures of the last five minutes, as `/v1/stats` has them, going on with the stream. */
  stats: null,
  /** Whether the first answers are there. */
  loaded: false,
  /** Grows with every connection but the first: pages read again what they read themselves. */
  returns: 0,
};

const listeners = new Set();
const taskListeners = new Set();
const messageListeners = new Set();

/** Changes within this time are drawn together, in milliseconds. */
const DRAW_EVERY = 120;
/** The stream says something every 2 s; after this time without a word it is taken for dead. */
const SILENCE = 9000;
/** A hidden tab keeps its stream for this long. */
const HIDDEN = 30_000;
/** How often name servers and checks are read again, in milliseconds. */
const DOMAIN_EVERY = 8000;
/** Pauses between attempts to connect. */
const PAUSES = [300, 700, 1500, 3000];

let drawing = 0;
let stream = null;
let failures = 0;
let retry = 0;
let hiddenTimer = 0;
let lastWord = 0;

function changed() {
  if (drawing) return;
  // The first answers are shown at once.
  drawing = setTimeout(() => {
    drawing = 0;
    listeners.forEach((tell) => tell());
  }, live.stats ? DRAW_EVERY : 0);
}

function setConnection(state) {
  if (live.connection !== state) {
    live.connection = state;
    live.since = Date.now();
  }
  changed();
}

/** The live state; the component is drawn again after every change. */
export function useLive() {
  const [, draw] = useState(0);
  useEffect(() => {
    const tell = () => draw((count) => count + 1);
    listeners.add(tell);
    return () => listeners.delete(tell);
  }, []);
  return live;
}

/** Tells `listener` of every task that is new or changed; answers how to stop. */
export function onTask(listener) {
  taskListeners.add(listener);
  return () => taskListeners.delete(listener);
}

/** Tells `listener` of every message to all in the chat room; answers how to stop. */
export function onMessage(listener) {
  messageListeners.add(listener);
  return () => messageListeners.delete(listener);
}

/** Connects, and stays connected. */
export function startLive() {
  connect();
  setInterval(watchSilence, 1000);
  setInterval(() => live.connection === "live" && stream && readDomain().catch(() => {}), DOMAIN_EVERY);
  document.addEventListener("visibilitychange", watchVisibility);
  addEventListener("online", connect);
  pauseWhileAside(() => {
    clearTimeout(retry);
    close();
  }, connect);
  onUnauthenticated.add(() => {
    if (live.connection === "live" && live.whoami?.authentication) reconnect();
  });
}

/** Begins again, as after logging in or out. */
export function reconnect() {
  close();
  failures = 0;
  connect();
}

async function connect() {
  clearTimeout(retry);
  close();
  try {
    live.whoami = await get("/v1/whoami", { timeout: 5000 });
  } catch (problem) {
    lost(problem);
    return;
  }
  if (live.whoami.authentication && !live.whoami.user) {
    setConnection("login");
    return;
  }
  open();
}

function open() {
  const source = new EventSource("/v1/events");
  stream = source;
  lastWord = Date.now();
  source.addEventListener("open", () => {
    failures = 0;
    lastWord = Date.now();
    readAll().then(() => stream === source && setConnection("live"), (problem) => stream === source && lost(problem));
  });
  source.addEventListener("error", () => stream === source && lost());
  const on = (event, take) =>
    source.addEventListener(event, (message) => {
      if (stream !== source) return;
      lastWord = Date.now();
      const data = JSON.parse(message.data);
      if (data) take(data);
      changed();
    });
  on("worker", takeWorker);
  on("object", takeObject);
  on("task", (task) => {
    if (!task.initial) taskListeners.forEach((tell) => tell(task));
  });
  on("message", (message) => messageListeners.forEach((tell) => tell(message)));
  on("stats", takeStats);
}

function close() {
  stream?.close();
  stream = null;
}

function lost() {
  close();
  setConnection("away");
  clearTimeout(retry);
  const pause = PAUSES[Math.min(failures, PAUSES.length - 1)];
  failures += 1;
  if (!document.hidden || !hiddenTimer) retry = setTimeout(connect, pause);
}

function watchSilence() {
  if (stream && Date.now() - lastWord > SILENCE) lost();
}

function watchVisibility() {
  clearTimeout(hiddenTimer);
  hiddenTimer = 0;
  if (document.hidden) {
    hiddenTimer = setTimeout(close, HIDDEN);
  } else if (!stream && live.connection !== "login") {
    connect();
  }
}

/** Reads everything that the pages begin with. */
async function readAll() {
  const [workers, objects, tasks] = await Promise.all([get("/v1/workers"), get("/v1/objects"), optional("/v1/tasks/counts")]);
  const before = live.workers;
  live.workers = new Map(workers.map((worker) => [worker.name, worker]));
  for (const name of before.keys()) {
    if (!live.workers.has(name)) live.gone.set(name, Date.now());
  }
  workers.forEach((worker) => live.gone.delete(worker.name));
  live.objects = new Map(objects.map((object) => [object.name, { ...object, ...instanceCounts(object) }]));
  live.tasks = tasks;
  if (live.loaded) live.returns += 1;
  live.loaded = true;
  changed();
  readDomain().catch(() => {});
  // The figures of hundreds of workers are large; nothing else waits for them.
  optional("/v1/stats?range=5m").then((stats) => {
    live.stats = stats;
    changed();
  }, () => {});
}

/** Reads what changes seldom: name servers and checks. Pages that show them may ask for it again. */
export async function readDomain() {
  const [nameservers, checks] = await Promise.all([optional("/v1/nameservers"), readiness()]);
  live.nameservers = nameservers || [];
  live.checks = checks;
  changed();
}

async function readiness() {
  try {
    // 503 is an answer too: it says which check failed.
    const response = await fetch("/readyz", { cache: "no-store", headers: { accept: "application/json" } });
    return (await response.json()).checks || null;
  } catch {
    return null;
  }
}

/** The answer to a GET, or null where the server has no such thing or does not give it to this caller. */
async function optional(path) {
  try {
    return await get(path);
  } catch (problem) {
    if (problem instanceof Problem && problem.status >= 400) return null;
    throw problem;
  }
}

function instanceCounts(object) {
  return { total: object.instances.length, ready: object.instances.filter((instance) => instance.state === "ready").length };
}

function takeWorker(worker) {
  if (worker.state === "gone") {
    if (live.workers.delete(worker.name)) live.gone.set(worker.name, worker.at_ms || Date.now());
    for (const object of live.objects.values()) {
      if (!Array.isArray(object.instances)) continue;
      object.instances = object.instances.filter((instance) => instance.worker !== worker.name);
    }
    return;
  }
  live.gone.delete(worker.name);
  live.workers.set(worker.name, worker);
}

function takeObject(event) {
  const known = live.objects.get(event.name);
  if (event.instances === 0 && !known) return;
  live.objects.set(event.name, { ...known, name: event.name, interface: event.interface || known?.interface, total: event.instances, ready: event.ready });
  if (!event.initial) readInstances();
}

let instancesTimer = 0;

/** The event says how many instances there are; which ones is read soon after the last of many events. */
function readInstances() {
  clearTimeout(instancesTimer);
  instancesTimer = setTimeout(async () => {
    const objects = await optional("/v1/objects").catch(() => null);
    for (const object of objects || []) live.objects.set(object.name, { ...object, ...instanceCounts(object) });
    changed();
  }, 500);
}

const SERIES = ["calls", "errors", "p50_ms", "p99_ms", "in_flight", "queue"];

function takeStats(step) {
  if (step.tasks) live.tasks = step.tasks;
  for (const [name, figures] of Object.entries(step.workers || {})) {
    const worker = live.workers.get(name);
    if (worker) Object.assign(worker, { in_flight: figures.in_flight ?? worker.in_flight, queue: figures.queue ?? worker.queue });
  }
  const stats = live.stats;
  if (!stats || step.at_ms <= stats.end_ms) return;
  stats.end_ms = step.at_ms;
  append(stats.total, step.total, stats.steps);
  appendAll(stats.objects, step.objects, stats.steps);
  appendAll(stats.workers, step.workers, stats.steps);
  if (stats.tasks && step.tasks) {
    for (const [state, series] of Object.entries(stats.tasks)) push(series, step.tasks[state] ?? null, stats.steps);
  }
}

function appendAll(known, added = {}, steps) {
  for (const name of Object.keys(added)) known[name] ??= {};
  for (const [name, series] of Object.entries(known)) append(series, added[name] || {}, steps);
}

function append(series, figures, steps) {
  for (const key of SERIES) {
    series[key] ??= new Array(steps).fill(null);
    push(series[key], figures[key] ?? null, steps);
  }
}

function push(series, value, steps) {
  series.push(value);
  while (series.length > steps) series.shift();
}
