// Overview: is it healthy, how much is going on, and who is slow? The verdict stands first, in words; then the
// figures of the last minute, the charts, and the objects and workers in the order in which they deserve a look.

import { html, useEffect, useMemo, useState } from "../lib/html.js";
import { get } from "../lib/api.js";
import { HEADLINES, findings, verdict } from "../lib/health.js";
import { lastMinute, mean, minute, newest, weighed } from "../lib/figures.js";
import { count, duration, durationParts, percent, plural, short } from "../lib/format.js";
import { to } from "../lib/router.js";
import { command } from "../lib/command.js";
import { Bar, Choice, Command, Empty, Figure, Name, Notice, Rate, Section, TableBox } from "../parts/basics.js";
import { Chart } from "../parts/chart.js";
import { Mark, State } from "../parts/marks.js";
import { Sparkline } from "../parts/sparkline.js";

const RANGES = [["5m", "5 min"], ["1h", "1 h"], ["24h", "24 h"]];
const SPANS = { "5m": "5 minutes", "1h": "hour", "24h": "24 hours" };
/** How often the longer ranges are read again, in milliseconds. */
const AGAIN = { "1h": 20_000, "24h": 60_000 };
/** Rows of the two tables. */
const MOST = 8;

export function Overview({ live }) {
  const [range, setRange] = useState("5m");
  const stats = useStats(live, range);
  const found = findings(live);
  useEffect(() => {
    document.title = "Overview · Pyroxene";
  }, []);
  return html`
    <${Verdict} live=${live} found=${found} range=${range} setRange=${setRange} />
    ${found.length > 0 && html`<ul class="findings" aria-label="What is wrong now">${found.map((finding) => html`<li key=${finding.text}><${Finding} finding=${finding} /></li>`)}</ul>`}
    <${Figures} live=${live} />
    <${Charts} stats=${stats} range=${range} />
    ${live.loaded && html`<div class="columns"><${ObjectsTable} live=${live} /><${WorkersTable} live=${live} /></div><${NameServers} live=${live} />
    <${Command} label="The same in a terminal" line=${command("top")} />`}`;
}

/** The figures of a range: those of five minutes go on with the stream, the others are read now and then. */
function useStats(live, range) {
  const [read, setRead] = useState(null);
  useEffect(() => {
    if (range === "5m") return undefined;
    let ended = false;
    const again = () => get(`/v1/stats?range=${range}`).then((stats) => !ended && setRead(stats), () => {});
    again();
    const timer = setInterval(again, AGAIN[range]);
    return () => {
      ended = true;
      clearInterval(timer);
    };
  }, [range]);
  return range === "5m" ? live.stats : read?.range === range ? read : null;
}

function Verdict({ live, found, range, setRange }) {
  const away = live.connection === "away";
  const level = away ? "bad" : verdict(found);
  const ready = [...live.workers.values()].filter((worker) => worker.state === "ready").length;
  const last = lastMinute(live.stats, live.stats?.total);
  const work = !last.calls ? "Nobody calls just now." : `${short(last.calls)} calls a second, ${last.errors ? `${percent(last.share)} of them fail` : "none fails"}.`;
  const headline = away ? "The name server does not answer" : live.loaded ? HEADLINES[level] : "Looking…";
  return html`<div class="verdict"><${Mark} state=${live.loaded || away ? level : "note"} />
    <h1 tabindex="-1">${headline}</h1>
    <p>${live.loaded && html`${away && "Last seen: "}${plural(ready, "worker")} ready for ${plural(live.objects.size, "object")}. ${work}`}</p>
    <${Choice} label="Time that the charts show" options=${RANGES} value=${range} onChange=${setRange} /></div>`;
}

function Finding({ finding }) {
  return html`<${Notice} level=${finding.level}><p>${finding.text}${finding.link && html` <a href=${finding.link}>Look</a>`}</p>
    ${finding.command && html`<${Command} label=${finding.advice} line=${finding.command} />`}</${Notice}>`;
}

