// Domain: the name servers with their store and schedules, and who I am here: user, rights, limits; logging in and out.

import { html, useEffect, useState } from "../lib/html.js";
import { post } from "../lib/api.js";
import { command } from "../lib/command.js";
import { ago, bytes, count, duration, fullTime, list, time } from "../lib/format.js";
import { useListing } from "../lib/listing.js";
import { live, readDomain, reconnect } from "../lib/live.js";
import { ActionButton, Command, Notice, PageHead, ProblemNotice, Section, TableBox } from "../parts/basics.js";
import { State } from "../parts/marks.js";
import { LoginForm } from "./login.js";
import { Schedules } from "./schedules.js";

/** How often name servers and checks are read again while one looks, in milliseconds. */
const AGAIN = 3000;

export function Domain({ live }) {
  useEffect(() => {
    readDomain().catch(() => {});
    const timer = setInterval(() => live.connection === "live" && readDomain().catch(() => {}), AGAIN);
    return () => clearInterval(timer);
  }, []);
  return html`<${PageHead} title="Domain" lead="The name servers that share one store, and who you are to them." />
    <${NameServers} live=${live} /><${Store} live=${live} /><${Schedules} live=${live} /><${Clients} live=${live} /><${WhoAmI} live=${live} /><${Machines} live=${live} />`;
}

function NameServers({ live }) {
  return html`<${Section} title="Name servers" tight><${TableBox} label="Name servers">
    <thead><tr><th scope="col">Address</th><th scope="col">State</th><th scope="col" class="wide-only">Version</th><th scope="col" class="numeric">Workers</th><th scope="col" class="numeric wide-only">Objects</th><th scope="col" class="numeric wide-only">Instances</th><th scope="col" class="numeric">Runs for</th></tr></thead>
    <tbody>${live.nameservers.map((server) => html`<tr key=${server.address}><td class="name">${server.address}${server.self && html` <span class="muted">this one</span>`}</td>
      <td><${State} state=${server.state === "ready" ? "ready" : "bad"}>${server.state === "ready" ? "ready" : "does not answer"}</${State}></td><td class="wide-only">${server.version || "–"}</td>
      <td class="numeric">${count(server.workers)}</td><td class="numeric wide-only">${count(server.objects)}</td><td class="numeric wide-only">${count(server.instances)}</td><td class="numeric">${duration(server.uptime_ms)}</td></tr>`)}
      ${live.nameservers.length === 0 && html`<tr><td colspan="7" class="muted">${live.loaded ? "This name server does not say." : "The list is on its way…"}</td></tr>`}</tbody></${TableBox}>
    <p class="hint">Any number of them may share one store, on any machine: each answers everything, and clients go on when one ends.</p><${Command} line=${command("ping")} /></${Section}>`;
}

/** How many are shown before one asks for all. */
const FIRST = 20;

function Clients({ live }) {
  const [clients, problem] = useListing("/v1/clients", live.connection, AGAIN);
  const [all, setAll] = useState(false);
  const shown = all ? clients || [] : (clients || []).slice(0, FIRST);
  return html`<${Section} title="Who was here" tight><${ProblemNotice} problem=${problem} what="It is not known" /><${TableBox} label="Who was here">
    <thead><tr><th scope="col">Name</th><th scope="col">Kind</th><th scope="col">State</th><th scope="col" class="wide-only">Seen first</th><th scope="col">Seen last</th><th scope="col" class="wide-only">Where</th></tr></thead>
    <tbody>${shown.map((one) => html`<tr key=${`${one.kind} ${one.name}`}><td class="name">${one.name}</td><td>${one.kind}</td>
      <td><${State} state=${one.state === "here" ? "good" : "gone"}>${one.state}</${State}></td><td class="wide-only" title=${fullTime(one.first_seen)}>${time(one.first_seen)}</td><td title=${fullTime(one.last_seen)}>${ago(one.last_seen)}</td><td class="break wide-only">${one.place || "–"}</td></tr>`)}
      ${shown.length === 0 && html`<tr><td colspan="6" class="muted">${clients ? "Nobody yet." : "The list is on its way…"}</td></tr>`}</tbody></${TableBox}>
    ${!all && (clients || []).length > FIRST && html`<p class="hint"><button type="button" class="button button-small" onClick=${() => setAll(true)}>Show all ${count(clients.length)}</button></p>`}
    <p class="hint">People, programs that submitted tasks, and workers. With a store this outlives the name server.</p><${Command} line=${command("clients")} /></${Section}>`;
}

