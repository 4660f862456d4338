// Tasks: where is mine? The list with its filters, newest first, and the ways to submit new ones. One task has
// its own page (task.js).

import { html, useCallback, useEffect, useMemo, useRef, useState } from "../lib/html.js";
import { query as queryOf } from "../lib/api.js";
import { command } from "../lib/command.js";
import { ago, count, duration, fullTime, plural, short } from "../lib/format.js";
import { useNow } from "../lib/now.js";
import { go, to } from "../lib/router.js";
import { useTaskPages } from "../lib/task_pages.js";
import { Command, Empty, PageHead, ProblemNotice } from "../parts/basics.js";
import { Mark, State } from "../parts/marks.js";
import { Rows } from "../parts/rows.js";
import { BulkDialog, SubmitDialog } from "../parts/submit.js";
import { TaskPage } from "./task.js";

const STATES = ["queued", "running", "succeeded", "failed", "cancelled"];

export function Tasks({ live, parts, query }) {
  return parts[0] ? html`<${TaskPage} key=${parts[0]} live=${live} id=${parts[0]} />` : html`<${AllTasks} live=${live} query=${query} />`;
}

function filterOf(query) {
  return {
    states: (query.get("state") || "").split(",").filter((state) => STATES.includes(state)),
    object: query.get("object") || "",
    worker: query.get("worker") || "",
    text: query.get("text") || "",
  };
}

function AllTasks({ live, query }) {
  const filter = filterOf(query);
  const pages = useTaskPages(filter, live.returns);
  const [dialog, setDialog] = useState(null);
  const now = useNow(pages.rows.length > 0 ? 5000 : 0);
  const change = (part) => go(`/tasks${queryOf({ state: filter.states.join(","), object: filter.object, worker: filter.worker, text: filter.text, ...part })}`, { replace: true });
  const close = useCallback(() => setDialog(null), []);
  const filtered = filter.states.length > 0 || filter.object || filter.worker || filter.text;
  const known = pages.rows.length + pages.fresh.length > 0;
  const noStore = pages.problem?.status === 404 || (live.checks?.store === "none");
  return html`<${PageHead} title="Tasks" lead="Calls that are kept until they are done: they survive restarts and dead workers.">
      <button type="button" class="button button-primary" onClick=${() => setDialog("one")}>Submit a task</button>
      <button type="button" class="button" onClick=${() => setDialog("bulk")}>Submit many</button></${PageHead}>
    ${dialog === "one" && html`<${SubmitDialog} live=${live} onClose=${close} />`}
    ${dialog === "bulk" && html`<${BulkDialog} live=${live} onClose=${close} />`}
    <${Filters} live=${live} filter=${filter} change=${change} />
    <${ProblemNotice} problem=${noStore ? null : pages.problem} what="The tasks cannot be read" />
    ${noStore
      ? html`<${Empty} title="This name server keeps no tasks">It was started without a store. Give it one:<${Command} line="pyroxene nameserver --store sqlite:state.db" /></${Empty}>`
      : !known && !pages.loading && !pages.more
        ? html`<${NoTasks} filtered=${filtered} change=${change} submit=${() => setDialog("one")} />`
        : html`<${TaskRows} pages=${pages} filter=${filter} now=${now} live=${live} />`}
    <${Command} line=${command("tasks", "list", filter.states.flatMap((state) => ["--state", state]), filter.object ? ["--object", filter.object] : [], filter.worker ? ["--worker", filter.worker] : [])} />`;
}

function Filters({ live, filter, change }) {
  const [text, setText] = useState(filter.text);
  const timer = useRef(0);
  useEffect(() => setText(filter.text), [filter.text]);
  const type = (event) => {
    setText(event.target.value);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => change({ text: event.target.value.trim() }), 350);
  };
  const toggle = (state) => change({ state: (filter.states.includes(state) ? filter.states.filter((each) => each !== state) : [...filter.states, state]).join(",") });
  const isId = /^[0-9a-f]{8}-[0-9a-f-]{27}$/i.test(text.trim());
  const objects = [...new Set([...live.objects.keys(), filter.object].filter(Boolean))].sort();
  return html`<div class="filters" role="search" aria-label="Filter tasks">
    <div class="chips" role="group" aria-label="States">${STATES.map((state) => html`<button type="button" class="chip" key=${state} aria-pressed=${filter.states.includes(state) ? "true" : "false"} onClick=${() => toggle(state)}>
      <${Mark} state=${state} />${state}<span class="n">${live.tasks ? short(live.tasks[state] || 0) : ""}</span></button>`)}</div>
    <select aria-label="Object" value=${filter.object} onChange=${(event) => change({ object: event.target.value })}><option value="">every object</option>${objects.map((name) => html`<option key=${name} value=${name}>${name}</option>`)}</select>
    <input type="search" aria-label="Search in id, object, method, worker and error" placeholder="Search in tasks" value=${text} onInput=${type}
      onKeyDown=${(event) => event.key === "Enter" && isId && go(to.task(text.trim()))} />
    ${isId && html`<a class="button" href=${to.task(text.trim())}>Open this task</a>`}
    ${filter.worker && html`<button type="button" class="chip" aria-pressed="true" onClick=${() => change({ worker: "" })}>at ${filter.worker} ✕</button>`}
  </div>`;
}

