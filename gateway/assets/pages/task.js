// One task: what it is, where it is, its attempts as a timeline, its arguments and its result. It changes while
// one looks at it: the stream says that something has changed, and the task is read again.

import { html, useEffect, useRef, useState } from "../lib/html.js";
import { get, path, post } from "../lib/api.js";
import { command } from "../lib/command.js";
import { ago, count, duration, fullTime, plural, time } from "../lib/format.js";
import { onTask } from "../lib/live.js";
import { useNow } from "../lib/now.js";
import { to } from "../lib/router.js";
import { ActionButton, Bar, Command, Empty, PageHead, ProblemNotice, Section } from "../parts/basics.js";
import { State } from "../parts/marks.js";
import { Value } from "../parts/value.js";

const DONE = new Set(["succeeded", "failed", "cancelled"]);
/** After an event the task is read this much later, in milliseconds, so that many events are one request. */
const SOON = 150;
/** How often a task that is not done is read without an event, in milliseconds. */
const LOOK_EVERY = 2000;

export function TaskPage({ live, id }) {
  const [task, setTask] = useState(null);
  const [problem, setProblem] = useState(null);
  const [acted, setActed] = useState(null);
  const read = useRef(() => {});
  const state = useRef("");
  state.current = task?.state || "";
  const address = path("v1", "tasks", id);
  useEffect(() => {
    const ending = new AbortController();
    let timer = 0;
    read.current = () =>
      get(address, { signal: ending.signal }).then(
        (found) => {
          setTask(found);
          setProblem(null);
        },
        (refused) => !ending.signal.aborted && setProblem(refused),
      );
    read.current();
    const stop = onTask((changed) => {
      if (changed.id !== id) return;
      clearTimeout(timer);
      timer = setTimeout(() => read.current(), SOON);
    });
    // An event is a hint, which may be lost: a task that is not done is looked at anyway.
    const look = setInterval(() => !DONE.has(state.current) && live.connection === "live" && read.current(), LOOK_EVERY);
    return () => {
      ending.abort();
      clearTimeout(timer);
      clearInterval(look);
      stop();
    };
  }, [id, live.returns]);

  const act = (what) => async () => {
    try {
      setTask(await post(`${address}/${what}`, {}));
      setActed(null);
    } catch (refused) {
      setActed({ what, refused });
    }
  };
  const crumbs = html`<p class="crumbs"><a href="/tasks">Tasks</a></p>`;
  if (!task) {
    const missing = problem?.status === 404;
    return html`${crumbs}<${PageHead} title="Task" lead=${id} />${missing
      ? html`<${Empty} title="There is no such task">Its id may be mistyped, or it was deleted when its time to be kept was over.</${Empty}>`
      : problem ? html`<${ProblemNotice} problem=${problem} what="The task cannot be read" />` : html`<p class="muted">It is on its way…</p>`}`;
  }
  return html`${crumbs}<${PageHead} title=${`${task.object}.${task.method}`} lead=${html`<span class="mono break">${task.id}</span>`}>
      ${!DONE.has(task.state) && html`<${ActionButton} act=${act("cancel")} kind="danger">Cancel</${ActionButton}>`}
      ${(task.state === "failed" || task.state === "cancelled") && html`<${ActionButton} act=${act("retry")} kind="primary">Run again</${ActionButton}>`}</${PageHead}>
    ${acted && html`<${ProblemNotice} problem=${acted.refused} what=${acted.what === "cancel" ? "Not cancelled" : "Not queued again"} />`}
    <${Now} task=${task} />
    <${Facts} task=${task} />
    <${Attempts} task=${task} />
    <div class="columns">
      <${Section} title="Result"><${Result} task=${task} /></${Section}>
      <${Section} title="Arguments"><${Arguments} args=${task.args} /></${Section}>
    </div>
    <${Command} line=${command("tasks", "show", task.id)} />
    ${!DONE.has(task.state) && html`<${Command} label="Wait for it" line=${command("tasks", "wait", task.id)} /><${Command} label="Cancel it" line=${command("tasks", "cancel", task.id)} />`}
    ${(task.state === "failed" || task.state === "cancelled") && html`<${Command} label="Run it again" line=${command("tasks", "retry", task.id)} />`}`;
}

/** One sentence: where it is. */
function Now({ task }) {
  const now = useNow(DONE.has(task.state) ? 0 : 1000);
  const last = task.attempts.at(-1);
  const sentences = {
    queued: () => (new Date(task.due) > now ? `It runs ${ago(task.due, now)} at the earliest.` : last ? `It waits for its next attempt, since ${ago(last.ended || task.due, now)}.` : "It waits for a free worker."),
    running: () => html`It runs at ${task.worker || last?.worker ? html`<a href=${to.worker(task.worker || last.worker)}>${task.worker || last.worker}</a>` : "a worker"}, for ${duration(Math.max(0, now - new Date(last?.started || task.submitted)))} so far.`,
    succeeded: () => `It is done, ${duration(new Date(task.ended) - new Date(task.submitted))} after it was submitted.`,
    failed: () => `It failed ${ago(task.ended, now)}, after ${plural(task.attempts.length, "attempt")}.`,
    cancelled: () => `It was cancelled ${ago(task.ended, now)}.`,
  };
  return html`<p class="task-now" id="task-state" data-state=${task.state} role="status"><${State} state=${task.state} /> <span>${sentences[task.state]?.()}</span></p>
    ${task.progress && html`<div class="task-progress">${task.progress.fraction !== null && task.progress.fraction !== undefined && html`<${Bar} share=${task.progress.fraction} tone="info" label=${`${Math.round(task.progress.fraction * 100)} % done`} /><span>${Math.round(task.progress.fraction * 100)} %</span>`}<span class="muted">${task.progress.note}</span></div>`}`;
}

