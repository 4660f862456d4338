// What is wrong now, in words. `findings` looks at the live state and answers a list of sentences, the gravest
// first; the overview shows them, and the mark beside the name in the frame shows the gravest. To add a
// finding, add a function to `CHECKS`.

import { growth, lastMinute } from "./figures.js";
import { ago, count, duration, list, percent, plural, short } from "./format.js";
import { command } from "./command.js";
import { to } from "./router.js";

/** Calls per second below which shares and latencies say nothing. */
const ENOUGH_CALLS = 0.2;
/** The share of failing calls that is worth a sentence. */
const MANY_ERRORS = 0.05;
/** A worker is slow if it takes so many times as long as the others, and at least so many milliseconds. */
const SLOWER = 3;
const SLOW_MS = 20;
/** How long a worker that went away is mentioned, in milliseconds. */
const REMEMBERED = 5 * 60_000;

const GRAVITY = { bad: 0, warn: 1, note: 2 };

/** `[{ level: "bad" | "warn" | "note", text, link?, advice?, command? }]`, the gravest first. */
export function findings(live, now = Date.now()) {
  if (!live.loaded) return [];
  const found = CHECKS.flatMap((check) => check(live, now) || []);
  return found.sort((left, right) => GRAVITY[left.level] - GRAVITY[right.level]);
}

/** A verdict in words. */
export const HEADLINES = { good: "Everything works", warn: "It works, but look at this", bad: "Something is wrong" };

/** The whole in one word: "good", "warn" or "bad". */
export function verdict(found) {
  if (found.some((finding) => finding.level === "bad")) return "bad";
  return found.some((finding) => finding.level === "warn") ? "warn" : "good";
}

const CHECKS = [
  function noWorkers(live) {
    if (live.workers.size > 0) return null;
    return {
      level: "bad",
      text: "No worker is running, so no object can be called.",
      advice: "Start one:",
      command: command("worker"),
    };
  },

  function store(live) {
    const state = live.checks?.store;
    if (!state || state === "ok") return null;
    if (state === "none") return { level: "note", text: "This name server has no store: there are no tasks and topics." };
    return { level: "bad", text: `The store does not work: ${state}. Tasks and topics wait for it; calls go on.`, link: "/domain" };
  },

  function directory(live) {
    if (live.checks?.directory !== "settling") return null;
    return { level: "note", text: "The name server has just started; workers have a few seconds to come back." };
  },

  function silentNameServers(live) {
    const silent = live.nameservers.filter((server) => server.state !== "ready").map((server) => server.address);
    if (silent.length === 0) return null;
    const verb = silent.length === 1 ? "does not answer" : "do not answer";
    return { level: "warn", text: `${list(silent)} ${verb}. The other name servers carry on.`, link: "/domain" };
  },

  function objectsWithoutInstance(live) {
    const lost = [...live.objects.values()].filter((object) => object.total === 0).map((object) => object.name);
    const verb = lost.length === 1 ? "has" : "have";
    if (lost.length === 0 || live.workers.size === 0) return null;
    return { level: "bad", text: `${list(lost)} ${verb} no worker any more: calls wait, then fail.`, link: to.object(lost[0]) };
  },

  function lostWorkers(live, now) {
    const lost = [...live.gone].filter(([, at]) => now - at < REMEMBERED);
    if (lost.length === 0) return null;
    const newest = Math.max(...lost.map(([, at]) => at));
    const text = `${list(lost.map(([name]) => name))} went away ${ago(newest, now)}.`;
    return { level: "warn", text, link: "/workers" };
  },

  function drainingWorkers(live) {
    const draining = [...live.workers.values()].filter((worker) => worker.state === "draining").map((worker) => worker.name);
    if (draining.length === 0) return null;
    const verb = draining.length === 1 ? "is draining and gets" : "are draining and get";
    return { level: "note", text: `${list(draining)} ${verb} no new calls.`, link: "/workers" };
  },

  function failingObjects(live) {
    const failing = Object.entries(live.stats?.objects || {})
      .map(([name, series]) => ({ name, ...lastMinute(live.stats, series) }))
      .filter((object) => object.calls >= ENOUGH_CALLS && object.share >= MANY_ERRORS)
      .sort((left, right) => right.share - left.share);
    if (failing.length === 0) return null;
    const worst = failing[0];
    const level = worst.share >= 0.5 ? "bad" : "warn";
    const others = failing.length === 1 ? "" : ` Calls to ${list(failing.slice(1).map((object) => object.name))} fail too.`;
    return { level, text: `${percent(worst.share)} of the calls to ${worst.name} failed in the last minute.${others}`, link: to.object(worst.name) };
  },

  function slowWorkers(live) {
    const measured = Object.entries(live.stats?.workers || {})
      .filter(([name]) => live.workers.has(name))
      .map(([name, series]) => [name, lastMinute(live.stats, series)])
      .filter(([, last]) => last.p50 !== null && last.calls >= ENOUGH_CALLS);
    if (measured.length < 2) return null;
    const sorted = measured.map(([, last]) => last.p50).sort((left, right) => left - right);
    const usual = sorted[Math.floor((sorted.length - 1) / 2)];
    const slow = measured.filter(([, last]) => last.p50 > SLOWER * usual && last.p50 > SLOW_MS);
    if (slow.length === 0) return null;
    const [name, last] = slow[0];
    if (slow.length > 3) return { level: "warn", text: `${plural(slow.length, "worker")} answer much slower than the others, among them ${name}.`, link: "/workers" };
    return slow.map(([slowName, figures]) => ({
      level: "warn",
      text: `${slowName} is slow: half of its calls take over ${duration(figures.p50)}, those of others ${duration(usual)}.`,
      link: to.worker(slowName),
    }));
  },

  function overloadedWorkers(live) {
    const full = [...live.workers.values()].filter((worker) => (worker.queue || 0) > 4 * Math.max(1, worker.capacity || 1));
    if (full.length === 0) return null;
    const waiting = full.reduce((sum, worker) => sum + worker.queue, 0);
    const names = list(full.map((worker) => worker.name));
    return { level: "warn", text: `${short(waiting)} calls wait for a thread at ${names}. More workers would help.`, link: "/workers" };
  },

  function failedTasks(live) {
    const failed = growth(live.stats?.tasks?.failed);
    if (failed <= 0) return null;
    return { level: "warn", text: `${plural(failed, "task")} failed in the last 5 minutes.`, link: "/tasks?state=failed" };
  },

  function stuckTasks(live) {
    const queued = live.stats?.tasks?.queued?.slice(-30) || [];
    const running = live.stats?.tasks?.running?.slice(-30) || [];
    const stuck = queued.length === 30 && queued.every((value) => value > 0) && running.every((value) => value === 0);
    if (!stuck) return null;
    return { level: "warn", text: `${count(queued.at(-1))} tasks have waited for a minute, and none runs.`, link: "/tasks?state=queued" };
  },
];
