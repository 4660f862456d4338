// The frame of the dashboard: the rail with the pages, the state of the connection, and the page that the
// address names. The overview comes with the frame; another page is fetched when somebody turns to it. To add a
// page, add a module to pages/ and its line to `PAGES`.

import { html, render, useEffect, useRef, useState } from "./lib/html.js";
import { startLive, useLive } from "./lib/live.js";
import { startRouter, usePlace } from "./lib/router.js";
import { setTheme, theme } from "./lib/theme.js";
import { HEADLINES, findings, verdict } from "./lib/health.js";
import { count, time } from "./lib/format.js";
import { Mark } from "./parts/marks.js";
import { Overview } from "./pages/overview.js";
import { Login } from "./pages/login.js";

// address, label, how to get the page, icon (16 by 16, lines), and the count beside it
const PAGES = [
  ["", "Overview", async () => Overview, "M1.5 10.5 4.5 6 7.5 9.5 11 3.5 14.5 8.5M1.5 14H14.5", () => ""],
  ["objects", "Objects", async () => (await import("./pages/objects.js")).Objects, "M8 1.5 14 5V11L8 14.5 2 11V5ZM2 5 8 8.5 14 5M8 8.5V14.5", (live) => count(live.objects.size)],
  ["workers", "Workers", async () => (await import("./pages/workers.js")).Workers, "M2 2.5H14V6.5H2ZM2 9.5H14V13.5H2ZM4.5 4.5H5M4.5 11.5H5", (live) => count(live.workers.size)],
  ["tasks", "Tasks", async () => (await import("./pages/tasks.js")).Tasks, "M1.5 4 3 5.5 5.5 2.5M1.5 9 3 10.5 5.5 7.5M8 4H14.5M8 9H14.5M8 13.5H14.5M2.5 13.5H3.5", (live) => (live.tasks ? count((live.tasks.queued || 0) + (live.tasks.running || 0)) : "")],
  ["chat", "Chat", async () => (await import("./pages/chat.js")).Chat, "M2 2.5H14V11H7L4 14V11H2Z", () => ""],
  ["topics", "Topics", async () => (await import("./pages/topics.js")).Topics, "M3 1.5H13V14.5H3ZM5.5 5H10.5M5.5 8H10.5M5.5 11H8.5", () => ""],
  ["domain", "Domain", async () => (await import("./pages/domain.js")).Domain, "M8 1.5V5M4 9V7H12V9M8 5V7M6.2 1.5H9.8V5H6.2ZM2.2 9H5.8V12.5H2.2ZM10.2 9H13.8V12.5H10.2Z", () => ""],
];

function App() {
  const live = useLive();
  const { parts, query } = usePlace();
  const Page = usePage(parts[0] || "", live.connection);
  const content = useRef(null);

  // After going to another page the focus begins at its heading, as after loading a page.
  const address = parts[0] || "";
  const before = useRef(address);
  useEffect(() => {
    if (before.current === address) return;
    before.current = address;
    content.current?.querySelector("h1")?.focus({ preventScroll: true });
  }, [address]);

  return html`<div class="frame">
    <a class="skip" href="#main" onClick=${(event) => {
      event.preventDefault();
      content.current?.querySelector("h1")?.focus();
    }}>To the content</a>
    <header class="rail">
      <a class="brand" href="/" aria-label="Pyroxene, overview"><${Brand} />Pyroxene</a>
      <nav class="nav" aria-label="Pages">${PAGES.map(([key, label, load, icon, number]) => html`<a href=${`/${key}`} key=${key} onPointerEnter=${() => fetchPage(key, load).catch(() => {})} aria-current=${key === address ? "page" : undefined}>
        <svg viewBox="0 0 16 16" aria-hidden="true"><path d=${icon} /></svg>${label}<span class="nav-count">${live.loaded ? number(live) : ""}</span></a>`)}</nav>
      <div class="rail-foot"><${Connection} live=${live} /><${ThemeSwitch} /></div>
    </header>
    <div class="content" ref=${content}>
      <div role="region" aria-label="Connection">${live.connection === "away" && html`<${Away} live=${live} />`}</div>
      <main id="main"><${Page} parts=${parts.slice(1)} query=${query} live=${live} /></main>
    </div>
  </div>`;
}

const fetched = new Map([["", Overview]]);

/** Fetches a page, unless it is there already. */
async function fetchPage(address, load) {
  if (!fetched.has(address)) fetched.set(address, await load());
}

/** The page of an address; while it is fetched, one that says so. After a lost connection it is tried again. */
function usePage(address, connection) {
  const [, draw] = useState(0);
  const [, label, load] = PAGES.find(([key]) => key === address) || [];
  useEffect(() => {
    if (!load || fetched.has(address)) return undefined;
    let ended = false;
    fetchPage(address, load).then(() => !ended && draw((count) => count + 1), () => {});
    return () => {
      ended = true;
    };
  }, [address, connection]);
  if (connection === "login") return Login;
  if (!load) return Unknown;
  return fetched.get(address) || (() => html`<h1 tabindex="-1">${label}</h1><p class="muted">The page is on its way…</p>`);
}

function Brand() {
  return html`<svg viewBox="0 0 32 32" aria-hidden="true" fill="none"><path d="M11 2h10l9 9v10l-9 9H11l-9-9V11z" fill="var(--accent)" />
    <path d="M2 11 21 30M11 2 30 21M30 11 11 30M21 2 2 21" stroke="var(--accent-ink)" stroke-opacity=".7" stroke-width="1.6" /></svg>`;
}

const CONNECTIONS = { live: "Live", connecting: "Connecting…", away: "Trying again…", login: "Not logged in" };

function Connection({ live }) {
  const isLive = live.connection === "live";
  const level = isLive ? verdict(findings(live)) : live.connection === "away" ? "bad" : "note";
  const who = live.whoami?.user ? ` as ${live.whoami.user}` : "";
  return html`<div class="connection" id="connection" data-state=${live.connection}><${Mark} state=${level} label=${isLive ? HEADLINES[level] : undefined} /><span>${CONNECTIONS[live.connection]}<span class="who muted">${who}
    ${live.whoami?.nameserver && html`<br />${live.whoami.nameserver}`}</span></span></div>`;
}

function Away({ live }) {
  const seen = live.loaded ? `What you see is from ${time(live.since)}.` : "";
  return html`<div class="banner" role="status"><${Mark} state="warn" /><span><strong>The name server does not answer. Trying again…</strong> ${seen}</span></div>`;
}

function ThemeSwitch() {
  const [chosen, setChosen] = useState(theme);
  const choose = (choice) => {
    setTheme(choice);
    setChosen(choice);
  };
  const options = [["light", "Light"], ["dark", "Dark"], ["system", "Auto"]];
  return html`<div class="theme" role="group" aria-label="Colours">${options.map(([key, label]) => html`<button type="button" key=${key}
    aria-pressed=${chosen === key ? "true" : "false"} onClick=${() => choose(key)}>${label}</button>`)}</div>`;
}

function Unknown({ parts }) {
  return html`<h1 tabindex="-1">There is no such page</h1><p class="lead">The address names ${parts.join("/") || "nothing here"}. Begin at the <a href="/">overview</a>.</p>`;
}

startRouter();
startLive();
render(html`<${App} />`, document.getElementById("app"));
