// The small pieces that every page is made of: figures with units, notices, problems in words, buttons that
// are busy while they work, the command line of an action, and dialogs.

import { classes, html, useEffect, useId, useRef, useState } from "../lib/html.js";
import { NOTHING, short } from "../lib/format.js";
import { Mark } from "./marks.js";

/** A figure with its unit set apart. */
export function Figure({ value, unit, title }) {
  return html`<span class="figure" title=${title}>${value}${unit && html`<span class="unit">${" "}${unit}</span>`}</span>`;
}

/** So many a second. */
export function Rate({ value }) {
  return value === null || value === undefined ? NOTHING : html`${short(value)} <span class="unit">/s</span>`;
}

/** A name that may be long: shortened in the middle, where names differ least; whole for readers of screens. */
export function Name({ text, most = 30 }) {
  if (text.length <= most) return text;
  const half = Math.floor(most / 2);
  return html`<span title=${text}><span aria-hidden="true">${text.slice(0, half)}…${text.slice(-half)}</span><span class="hidden-visually">${text}</span></span>`;
}

/** The head of a page: its name, one sentence, and actions at the right. */
export function PageHead({ title, lead, children }) {
  useEffect(() => {
    document.title = `${title} · Pyroxene`;
  }, [title]);
  return html`<header class="page-head">
    <div><h1 tabindex="-1">${title}</h1>${lead && html`<p class="lead">${lead}</p>`}</div>
    ${children && html`<div class="page-actions">${children}</div>`}
  </header>`;
}

/** A sentence of a documentation, with what stands between backticks as code. */
export function Doc({ text }) {
  return (text || "").split("`").map((part, index) => (index % 2 ? html`<code>${part}</code>` : part));
}

/** A part of a page with a heading; `aside` stands at the right of the heading. */
export function Section({ title, aside, children, tight }) {
  const id = useId("section");
  return html`<section class=${classes("section", tight && "tight")} aria-labelledby=${id}>
    <div class="section-head"><h2 id=${id}>${title}</h2>${aside && html`<div class="section-aside">${aside}</div>`}</div>
    ${children}
  </section>`;
}

/** A table in a box that scrolls sideways where the page is narrow; with a name, so that keys reach it. */
export function TableBox({ label, children }) {
  return html`<div class="table-box" role="group" tabindex="0" aria-label=${label}><table class="table">${children}</table></div>`;
}

/** What stands where there is nothing to show: what would be here, and how it comes about. */
export function Empty({ title, children }) {
  return html`<div class="empty"><p class="empty-title">${title}</p>${children && html`<div class="empty-text">${children}</div>`}</div>`;
}

/** A sentence that matters. */
export function Notice({ level = "note", children, live }) {
  return html`<div class=${`notice notice-${level}`} role=${live ? "status" : undefined}><${Mark} state=${level} /><div>${children}</div></div>`;
}

/** A request that failed, in words, with what can be done about it. */
export function ProblemNotice({ problem, what }) {
  if (!problem) return null;
  return html`<div class="notice notice-bad" role="alert"><${Mark} state="bad" /><div>
    <p><strong>${what || problem.title || "That did not work"}:</strong> ${sentence(problem.message)}</p>
    ${problem.advice && html`<p class="muted">${problem.advice}</p>`}
    ${problem.status !== 403 && problem.attempts?.length > 0 && html`<ol class="attempt-list">${problem.attempts.map((attempt) => html`<li>
      ${attempt.worker || attempt.endpoint || "a worker"}: ${attempt.reason}</li>`)}</ol>`}
  </div></div>`;
}

function sentence(text) {
  const trimmed = (text || "unknown reason").trim();
  return /[.!?…]$/.test(trimmed) ? trimmed : `${trimmed}.`;
}

/** A button that is disabled while the promise of its action is open. */
export function ActionButton({ act, children, kind = "plain", disabled, busy: outerBusy, ...rest }) {
  const [busy, setBusy] = useState(false);
  const alive = useRef(true);
  useEffect(() => () => {
    alive.current = false;
  }, []);
  const run = async () => {
    setBusy(true);
    try {
      await act();
    } finally {
      if (alive.current) setBusy(false);
    }
  };
  return html`<button type="button" class=${`button button-${kind}`} disabled=${disabled || busy || outerBusy}
    aria-busy=${busy ? "true" : undefined} onClick=${run} ...${rest}>${children}</button>`;
}

/** Copies text; says so for a moment. */
export function CopyButton({ text, label = "Copy" }) {
  const [said, setSaid] = useState("");
  useEffect(() => {
    if (!said) return undefined;
    const timer = setTimeout(() => setSaid(""), 1600);
    return () => clearTimeout(timer);
  }, [said]);
  const copy = async () => setSaid((await copyText(text)) ? "Copied" : "Select it and copy");
  return html`<button type="button" class="button button-small" onClick=${copy} aria-label=${said || `${label}: ${text.slice(0, 80)}`}>
    <span aria-live="polite">${said || label}</span></button>`;
}

async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Not allowed outside HTTPS and loopback: the older way works there.
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}

/** A command line that does the same as what stands beside it. */
export function Command({ line, label = "On the command line" }) {
  // A line is broken between words alone, unless one is longer than the line.
  const words = line.split(" ").flatMap((word, index) => [index > 0 && " ", html`<span class="word">${word}</span>`]);
  return html`<div class="command"><span class="command-label">${label}</span>
    <code tabindex="0" aria-label=${`Command: ${line}`}>${words}</code><${CopyButton} text=${line} /></div>`;
}

/** A modal dialog. The browser keeps the focus in it and gives it back; Escape closes it. */
export function Dialog({ title, onClose, children, wide }) {
  const dialog = useRef(null);
  const id = useId("dialog");
  useEffect(() => {
    const element = dialog.current;
    if (!element.open) element.showModal();
    // The first field, rather than the button that closes, which comes first in the document.
    element.querySelector("select, input, textarea, .form-actions .button")?.focus();
    return () => element.close();
  }, []);
  return html`<dialog ref=${dialog} class=${classes("dialog", wide && "wide")} aria-labelledby=${id} onCancel=${onClose}
    onClick=${(event) => event.target === dialog.current && onClose()}>
    <div class="dialog-body">
      <div class="dialog-head"><h2 id=${id}>${title}</h2>
        <button type="button" class="button button-quiet" onClick=${onClose} aria-label="Close">✕</button></div>
      ${children}
    </div>
  </dialog>`;
}

/** A choice of one among few, as a row of buttons. */
export function Choice({ label, options, value, onChange }) {
  return html`<div class="choice" role="group" aria-label=${label}>${options.map(
    ([key, text]) => html`<button type="button" key=${key} aria-pressed=${key === value ? "true" : "false"} onClick=${() => onChange(key)}>${text}</button>`,
  )}</div>`;
}

/** A share of a whole as a bar with its words. */
export function Bar({ share, tone = "accent", label }) {
  const width = `${Math.max(0, Math.min(1, share || 0)) * 100}%`;
  return html`<span class="bar" role="img" aria-label=${label}><span class=${`bar-fill bar-${tone}`} style=${{ width }}></span></span>`;
}

/** A labelled input. */
export function Labelled({ label, hint, error, children, id }) {
  return html`<div class=${classes("labelled", error && "has-error")}><label for=${id}>${label}</label>${children}
    ${hint && html`<p class="hint" id=${`${id}-hint`}>${hint}</p>`}${error && html`<p class="field-error" id=${`${id}-error`}>${error}</p>`}</div>`;
}
