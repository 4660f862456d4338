// The marks of states: of workers, tasks and findings. Each state has a shape of its own as well as a colour,
// so that nobody depends on seeing colours; the word always stands beside the mark or is its label. The
// rhombus is the cross-section of a pyroxene crystal, whose faces meet at 87 and 93 degrees.

import { html } from "../lib/html.js";

const RHOMBUS = "M8 1.2 14.5 8 8 14.8 1.5 8Z";

const SHAPES = {
  ready: html`<path class="fill" d=${RHOMBUS} />`,
  draining: html`<path class="line" d=${RHOMBUS} /><path class="fill" d="M1.5 8 8 14.8 14.5 8Z" />`,
  gone: html`<path class="line" d=${RHOMBUS} />`,
  queued: html`<path class="line" d=${RHOMBUS} />`,
  running: html`<path class="line" d=${RHOMBUS} /><path class="fill" d="M8 4.6 11.2 8 8 11.4 4.8 8Z" />`,
  succeeded: html`<path class="line thick" d="M2.5 8.5 6.3 12.3 13.5 4" />`,
  failed: html`<path class="line thick" d="M3.5 3.5 12.5 12.5M12.5 3.5 3.5 12.5" />`,
  cancelled: html`<path class="line thick" d="M3 8H13" />`,
  good: html`<path class="line thick" d="M2.5 8.5 6.3 12.3 13.5 4" />`,
  warn: html`<path class="line" d="M8 1.8 15 14.2H1Z" /><path class="line" d="M8 6V10M8 11.6V12.8" />`,
  bad: html`<path class="fill" d="M5 1H11L15 5V11L11 15H5L1 11V5Z" /><path class="cut" d="M8 4V9M8 10.8V12.4" />`,
  note: html`<path class="line" d=${RHOMBUS} /><path class="line" d="M8 7V11M8 5V6" />`,
};

const TONES = {
  ready: "good", succeeded: "good", good: "good",
  running: "info", note: "info",
  queued: "warn", draining: "warn", warn: "warn",
  failed: "bad", bad: "bad",
  gone: "mute", cancelled: "mute",
};

/** The mark alone; `label` names it for those who do not see it. */
export function Mark({ state, label }) {
  const known = SHAPES[state] ? state : "note";
  return html`<svg class=${`mark tone-${TONES[known]}`} viewBox="0 0 16 16" role=${label ? "img" : undefined}
    aria-label=${label} aria-hidden=${label ? undefined : "true"}>${SHAPES[known]}</svg>`;
}

/** The mark with its word. */
export function State({ state, children }) {
  return html`<span class=${`state tone-${TONES[state] || "info"}`}><${Mark} state=${state} />${children || state}</span>`;
}