function Facts({ task }) {
  const facts = [
    ["Submitted", html`<span title=${fullTime(task.submitted)}>${time(task.submitted)}</span>`],
    task.ended && ["Ended", html`<span title=${fullTime(task.ended)}>${time(task.ended)}</span>`],
    task.submitter && ["Submitted by", task.submitter],
    ["Priority", count(task.priority)],
    ["Attempts", `${count(task.tries)} of ${count(task.max_attempts)}`],
    task.deadline && ["Deadline", html`<span title=${fullTime(task.deadline)}>${time(task.deadline)}</span>`],
    task.run_limit_ms && ["Longest attempt", duration(task.run_limit_ms)],
    ["Object", html`<a href=${to.method(task.object, task.method)}>${task.object}</a>`],
  ].filter(Boolean);
  return html`<dl class="facts">${facts.map(([term, value]) => html`<div key=${term}><dt>${term}</dt><dd>${value}</dd></div>`)}</dl>`;
}

/** Each attempt on the same axis of time, from the submission to the end or to now. */
function Attempts({ task }) {
  const now = useNow(DONE.has(task.state) ? 0 : 1000);
  const begin = new Date(task.submitted).getTime();
  const end = Math.max(begin + 1, DONE.has(task.state) ? new Date(task.ended).getTime() : now);
  const share = (moment) => Math.max(0, Math.min(100, (100 * (moment - begin)) / (end - begin)));
  return html`<${Section} title=${plural(task.attempts.length, "attempt")} aside=${html`<span>${time(begin)} to ${DONE.has(task.state) ? time(end) : "now"}, ${duration(end - begin)}</span>`}>
    ${task.attempts.length === 0 && html`<p class="muted">${task.state === "cancelled" ? "It was cancelled before it ran." : "No worker has run it yet."}</p>`}
    <ol class="timeline">${task.attempts.map((attempt, index) => {
      const from = new Date(attempt.started).getTime();
      const to_ = attempt.ended ? new Date(attempt.ended).getTime() : end;
      const before = index === 0 ? begin : new Date(task.attempts[index - 1].ended || attempt.started).getTime();
      const outcome = attempt.outcome || "running";
      const words = `${outcome} after ${duration(Math.max(0, to_ - from))}`;
      return html`<li key=${attempt.number}><span class="break"><b>${count(attempt.number)}.</b> ${attempt.worker ? html`<a href=${to.worker(attempt.worker)}>${attempt.worker}</a>` : html`<span class="muted">no worker</span>`}</span>
        <span class="track" role="img" aria-label=${words} title=${`${time(from)} to ${attempt.ended ? time(to_) : "now"}`}>
          <span class="waited" style=${{ left: `${share(before)}%`, width: `${share(from) - share(before)}%` }}></span>
          <span class=${MARKS[outcome] || "failed"} style=${{ left: `${Math.min(99, share(from))}%`, width: `${share(to_) - share(from)}%` }}></span></span>
        <span class="numeric">${duration(Math.max(0, to_ - from))}</span>
        <span class="why"><${State} state=${MARKS[outcome] || "failed"}>${outcome}</${State}>${attempt.reason && `: ${attempt.reason}`}</span></li>`;
    })}</ol></${Section}>`;
}

/** Each argument by its name, shown as what it is. */
function Arguments({ args }) {
  const named = args && typeof args === "object" && !Array.isArray(args) ? Object.entries(args) : null;
  if (named?.length === 0) return html`<p class="muted">There are none.</p>`;
  if (!named || named.length > 12) return html`<${Value} value=${args ?? null} name="arguments" />`;
  return named.map(([name, value]) => html`<div class="argument" key=${name}><h3 class="mono">${name}</h3><${Value} value=${value} name=${name} /></div>`);
}

const MARKS = { succeeded: "succeeded", running: "running", cancelled: "cancelled" };

function Result({ task }) {
  if (task.state === "succeeded") return html`<${Value} value=${task.result ?? null} name=${`${task.method}-${task.id.slice(0, 8)}`} />`;
  if (task.error) {
    return html`<div class="notice notice-bad"><${State} state="bad">${" "}</${State}><p>${task.error}</p></div>${task.error_value !== null && task.error_value !== undefined && html`<${Value} value=${task.error_value} name="error" />`}`;
  }
  return html`<p class="muted">${DONE.has(task.state) ? "There is none." : "It comes when the task is done."}</p>`;
}