function Figures({ live }) {
  const stats = live.stats;
  const total = stats?.total || {};
  const steps = minute(stats);
  const [p50, p50Unit] = durationParts(weighed(total.p50_ms, total.calls, steps));
  const [p99, p99Unit] = durationParts(weighed(total.p99_ms, total.calls, steps));
  const errors = mean(total.errors, steps);
  const cells = [
    ["Calls", short(mean(total.calls, steps)), "/s", total.calls, "accent"],
    ["Errors", short(errors), "/s", total.errors, errors ? "bad" : "accent"],
    ["Half take up to", p50, p50Unit, total.p50_ms, "info", "p50: half of the calls of the last minute were at least as quick"],
    ["99 of 100 take up to", p99, p99Unit, total.p99_ms, "info", "p99: 99 of 100 calls of the last minute were at least as quick"],
    ["In flight", short(newest(total.in_flight)), newest(total.in_flight) === 1 ? "call" : "calls", total.in_flight, "accent"],
    ["Waiting", short(newest(total.queue)), newest(total.queue) === 1 ? "call" : "calls", total.queue, "warn", "Calls that wait for a free thread of a worker"],
  ];
  return html`<dl class="figures" aria-label="The last minute">${cells.map(([label, value, unit, series, tone, title]) => html`<div class="figure-cell" key=${label} title=${title}>
    <dt>${label}</dt><dd><${Figure} value=${value} unit=${unit} /><${Sparkline} series=${series} tone=${tone} width=${120} /></dd></div>`)}</dl>`;
}

function Charts({ stats, range }) {
  const times = useMemo(() => {
    if (!stats) return [];
    const first = stats.end_ms / 1000 - (stats.steps - 1) * stats.step_s;
    return Array.from({ length: stats.steps }, (_, index) => first + index * stats.step_s);
  }, [stats?.end_ms, stats?.range]);
  if (!stats) return html`<div class="charts"><div class="chart muted">The figures are on their way…</div></div>`;
  const total = stats.total;
  const perSecond = (value) => `${short(value)} /s`;
  const calls = (value) => short(value);
  const tasks = (value) => short(value);
  const shared = { times, sync: "overview", key: range };
  return html`<div class="charts" aria-label=${`The last ${SPANS[range]}`}>
    <${Chart} ...${shared} key=${`calls${range}`} title="Calls a second" format=${perSecond} axis=${calls} lines=${[
      { label: "calls", tone: "accent", values: total.calls, fill: true },
      { label: "errors", tone: "bad", values: total.errors },
    ]} />
    <${Chart} ...${shared} key=${`latency${range}`} title="Time a call takes" format=${duration} lines=${[
      { label: "half up to", tone: "info", values: total.p50_ms },
      { label: "99 of 100 up to", tone: "warn", values: total.p99_ms, dash: [5, 3] },
    ]} />
    <${Chart} ...${shared} key=${`flight${range}`} title="Calls under way" format=${calls} lines=${[
      { label: "in flight", tone: "accent", values: total.in_flight, fill: true },
      { label: "waiting", tone: "warn", values: total.queue, dash: [5, 3] },
    ]} />
    ${stats.tasks
      ? html`<${Chart} ...${shared} key=${`tasks${range}`} title="Tasks that are not done" format=${tasks} lines=${[
          { label: "queued", tone: "warn", values: stats.tasks.queued, fill: true },
          { label: "running", tone: "info", values: stats.tasks.running },
        ]} />`
      : html`<div class="chart"><p class="chart-title">Tasks</p><p class="muted">This name server has no store, so there are no tasks.</p></div>`}
  </div>`;
}

