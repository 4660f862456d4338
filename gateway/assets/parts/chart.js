// A chart over time, drawn by uPlot on a canvas. uPlot is loaded when the first chart appears, so that pages
// without charts do not wait for it. The legend is ours: it shows the newest values, or those under the
// pointer, and the whole is described in a sentence for readers of screens.

import { html, useEffect, useLayoutEffect, useRef, useState } from "../lib/html.js";
import { NOTHING, time } from "../lib/format.js";
import { colour, onTheme } from "../lib/theme.js";

let loading = null;

/** uPlot's constructor. It is a plain script that leaves a global name. */
export function loadUPlot() {
  loading ??= new Promise((done, failed) => {
    const script = document.createElement("script");
    script.src = "/assets/vendor/uplot.iife.js";
    script.onload = () => done(globalThis.uPlot);
    script.onerror = failed;
    document.head.append(script);
  });
  return loading;
}

/**
 * `times` in seconds since 1970; `lines`: `[{ label, tone, values, fill?, format }]`; `title` says what it is
 * and in which unit; `format` writes a value with its unit.
 */
export function Chart({ title, times, lines, format, height = 150, axis = format, sync }) {
  const box = useRef(null);
  const plot = useRef(null);
  const [under, setUnder] = useState(null);
  const data = [times, ...lines.map((line) => line.values)];
  const shape = lines.map((line) => line.label + line.tone).join();
  const dataNow = useRef(data);
  dataNow.current = data;

  useEffect(() => {
    let ended = false;
    let cleanUp = () => {};
    loadUPlot().then((UPlot) => {
      if (ended || !box.current) return;
      const draw = () => {
        plot.current?.destroy();
        plot.current = new UPlot(options(UPlot, { lines, axis, height, width: box.current.clientWidth, setUnder, sync }), dataNow.current, box.current);
      };
      draw();
      const resize = new ResizeObserver(() => {
        const width = box.current?.clientWidth;
        if (width && plot.current && width !== plot.current.width) plot.current.setSize({ width, height });
      });
      resize.observe(box.current);
      const stop = onTheme(draw);
      cleanUp = () => {
        resize.disconnect();
        stop();
      };
    }, () => {});
    return () => {
      ended = true;
      cleanUp();
      plot.current?.destroy();
      plot.current = null;
    };
  }, [shape]);

  useLayoutEffect(() => {
    plot.current?.setData(dataNow.current);
  });

  const shown = under ?? lastIndex(lines, times);
  const values = lines.map((line) => (line.values?.[shown] ?? null));
  const words = lines.map((line, index) => `${line.label} ${values[index] === null ? "not measured" : format(values[index])}`).join(", ");
  return html`<figure class="chart">
    <figcaption><span class="chart-title">${title}</span>
      <span class="legend">${lines.map((line, index) => html`<span class="legend-item"><span class=${`key key-${line.tone}`} aria-hidden="true"></span>${line.label}
        <b>${values[index] === null ? NOTHING : format(values[index])}</b></span>`)}
        ${under !== null && html`<span class="legend-time">${time(times[under] * 1000)}</span>`}</span>
    </figcaption>
    <div ref=${box} class="chart-box" style=${{ height: `${height}px` }} role="img" aria-label=${`${title}. Now: ${words}.`}></div>
  </figure>`;
}

function lastIndex(lines, times) {
  for (let index = times.length - 1; index >= Math.max(0, times.length - 3); index -= 1) {
    if (lines.some((line) => line.values?.[index] !== null && line.values?.[index] !== undefined)) return index;
  }
  return times.length - 1;
}

function options(UPlot, { lines, axis, height, width, setUnder, sync }) {
  const grid = { stroke: colour("chart-grid"), width: 1 };
  const text = { stroke: colour("muted"), font: "11px system-ui, sans-serif", ticks: { show: false } };
  return {
    width,
    height,
    legend: { show: false },
    // At the right there is room for half of a time.
    padding: [8, 18, 0, 0],
    cursor: { y: false, points: { size: 6 }, drag: { x: false, y: false }, sync: sync ? { key: sync } : undefined },
    scales: { y: { range: (_plot, _least, most) => [0, most > 0 ? most * 1.12 : 1] } },
    axes: [
      { ...text, grid: { show: false }, space: 50, size: 22, values: (_plot, ticks) => ticks.map((tick) => hourAndMinute(tick)) },
      { ...text, grid, space: 34, size: 58, values: (_plot, ticks) => ticks.map((tick) => axis(tick)) },
    ],
    series: [
      {},
      ...lines.map((line) => ({
        label: line.label,
        stroke: colour(line.tone),
        width: 1.5,
        fill: line.fill ? `${colour(line.tone)}22` : undefined,
        points: { show: true, size: 4, fill: colour(line.tone), filter: (plot, index) => lonely(plot.data[index]) },
        spanGaps: false,
        dash: line.dash,
      })),
    ],
    hooks: { setCursor: [(plot) => setUnder(plot.cursor.idx ?? null)] },
  };
}

/** The values without a neighbour: a line cannot show them, so they are dots. */
function lonely(values) {
  const measured = (index) => values[index] !== null && values[index] !== undefined;
  return [...values.keys()].filter((index) => measured(index) && !measured(index - 1) && !measured(index + 1));
}

function hourAndMinute(seconds) {
  const date = new Date(seconds * 1000);
  const two = (number) => String(number).padStart(2, "0");
  const tail = date.getSeconds() === 0 ? "" : `:${two(date.getSeconds())}`;
  return `${two(date.getHours())}:${two(date.getMinutes())}${tail}`;
}