const STORES = { ok: "Works: tasks, topics and chat are kept there.", none: "There is none: this name server was started with no store." };

function Store({ live }) {
  const state = live.checks?.store;
  if (!state) return null;
  const mark = state === "ok" ? "good" : state === "none" ? "note" : "bad";
  return html`<${Section} title="Store"><p><${State} state=${mark}>${STORES[state] || state}</${State}></p>
    ${live.checks.directory === "settling" && html`<${Notice}>It has just started, and gives workers a few seconds to come back.</${Notice}>`}</${Section}>`;
}

const LIMITS = {
  tasks: ["Tasks that are not done", count],
  tasks_per_call: ["Tasks of one submission", count],
  task_bytes: ["Size of all kept tasks", bytes],
  priority: ["Greatest priority", count],
  run_time: ["Longest attempt", (seconds) => duration(seconds * 1000)],
  share: ["Share of the workers", (value) => `${count(value)} %`],
  connections: ["Connections", count],
  polls: ["Waiting requests", count],
  watches: ["Watched objects", count],
  topic_entries: ["Topic entries", (value) => `${count(value)} /s`],
  topic_bytes: ["Topic bytes", (value) => `${bytes(value)} /s`],
  chat_messages: ["Chat messages", (value) => `${count(value)} /s`],
  schedules: ["Schedules", count],
  chat_bytes: ["Chat bytes", (value) => `${bytes(value)} /s`],
};

function WhoAmI({ live }) {
  const who = live.whoami;
  if (!who) return html`<${Section} title="Who I am"><p class="muted">It is on its way…</p></${Section}>`;
  return html`<${Section} title="Who I am">
    ${!who.authentication && html`<p>This broker does not ask who you are: everybody who reaches it may do everything. That is meant for one machine; <code>--users FILE</code> changes it.</p>`}
    ${who.authentication && (who.user ? html`<${LoggedIn} who=${who} />` : html`<div class="panel pad login"><${LoginForm} /></div>`)}
    <${Limits} limits=${who.limits} /><${Command} line=${command("whoami")} /></${Section}>`;
}

function LoggedIn({ who }) {
  const [problem, setProblem] = useState(null);
  const logout = async () => {
    try {
      await post("/v1/logout", {});
    } catch (refused) {
      // The cookie is gone with a 503 too: other name servers are told later.
      if (refused.status !== 503) return setProblem(refused);
      live.farewell = "You are logged out here. The other name servers are told as soon as the store answers.";
    }
    reconnect();
  };
  const facts = [["User", who.user], ["Role", who.role], ["May use", who.role === "admin" ? "everything" : list(who.allow || [], 12) || "nothing"], ["From", who.address]];
  return html`<dl class="facts">${facts.map(([term, value]) => html`<div key=${term}><dt>${term}</dt><dd>${value || "–"}</dd></div>`)}</dl><${ProblemNotice} problem=${problem} what="Not logged out" />
    <div class="form-actions logout"><${ActionButton} act=${logout}>Log out</${ActionButton}></div>`;
}

function Limits({ limits }) {
  const known = Object.entries(limits || {}).filter(([name, value]) => value !== null && LIMITS[name]);
  if (known.length === 0) return null;
  return html`<details class="schema"><summary>My limits</summary><dl class="facts">${known.map(([name, value]) => html`<div key=${name}><dt>${LIMITS[name][0]}</dt><dd>${LIMITS[name][1](value)}</dd></div>`)}</dl></details>`;
}

function Machines() {
  const links = [["/openapi.json", "OpenAPI document", "of every object that is registered now, for programs in other languages"], ["/metrics", "Metrics", "for Prometheus"]];
  return html`<${Section} title="For programs"><ul class="plain-rows">${links.map(([address, title, what]) => html`<li key=${address}><a href=${address} target="_blank" rel="noopener">${title}</a> <span class="muted">${what}</span></li>`)}</ul></${Section}>`;
}
