// Objects: what can be called. The list at the left, the chosen object at the right with its methods, their
// documentation, a form to call them, and the workers that host it.

import { html, useEffect, useRef, useState } from "../lib/html.js";
import { get, path } from "../lib/api.js";
import { lastMinute } from "../lib/figures.js";
import { command } from "../lib/command.js";
import { docParts, duration, percent, plural, short } from "../lib/format.js";
import { to } from "../lib/router.js";
import { typeName } from "../lib/schema.js";
import { Command, Doc, Empty, Name, PageHead, ProblemNotice, Rate, Section, TableBox } from "../parts/basics.js";
import { CallForm } from "../parts/call_form.js";
import { State } from "../parts/marks.js";
import { Sparkline } from "../parts/sparkline.js";

/** Entries of the list that are drawn at once; the filter finds the others. */
const MOST = 200;

export function Objects({ live, parts }) {
  const [name, method] = parts;
  const [filter, setFilter] = useState("");
  const objects = [...live.objects.values()].sort((left, right) => left.name.localeCompare(right.name));
  const wanted = filter.toLowerCase();
  const matching = objects.filter((object) => object.name.toLowerCase().includes(wanted) || (object.interface || "").toLowerCase().includes(wanted));
  const filtering = html`<${Filter} filter=${filter} setFilter=${setFilter} all=${objects.length} found=${matching.length} />`;
  if (!name) return html`<${AllObjects} live=${live} objects=${objects} matching=${matching} filtering=${filtering} />`;
  return html`<div class="split chosen"><nav class="side" aria-label="Objects">${filtering}<${ObjectList} live=${live} objects=${matching} chosen=${name} /></nav>
    <div><${ObjectPage} key=${name} live=${live} name=${name} method=${method} /></div></div>`;
}

function Filter({ filter, setFilter, all, found }) {
  return html`<div class="filters"><input type="search" aria-label="Filter objects by name or interface" placeholder=${`Filter ${plural(all, "object")}`} value=${filter} onInput=${(event) => setFilter(event.target.value)} />
    ${filter && html`<span class="muted" role="status">${found === 0 ? "No object has that in its name." : plural(found, "match", "matches")}</span>`}</div>`;
}

function ObjectList({ live, objects, chosen }) {
  return html`<ul class="side-list">${objects.slice(0, MOST).map((object) => {
      const last = lastMinute(live.stats, live.stats?.objects?.[object.name]);
      return html`<li key=${object.name}><a href=${to.object(object.name)} aria-current=${object.name === chosen ? "true" : undefined}><span class="title">${object.name}</span>
        <span class="muted">${last.calls ? `${short(last.calls)} /s` : ""}</span><span class="sub">${object.ready === 0 ? html`<span class="tone-bad">no worker</span>` : plural(object.ready, "worker")}${last.errors ? html` · <span class="tone-bad">${percent(last.share)} fail</span>` : ""}</span></a></li>`;
    })}</ul>
    ${objects.length > MOST && html`<p class="hint">${plural(objects.length - MOST, "further object")}; filter to find them.</p>`}`;
}

function AllObjects({ live, objects, matching, filtering }) {
  const head = html`<${PageHead} title="Objects" lead="What programs call by name, wherever it runs. Choose one to see its methods and call them." />`;
  if (!live.loaded) return html`${head}<p class="muted">The list is on its way…</p>`;
  if (objects.length === 0) return html`${head}<${Empty} title="No object is registered">A worker brings its objects along when it starts.<${Command} line=${command("worker")} /></${Empty}>`;
  return html`${head}${filtering}<${TableBox} label="Objects"><thead><tr><th scope="col">Object</th><th scope="col" class="wide-only">Interface</th><th scope="col" class="numeric">Ready at</th><th scope="col" class="wide-only">Last 2 min</th><th scope="col" class="numeric">Calls</th><th scope="col" class="numeric">Errors</th><th scope="col" class="numeric wide-only">p50</th><th scope="col" class="numeric">p99</th></tr></thead>
    <tbody>${matching.slice(0, MOST).map((object) => {
      const series = live.stats?.objects?.[object.name];
      const last = lastMinute(live.stats, series);
      return html`<tr key=${object.name}><td class="name"><a href=${to.object(object.name)}>${object.name}</a></td><td class="muted wide-only">${object.interface && html`<${Name} text=${object.interface} />`}</td>
        <td class="numeric">${object.ready === 0 ? html`<${State} state="bad">no worker</${State}>` : plural(object.ready, "worker")}</td><td class="wide-only"><${Sparkline} series=${series?.calls} /></td><td class="numeric"><${Rate} value=${last.calls} /></td>
        <td class="numeric">${last.errors ? html`<span class="tone-bad">${percent(last.share)}</span>` : percent(last.share)}</td><td class="numeric wide-only">${duration(last.p50)}</td><td class="numeric">${duration(last.p99)}</td></tr>`;
    })}</tbody></${TableBox}>${matching.length > MOST && html`<p class="hint">${plural(matching.length - MOST, "further object")}; filter to find them.</p>`}<${Command} line=${command("list")} />`;
}

