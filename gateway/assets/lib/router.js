// Addresses of pages. The dashboard's addresses are plain paths, which the server answers with the dashboard
// itself; links between pages are caught here and change the address without loading anything.

import { useEffect, useState } from "./html.js";

const listeners = new Set();

/** The address now: `{ parts, query }`; `/tasks/ID?x=1` has the parts `["tasks", "ID"]`. */
export function place() {
  const parts = location.pathname.split("/").filter(Boolean).map(decode);
  return { parts, query: new URLSearchParams(location.search) };
}

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Goes to an address; `replace` leaves no step back to where one was. */
export function go(address, { replace = false } = {}) {
  if (address === location.pathname + location.search) return;
  const within = place().parts.slice(0, 2).join("/");
  history[replace ? "replaceState" : "pushState"](null, "", address);
  // Choosing a method of the same object leaves the page where it is.
  if (!replace && place().parts.slice(0, 2).join("/") !== within) scrollTo(0, 0);
  listeners.forEach((tell) => tell());
}

/** Draws a component again whenever the address changes. */
export function usePlace() {
  const [now, setNow] = useState(place);
  useEffect(() => {
    const tell = () => setNow(place());
    listeners.add(tell);
    return () => listeners.delete(tell);
  }, []);
  return now;
}

/** Takes over clicks on links of this dashboard, and the browser's back and forward. */
export function startRouter() {
  addEventListener("popstate", () => listeners.forEach((tell) => tell()));
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("a[href^='/']");
    const plain = event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;
    if (!link || !plain || link.target || link.hasAttribute("download") || event.defaultPrevented) return;
    if (/^\/(assets|v1|metrics|openapi\.json)/.test(link.getAttribute("href"))) return;
    event.preventDefault();
    go(link.getAttribute("href"));
  });
}

/** The address of an object, a method, a worker or a task. */
export const to = {
  object: (name) => `/objects/${encodeURIComponent(name)}`,
  method: (name, method) => `/objects/${encodeURIComponent(name)}/${encodeURIComponent(method)}`,
  worker: (name) => `/workers/${encodeURIComponent(name)}`,
  task: (id) => `/tasks/${encodeURIComponent(id)}`,
  topic: (name) => `/topics/${encodeURIComponent(name)}`,
};
