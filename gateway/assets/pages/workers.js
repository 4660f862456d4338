// Workers: who runs the calls. One row a worker with its load, live; one worker's page with its objects, its
// figures and its drain; and how to add one.

import { html, useMemo, useState } from "../lib/html.js";
import { path, post } from "../lib/api.js";
import { lastMinute } from "../lib/figures.js";
import { command, curl } from "../lib/command.js";
import { ago, duration, percent, plural, short } from "../lib/format.js";
import { to } from "../lib/router.js";
import { ActionButton, Command, Dialog, Empty, Name, Notice, PageHead, ProblemNotice, Rate, Section } from "../parts/basics.js";
import { Chart } from "../parts/chart.js";
import { State } from "../parts/marks.js";
import { Rows } from "../parts/rows.js";
import { Sparkline } from "../parts/sparkline.js";
import { Load, load } from "./overview.js";

export function Workers({ live, parts }) {
  return parts[0] ? html`<${WorkerPage} key=${parts[0]} live=${live} name=${parts[0]} />` : html`<${AllWorkers} live=${live} />`;
}

const byName = new Intl.Collator("en", { numeric: true });
const ORDER = {
  name: (left, right) => byName.compare(left.name, right.name),
  state: (left, right) => left.state.localeCompare(right.state),
  load: (left, right) => load(left) - load(right),
  calls: (left, right) => (left.last.calls || 0) - (right.last.calls || 0),
  errors: (left, right) => left.last.share - right.last.share,
  p99: (left, right) => (left.last.p99 || 0) - (right.last.p99 || 0),
};

function AllWorkers({ live }) {
  const [filter, setFilter] = useState("");
  const [sortBy, setSortBy] = useState({ key: "name", down: false });
  const [adding, setAdding] = useState(false);
  const wanted = filter.toLowerCase();
  const rows = [...live.workers.values()]
    .filter((worker) => [worker.name, worker.host, worker.endpoint, ...worker.objects].some((text) => (text || "").toLowerCase().includes(wanted)))
    .map((worker) => ({ ...worker, series: live.stats?.workers?.[worker.name]?.calls, last: lastMinute(live.stats, live.stats?.workers?.[worker.name]) }));
  rows.sort((left, right) => (sortBy.down ? -1 : 1) * ORDER[sortBy.key](left, right) || byName.compare(left.name, right.name));
  const gone = [...live.gone];
  const columns = [
    { key: "name", title: "Worker", sort: true, cell: (row) => html`<${Name} text=${row.name} most=${20} />` },
    { key: "state", title: "State", sort: true, cell: (row) => html`<${State} state=${row.state} />` },
    { key: "load", title: "Load", sort: true, cell: (row) => html`<${Load} worker=${row} />` },
    { key: "spark", title: "Last 2 min", cell: (row) => html`<${Sparkline} series=${row.series} />` },
    { key: "calls", title: "Calls", numeric: true, sort: true, cell: (row) => html`<${Rate} value=${row.last.calls} />` },
    { key: "errors", title: "Errors", numeric: true, sort: true, cell: (row) => percent(row.last.share) },
    { key: "p99", title: "p99", numeric: true, sort: true, cell: (row) => duration(row.last.p99) },
    { key: "objects", title: "Objects", cell: (row) => row.objects.join(", ") },
    { key: "host", title: "Runs at", cell: (row) => html`<span title=${`process ${row.pid}`}>${row.host} <span class="muted">${row.endpoint}</span></span>` },
  ];
  return html`<${PageHead} title="Workers" lead="Processes that host objects and run their calls.">
      <button type="button" class="button button-primary" onClick=${() => setAdding(true)}>Add a worker</button></${PageHead}>
    ${adding && html`<${AddWorker} onClose=${() => setAdding(false)} />`}
    ${gone.length > 0 && html`<${Notice} level="warn" live>${gone.slice(-3).map(([name, at]) => html`<p key=${name}><strong>${name}</strong> went away ${ago(at)}.</p>`)}
      ${gone.length > 3 && html`<p>${plural(gone.length - 3, "other worker")} went away before.</p>`}</${Notice}>`}
    ${live.loaded && live.workers.size === 0
      ? html`<${Empty} title="No worker is running">Nothing can be called until one runs.<${Command} line=${command("worker")} /></${Empty}>`
      : html`<div class="filters"><input type="search" aria-label="Filter workers by name, host or object" placeholder=${`Filter ${plural(live.workers.size, "worker")}`} value=${filter} onInput=${(event) => setFilter(event.target.value)} />
          ${wanted && html`<span class="muted" role="status">${plural(rows.length, "match", "matches")}</span>`}</div>
        <div class="workers-table"><${Rows} label="Workers" columns=${columns} rows=${rows} keyOf=${(row) => row.name} href=${(row) => to.worker(row.name)} sortBy=${sortBy} onSort=${setSortBy}
          grid="minmax(110px, 1.3fr) 92px minmax(130px, 1fr) 100px 80px 60px 72px minmax(90px, 1.4fr) minmax(110px, 1.2fr)" /></div>`}
    <${Command} line=${command("workers")} />`;
}

