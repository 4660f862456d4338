// A line of a few dozen values, as small as a word, without axes. It is decoration beside a number: readers of
// screens get the number alone.

import { html } from "../lib/html.js";

/** `series` with the oldest value first; null where nothing was measured. */
export function Sparkline({ series, steps = 60, width = 96, height = 22, tone = "accent" }) {
  const values = (series || []).slice(-steps);
  const most = Math.max(1e-9, ...values.map((value) => value || 0));
  const step = width / Math.max(1, steps - 1);
  const left = width - step * (values.length - 1);
  let path = "";
  let drawing = false;
  values.forEach((value, index) => {
    if (value === null || value === undefined) {
      drawing = false;
      return;
    }
    const x = (left + index * step).toFixed(1);
    const y = (height - 2 - (value / most) * (height - 4)).toFixed(1);
    path += `${drawing ? "L" : "M"}${x} ${y}`;
    drawing = true;
  });
  return html`<svg class=${`sparkline spark-${tone}`} viewBox=${`0 0 ${width} ${height}`} width=${width} height=${height} preserveAspectRatio="none" aria-hidden="true">
    <path d=${path || `M0 ${height - 2}H${width}`} class=${path ? "" : "spark-empty"} /></svg>`;
}
