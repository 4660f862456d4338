// The list of tasks, page by page. It begins with the newest page, loads further ones as the reader comes to
// the end, and follows the stream: known tasks change in place, new ones come on top. However many tasks the
// store has, only those that were scrolled through are in memory.

import { get, query } from "./api.js";
import { onTask } from "./live.js";
import { useEffect, useRef, useState } from "./html.js";

/** Tasks of one page. */
const PAGE = 200;
/** Pages that a search in text reads at once, and their size, before it asks whether to go on. */
const SEARCH_PAGES = 10;
const SEARCH_PAGE = 1000;
/** Matches after which a search stops for now. */
const ENOUGH = 50;
/** Events within this time are taken together, in milliseconds. */
const TOGETHER = 250;
/** How often the newest tasks are read without an event, in milliseconds: an event is a hint, which may be lost. */
const LOOK_EVERY = 5000;
/** How many of the newest tasks are. */
const LOOK_AT = 100;
const DONE = new Set(["succeeded", "failed", "cancelled"]);
/** New tasks kept aside while the reader is further down; older ones of them are found by loading again. */
const MOST_FRESH = 500;

/** Whether a task fits the filters; `state` and `object` are also asked of the server, `text` is not. */
export function fits(task, filter) {
  if (task.state === "gone" || (filter.states.length > 0 && !filter.states.includes(task.state))) return false;
  if (filter.object && task.object !== filter.object) return false;
  const lastWorker = task.worker || task.attempts?.at(-1)?.worker;
  if (filter.worker && lastWorker !== filter.worker) return false;
  return fitsText(task, filter.text);
}

function fitsText(task, text) {
  if (!text) return true;
  const wanted = text.toLowerCase();
  const last = task.attempts?.at(-1);
  return [task.id, task.object, task.method, `${task.object}.${task.method}`, task.submitter, task.error, task.worker, last?.worker, last?.reason].some((field) => field && String(field).toLowerCase().includes(wanted));
}

/** `{ rows, more, loading, problem, searched, fresh, loadMore, showFresh }` for a filter. */
export function useTaskPages(filter, returns) {
  const [, draw] = useState(0);
  const list = useRef(null);
  const key = JSON.stringify(filter);
  useEffect(() => {
    const pages = new TaskPages(filter, () => draw((count) => count + 1));
    list.current = pages;
    pages.loadMore();
    const stop = onTask((task) => pages.take(task));
    const look = setInterval(() => pages.lookAgain(), LOOK_EVERY);
    return () => {
      stop();
      clearInterval(look);
      pages.end();
    };
  }, [key, returns]);
  return list.current || { rows: [], more: true, loading: true, fresh: [], searched: 0, loadMore() {}, showFresh() {} };
}

class TaskPages {
  constructor(filter, changed) {
    this.filter = filter;
    this.changed = changed;
    this.rows = [];
    this.places = new Map();
    this.fresh = [];
    this.next = "";
    this.more = true;
    this.loading = false;
    this.problem = null;
    this.searched = 0;
    this.atTop = true;
    this.waiting = new Map();
    this.timer = 0;
    this.asking = new AbortController();
    this.loadMore = this.loadMore.bind(this);
    this.showFresh = this.showFresh.bind(this);
  }

  end() {
    this.asking.abort();
    clearTimeout(this.timer);
  }

  async loadMore() {
    if (this.loading || !this.more) return;
    this.loading = true;
    this.problem = null;
    this.changed();
    const searching = Boolean(this.filter.text);
    const before = this.rows.length;
    try {
      for (let page = 0; page < (searching ? SEARCH_PAGES : 20); page += 1) {
        await this.loadPage(searching ? SEARCH_PAGE : PAGE);
        const found = this.rows.length - before;
        if (!this.more || found >= (searching ? ENOUGH : 1)) break;
      }
    } catch (problem) {
      if (this.asking.signal.aborted) return;
      this.problem = problem;
    }
    this.loading = false;
    this.changed();
  }

  async loadPage(limit) {
    const { states, object, worker } = this.filter;
    const page = await get(`/v1/tasks${query({ state: states.join(","), object, worker, limit, after: this.next })}`, { signal: this.asking.signal });
    this.searched += page.tasks.length;
    for (const task of page.tasks) {
      if (this.places.has(task.id) || !fitsText(task, this.filter.text)) continue;
      this.places.set(task.id, this.rows.length);
      this.rows.push(task);
    }
    this.next = page.next;
    this.more = Boolean(page.next);
  }

  /** Reads the newest tasks of the list again. Those of its rows that are not among them have left the filter. */
  async lookAgain() {
    const open = this.rows.slice(0, LOOK_AT).some((task) => !DONE.has(task.state));
    if (this.loading || document.hidden || (!open && this.filter.states.length === 0)) return;
    const { states, object, worker } = this.filter;
    const asked = query({ state: states.join(","), object, worker, limit: LOOK_AT });
    const page = await get(`/v1/tasks${asked}`, { signal: this.asking.signal }).catch(() => null);
    if (!page || this.asking.signal.aborted) return;
    page.tasks.forEach((task) => this.take(task));
    const seen = new Set(page.tasks.map((task) => task.id));
    const oldest = page.next ? page.tasks.at(-1)?.id : "";
    if (oldest === undefined) return;
    this.rows.filter((task) => task.id >= oldest && !seen.has(task.id)).forEach((task) => this.take({ ...task, state: "gone" }));
  }

  take(task) {
    this.waiting.set(task.id, task);
    this.timer ||= setTimeout(() => this.takeAll(), TOGETHER);
  }

  takeAll() {
    this.timer = 0;
    const added = [];
    let removed = false;
    for (const task of this.waiting.values()) {
      const place = this.places.get(task.id);
      const matches = fits(task, this.filter);
      if (place !== undefined) {
        this.rows[place] = matches ? { ...this.rows[place], ...task } : null;
        removed ||= !matches;
      } else {
        const at = this.fresh.findIndex((known) => known.id === task.id);
        if (at >= 0) this.fresh[at] = task;
        else if (matches && (this.rows.length === 0 || task.id > newestId(this.rows))) added.push(task);
      }
    }
    this.waiting.clear();
    this.fresh = [...added, ...this.fresh].filter((task) => fits(task, this.filter)).sort((left, right) => (left.id < right.id ? 1 : -1)).slice(0, MOST_FRESH);
    if (removed) this.reindex(this.rows.filter(Boolean));
    if (this.atTop && this.fresh.length > 0) this.showFresh();
    else this.changed();
  }

  showFresh() {
    const known = this.places;
    this.reindex([...this.fresh.filter((task) => !known.has(task.id)), ...this.rows]);
    this.fresh = [];
    this.changed();
  }

  reindex(rows) {
    this.rows = rows;
    this.places = new Map(rows.map((task, index) => [task.id, index]));
  }
}

function newestId(rows) {
  return rows.find(Boolean)?.id || "";
}