function ObjectsTable({ live }) {
  const rows = [...live.objects.values()]
    .map((object) => ({ object, last: lastMinute(live.stats, live.stats?.objects?.[object.name]) }))
    .sort((left, right) => (right.last.p99 || 0) - (left.last.p99 || 0) || (right.last.calls || 0) - (left.last.calls || 0) || left.object.name.localeCompare(right.object.name));
  const more = rows.length - MOST;
  return html`<${Section} title="Objects, the slowest first" aside=${html`<a href="/objects">All objects</a>`}>
    ${rows.length === 0
      ? html`<${Empty} title="No object is registered">Objects appear here when a worker that hosts them starts.</${Empty}>`
      : html`<${TableBox} label="Objects"><thead><tr><th scope="col">Object</th><th scope="col" class="numeric">Ready at</th><th scope="col" class="numeric">Calls</th><th scope="col" class="numeric">Errors</th><th scope="col" class="numeric wide-only">p50</th><th scope="col" class="numeric">p99</th></tr></thead>
        <tbody>${rows.slice(0, MOST).map(({ object, last }) => html`<tr key=${object.name}><td class="name"><a href=${to.object(object.name)}><${Name} text=${object.name} /></a></td>
          <td class="numeric">${object.ready === 0 ? html`<${State} state="bad">no worker</${State}>` : plural(object.ready, "worker")}</td><td class="numeric"><${Rate} value=${last.calls} /></td>
          <td class="numeric">${last.errors ? html`<span class="tone-bad">${percent(last.share)}</span>` : html`<span class="muted">0 %</span>`}</td><td class="numeric wide-only">${duration(last.p50)}</td><td class="numeric">${duration(last.p99)}</td></tr>`)}</tbody></${TableBox}>
        ${more > 0 && html`<p class="hint">and ${plural(more, "other")}</p>`}`}
  </${Section}>`;
}

function WorkersTable({ live }) {
  const rows = [...live.workers.values()]
    .map((worker) => ({ worker, last: lastMinute(live.stats, live.stats?.workers?.[worker.name]) }))
    .sort((left, right) => load(right.worker) - load(left.worker) || (right.last.p99 || 0) - (left.last.p99 || 0) || left.worker.name.localeCompare(right.worker.name, "en", { numeric: true }));
  const more = rows.length - MOST;
  return html`<${Section} title="Workers, the busiest first" aside=${html`<a href="/workers">All workers</a>`}>
    ${rows.length === 0
      ? html`<${Empty} title="No worker is running">Start one with the command above; it appears here within a second.</${Empty}>`
      : html`<${TableBox} label="Workers"><thead><tr><th scope="col">Worker</th><th scope="col">State</th><th scope="col">Load</th><th scope="col" class="numeric wide-only">Calls</th><th scope="col" class="numeric">p99</th></tr></thead>
        <tbody>${rows.slice(0, MOST).map(({ worker, last }) => html`<tr key=${worker.name}><td class="name"><a href=${to.worker(worker.name)}><${Name} text=${worker.name} most=${20} /></a></td><td><${State} state=${worker.state} /></td>
          <td><${Load} worker=${worker} /></td><td class="numeric wide-only"><${Rate} value=${last.calls} /></td><td class="numeric">${duration(last.p99)}</td></tr>`)}</tbody></${TableBox}>
        ${more > 0 && html`<p class="hint">and ${plural(more, "other")}</p>`}`}
  </${Section}>`;
}

/** How full a worker is: what runs and waits, by what it runs at once. */
export function load(worker) {
  return ((worker.in_flight || 0) + (worker.queue || 0)) / Math.max(1, worker.capacity || 1);
}

/** That, as a bar with its numbers. */
export function Load({ worker }) {
  const share = load(worker);
  const tone = share > 2 ? "bad" : share > 1 ? "warn" : "accent";
  const words = `${count(worker.in_flight)} of ${count(worker.capacity)}${worker.queue ? ` +${count(worker.queue)}` : ""}`;
  return html`<span class="load"><${Bar} share=${share} tone=${tone} label=${`${words} in flight`} /><span class="nowrap" title="in flight, of how many at once, and how many wait">${words}</span></span>`;
}

function NameServers({ live }) {
  if (live.nameservers.length === 0) return null;
  return html`<${Section} title="Name servers" aside=${html`<a href="/domain">The domain</a>`}><${TableBox} label="Name servers">
    <thead><tr><th scope="col">Address</th><th scope="col">State</th><th scope="col" class="numeric">Workers</th><th scope="col" class="numeric">Objects</th><th scope="col" class="numeric">Runs for</th></tr></thead>
    <tbody>${live.nameservers.map((server) => html`<tr key=${server.address}><td class="name">${server.address}${server.self && html` <span class="muted">this one</span>`}</td>
      <td><${State} state=${server.state === "ready" ? "ready" : "bad"}>${server.state === "ready" ? "ready" : "does not answer"}</${State}></td><td class="numeric">${count(server.workers)}</td><td class="numeric">${count(server.objects)}</td><td class="numeric">${duration(server.uptime_ms)}</td></tr>`)}</tbody></${TableBox}></${Section}>`;
}