function AddWorker({ onClose }) {
  return html`<${Dialog} title="Add a worker" onClose=${onClose}>
    <p>A worker is a process; it can run on any machine that reaches this name server. It appears here within a second after it has started.</p>
    <${Command} label="Start one" line=${command("worker")} />
    <${Command} label="With a name, two objects and four threads" line=${command("worker", "--name", "w9", "--objects", "calculator,text", "--threads", "4")} />
    <p class="muted">Objects of your own come with a program of your own: <code>Worker::builder()</code> of the library.</p></${Dialog}>`;
}

function WorkerPage({ live, name }) {
  const worker = live.workers.get(name);
  const [draining, setDraining] = useState(false);
  const series = live.stats?.workers?.[name];
  const last = lastMinute(live.stats, series);
  const gone = live.gone.get(name);
  const crumbs = html`<p class="crumbs"><a href="/workers">Workers</a></p>`;
  if (!worker) {
    return html`${crumbs}<${PageHead} title=${name} />${live.loaded && html`<${Empty} title=${gone ? `${name} went away ${ago(gone)}` : `There is no worker ${name}`}>
      ${gone ? "Calls go to the other workers. Tasks that it ran start again elsewhere within seconds." : "It may have had another name, or ended before this page was opened."}</${Empty}>`}`;
  }
  const facts = [
    ["State", html`<${State} state=${worker.state} />`],
    ["Load", html`<${Load} worker=${worker} />`],
    ["Waiting", plural(worker.queue || 0, "call")],
    ["Runs at once", plural(worker.capacity, "call")],
    ["Calls since it started", short(worker.calls)],
    ["Calls", `${short(last.calls)} /s`],
    ["Errors", percent(last.share)],
    ["Half take up to", duration(last.p50)],
    ["99 of 100 take up to", duration(last.p99)],
    ["Address", html`<span class="mono">${worker.endpoint}</span>`],
    ["Host", worker.host],
    ["Process", String(worker.pid)],
  ];
  return html`${crumbs}<${PageHead} title=${name} lead=${`Hosts ${plural(worker.objects.length, "object")}.`}>
      ${worker.state === "ready" && html`<button type="button" class="button button-danger" onClick=${() => setDraining(true)}>Drain…</button>`}</${PageHead}>
    ${draining && html`<${Drain} worker=${worker} onClose=${() => setDraining(false)} />`}
    <div class="panel pad"><dl class="facts">${facts.map(([term, value]) => html`<div key=${term}><dt>${term}</dt><dd>${value}</dd></div>`)}</dl></div>
    ${series && html`<${WorkerCharts} stats=${live.stats} series=${series} />`}
    <${Section} title="Objects"><ul class="plain-list">${worker.objects.map((object) => html`<li key=${object}><a href=${to.object(object)}>${object}</a></li>`)}</ul></${Section}>
    <${Section} title="Its tasks"><p><a href=${`/tasks?worker=${encodeURIComponent(name)}`}>Tasks whose last attempt ran at ${name}</a></p></${Section}>
    <${Command} line=${command("tasks", "list", "--worker", name)} />`;
}

function WorkerCharts({ stats, series }) {
  const times = useMemo(() => {
    const first = stats.end_ms / 1000 - (stats.steps - 1) * stats.step_s;
    return Array.from({ length: stats.steps }, (_, index) => first + index * stats.step_s);
  }, [stats.end_ms]);
  return html`<div class="charts">
    <${Chart} times=${times} title="Calls a second" format=${(value) => `${short(value)} /s`} axis=${short} lines=${[{ label: "calls", tone: "accent", values: series.calls, fill: true }, { label: "errors", tone: "bad", values: series.errors }]} sync="worker" />
    <${Chart} times=${times} title="Time a call takes" format=${duration} lines=${[{ label: "half up to", tone: "info", values: series.p50_ms }, { label: "99 of 100 up to", tone: "warn", values: series.p99_ms, dash: [5, 3] }]} sync="worker" /></div>`;
}

function Drain({ worker, onClose }) {
  const [problem, setProblem] = useState(null);
  const address = path("v1", "workers", worker.name, "drain");
  const drain = async () => {
    try {
      await post(address, {});
      onClose();
    } catch (refused) {
      setProblem(refused);
    }
  };
  return html`<${Dialog} title=${`Drain ${worker.name}?`} onClose=${onClose}>
    <p>It gets no new calls, and finishes the ${plural(worker.in_flight || 0, "call")} that ${worker.in_flight === 1 ? "runs" : "run"} now. Others take over. Its process goes on until somebody stops it; there is no way back but to start it again.</p>
    <${ProblemNotice} problem=${problem} what="Not drained" />
    <div class="form-actions"><${ActionButton} act=${drain} kind="danger">Drain ${worker.name}</${ActionButton}><button type="button" class="button" onClick=${onClose}>Leave it</button></div>
    <${Command} line=${curl(address)} /></${Dialog}>`;
}