function ObjectPage({ live, name, method }) {
  const [description, setDescription] = useState(null);
  const [problem, setProblem] = useState(null);
  const object = live.objects.get(name);
  const hosted = !object || object.ready > 0;
  useEffect(() => {
    let ended = false;
    const ask = new AbortController();
    get(`${path("v1", "objects", name)}?timeout=10s`, { signal: ask.signal }).then(
      (found) => {
        if (ended) return;
        setDescription(found);
        setProblem(null);
      },
      (refused) => !ended && setProblem(refused),
    );
    return () => {
      ended = true;
      ask.abort();
    };
  }, [name, hosted, live.returns]);

  const chosen = description?.methods.find((each) => each.name === method);
  const doc = docParts(description?.doc);
  return html`<a class="button button-quiet back" href="/objects">← All objects</a>
    <${PageHead} title=${name} lead=${doc.first && html`<${Doc} text=${doc.first} />`} />
    ${doc.rest.map((paragraph) => html`<p class="muted doc"><${Doc} text=${paragraph} /></p>`)}
    ${problem && html`<${ProblemNotice} problem=${problem} what="Its interface cannot be read" />`}
    <${ObjectFacts} live=${live} object=${object} description=${description} name=${name} />
    ${description && html`<${Section} title=${plural(description.methods.length, "method")} aside=${html`<span>choose one to call it</span>`}>
      <ul class="methods">${description.methods.map((each) => html`<li key=${each.name}><${MethodLink} object=${name} method=${each} defs=${description.$defs} chosen=${each.name === method} /></li>`)}</ul></${Section}>`}
    ${chosen && html`<${MethodPart} key=${chosen.name} object=${name} method=${chosen} defs=${description.$defs} hosted=${hosted} />`}
    ${description && method && !chosen && html`<${Empty} title=${`${name} has no method ${method}`}>Choose one of those above.</${Empty}>`}
    <${Instances} live=${live} object=${object} />
    <${Command} line=${command("describe", name)} />`;
}

function ObjectFacts({ live, object, description, name }) {
  const last = lastMinute(live.stats, live.stats?.objects?.[name]);
  const facts = [
    ["Interface", description ? `${description.interface}, version ${description.version}` : object?.interface || "–"],
    ["Calls", `${short(last.calls)} /s`],
    ["Errors", percent(last.share)],
    ["Half take up to", duration(last.p50)],
    ["99 of 100 take up to", duration(last.p99)],
    ["In flight", plural(last.in_flight ?? 0, "call")],
  ];
  return html`<dl class="facts">${facts.map(([term, value]) => html`<div key=${term}><dt>${term}</dt><dd>${value}</dd></div>`)}</dl>`;
}

function MethodLink({ object, method, defs, chosen }) {
  const parameters = method.parameters.map((parameter) => `${parameter.name}: ${typeName(parameter.schema, defs)}`).join(", ");
  return html`<a href=${to.method(object, method.name)} aria-current=${chosen ? "true" : undefined}>
    <span class="signature"><b>${method.name}</b>(${parameters})</span><span class="sub"><${Doc} text=${docParts(method.doc).first} /></span></a>`;
}

function MethodPart({ object, method, defs, hosted }) {
  const doc = docParts(method.doc);
  const result = method.result === undefined ? "nothing" : typeName(method.result, defs);
  const rest = doc.rest.filter((paragraph) => paragraph !== "Safe to repeat.");
  const part = useRef(null);
  useEffect(() => part.current?.scrollIntoView({ block: "start" }), []);
  return html`<div class="method-part" ref=${part}><${Section} title=${method.name} aside=${html`<span>answers ${result}</span><span>${method.repeatable ? "safe to repeat" : "not repeated by itself: it may have run"}</span>`}>
    <p><${Doc} text=${doc.first} /></p>${rest.map((paragraph) => html`<p class="muted"><${Doc} text=${paragraph} /></p>`)}
    <${CallForm} object=${object} method=${method} defs=${defs} hosted=${hosted} />
    <details class="schema"><summary>Schema</summary><pre class="value-text" tabindex="0">${JSON.stringify({ parameters: method.parameters, result: method.result, error: method.error }, null, 2)}</pre></details></${Section}></div>`;
}

function Instances({ live, object }) {
  const instances = object?.instances;
  if (!Array.isArray(instances) || instances.length === 0) return null;
  return html`<${Section} title=${plural(instances.length, "instance")}><${TableBox} label="Instances"><thead><tr><th scope="col">Worker</th><th scope="col">State</th><th scope="col">Address</th><th scope="col">Tags</th></tr></thead>
    <tbody>${instances.slice(0, MOST).map((instance) => html`<tr key=${instance.endpoint + instance.worker}><td class="name">${instance.worker ? html`<a href=${to.worker(instance.worker)}>${instance.worker}</a>` : "static name"}</td>
      <td><${State} state=${live.workers.has(instance.worker) || !instance.worker ? instance.state : "gone"} /></td><td class="mono">${instance.endpoint}</td><td>${instance.tags.join(", ") || html`<span class="muted">none</span>`}</td></tr>`)}</tbody></${TableBox}>
    ${instances.length > MOST && html`<p class="hint">${plural(instances.length - MOST, "further instance")}; <a href="/workers">Workers</a> has all.</p>`}</${Section}>`;
}