function NoTasks({ filtered, change, submit }) {
  if (filtered) {
    return html`<${Empty} title="No task fits these filters"><button type="button" class="button" onClick=${() => change({ state: "", object: "", worker: "", text: "" })}>Show all tasks</button></${Empty}>`;
  }
  return html`<${Empty} title="There are no tasks yet">A task is a call that is stored first and run by some worker then, again elsewhere if that worker dies.
    <button type="button" class="button button-primary" onClick=${submit}>Submit the first one</button><${Command} line=${command("submit", "calculator", "factorial", "n=30")} /></${Empty}>`;
}

function TaskRows({ pages, filter, now, live }) {
  const columns = useMemo(() => [
    { key: "task", title: "Task", cell: (task) => html`${task.object}<span class="muted">.</span>${task.method}` },
    { key: "state", title: "State", cell: (task) => html`<${State} state=${task.state} />` },
    { key: "submitted", title: "Submitted", cell: (task) => html`<span title=${fullTime(task.submitted)}>${ago(task.submitted, Date.now())}</span>` },
    { key: "took", title: "Took", numeric: true, cell: took },
    { key: "attempts", title: "Attempts", numeric: true, cell: (task) => attemptsOf(task) },
    { key: "worker", title: "Worker", cell: (task) => task.worker || task.attempts?.at(-1)?.worker || html`<span class="muted">–</span>` },
    { key: "note", title: "What happened", cell: (task) => noteOf(task, live) },
    { key: "id", title: "Id", cell: (task) => html`<span class="mono muted" title=${task.id}>${task.id.slice(0, 8)}…${task.id.slice(-6)}</span>` },
  ], []);
  const box = useRef(null);
  useEffect(() => {
    const element = box.current?.querySelector(".rows-box");
    const look = () => {
      pages.atTop = element.scrollTop < 30;
    };
    element?.addEventListener("scroll", look, { passive: true });
    return () => element?.removeEventListener("scroll", look);
  }, [pages]);
  const total = filter.states.length || filter.object || filter.text || filter.worker || !live.tasks ? undefined : Object.values(live.tasks).reduce((sum, number) => sum + number, 0) + 1;
  const footer = pages.loading
    ? filter.text ? `Searching… ${count(pages.searched)} tasks looked at` : "Loading…"
    : pages.more
      ? html`<span>${plural(pages.rows.length, "task")} shown${filter.text && `, ${count(pages.searched)} looked at`}</span><button type="button" class="button button-small" onClick=${pages.loadMore}>${filter.text ? "Search further" : "Load more"}</button>`
      : `${plural(pages.rows.length, "task")}, and no more`;
  return html`<div class="tasks-table" ref=${box} data-now=${now}>
    ${pages.fresh.length > 0 && html`<div class="new-rows"><button type="button" class="button button-primary button-small" onClick=${() => {
      pages.showFresh();
      box.current.querySelector(".rows-box").scrollTop = 0;
    }}>${plural(pages.fresh.length, "new task")}</button></div>`}
    <${Rows} label="Tasks, the newest first" columns=${columns} rows=${pages.rows} keyOf=${(task) => task.id} href=${(task) => to.task(task.id)} onEnd=${filter.text ? null : pages.loadMore} more=${pages.more && !pages.loading && !pages.problem}
      total=${total} footer=${footer} grid="minmax(150px, 1.5fr) 104px 92px 76px 74px minmax(70px, 0.8fr) minmax(110px, 2fr) 140px" /></div>`;
}

/** How long the last attempt took, or has taken so far. */
function took(task) {
  const last = task.attempts?.at(-1);
  if (!last?.started) return html`<span class="muted">–</span>`;
  const end = last.ended ? new Date(last.ended) : Date.now();
  return duration(Math.max(0, end - new Date(last.started)));
}

function attemptsOf(task) {
  const done = task.tries ?? task.attempts?.length ?? 0;
  return html`${count(done)} <span class="unit">of ${count(task.max_attempts)}</span>`;
}

function noteOf(task, live) {
  if (task.state === "running" && task.progress) return html`<progress max="1" value=${task.progress.fraction ?? undefined} aria-label="Progress"></progress> ${task.progress.note || ""}`;
  if (task.error) return html`<span class="tone-bad" title=${task.error}>${task.error}</span>`;
  if (task.state === "queued") return queuedWhy(task, live);
  return html`<span class="muted">–</span>`;
}

/** Why a queued task does not run yet, as far as its record says. */
function queuedWhy(task, live) {
  const due = new Date(task.due).getTime();
  if (due > Date.now() + 500) return `due ${ago(due)}`;
  const last = task.attempts?.at(-1);
  if (last?.reason) return `tried: ${last.reason}`;
  return live.objects.get(task.object)?.ready ? "waits for a free worker" : `waits until a worker hosts ${task.object}`;
}
