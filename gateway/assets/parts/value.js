// A value that an object answered, shown as what it is: text, a number, a tree, a table, a plot. The reader can
// choose another view, copy it, and download it; large ones are cut on the screen and whole in the download.

import { html, useEffect, useMemo, useRef, useState } from "../lib/html.js";
import { bytes, count, plural, short } from "../lib/format.js";
import { colour, onTheme } from "../lib/theme.js";
import { write } from "../lib/json.js";
import { Choice, CopyButton } from "./basics.js";
import { loadUPlot } from "./chart.js";

/** The most that one view draws. */
const MOST_ROWS = 500;
const MOST_COLUMNS = 60;
const MOST_TEXT = 100_000;
const MOST_LEAVES = 200;

/** `value` any JSON; `name` is the name of the file of a download. */
export function Value({ value, name = "result" }) {
  const views = useMemo(() => viewsOf(value), [value]);
  const [chosen, setChosen] = useState(null);
  const view = views.some(([key]) => key === chosen) ? chosen : views[0][0];
  const text = useMemo(() => textOf(value), [value]);
  const View = VIEWS[view];
  return html`<div class="value">
    <div class="value-head">
      ${views.length > 1 ? html`<${Choice} label="How to show it" options=${views} value=${view} onChange=${setChosen} />` : html`<span class="muted">${describe(value)}</span>`}
      <span class="field-tools">${views.length > 1 && html`<span>${describe(value)}</span>`}<${CopyButton} text=${text} /><${Download} text=${text} value=${value} name=${name} /></span>
    </div>
    <${View} value=${value} text=${text} />
  </div>`;
}

const VIEWS = { text: TextView, big: BigView, tree: TreeView, table: TableView, plot: PlotView, picture: MatrixPicture, json: JsonView };

function viewsOf(value) {
  if (value === null || typeof value === "boolean" || isNumber(value)) return [["big", "Value"]];
  if (typeof value === "string") return value.length <= 40 && !value.includes("\n") ? [["big", "Value"]] : [["text", "Text"]];
  if (Array.isArray(value)) {
    if (isMatrix(value)) return [["table", "Table"], ["picture", "Picture"], ["json", "JSON"]];
    if (numbersOf(value)) return value.length > 12 ? [["plot", "Plot"], ["table", "Table"], ["json", "JSON"]] : [["table", "Table"], ["plot", "Plot"], ["json", "JSON"]];
    if (value.length > 0 && value.every(isPlainObject)) return [["table", "Table"], ["tree", "Tree"], ["json", "JSON"]];
  }
  return [["tree", "Tree"], ["json", "JSON"]];
}

function describe(value) {
  if (value === null) return "nothing (null)";
  if (typeof value === "string") return plural([...value.slice(0, 2_000_000)].length, "character");
  if (isNumber(value)) return "number";
  if (typeof value === "boolean") return "yes or no";
  if (isMatrix(value)) return `matrix, ${count(value.length)} × ${count(value[0].length)}`;
  if (Array.isArray(value)) return plural(value.length, numbersOf(value) ? "number" : "item");
  return plural(Object.keys(value).length, "field");
}

function isNumber(value) {
  return typeof value === "number" || typeof value === "bigint";
}

function isPlainObject(value) {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}

function isMatrix(value) {
  return Array.isArray(value) && value.length > 0 && value.every((row) => Array.isArray(row) && row.length > 0 && row.length === value[0].length && row.every(isNumber));
}

/** The numbers of a list, also those written as decimal texts (as big integers are); null if they are others. */
function numbersOf(value) {
  if (!Array.isArray(value) || value.length === 0) return null;
  if (!value.every((item) => isNumber(item) || (typeof item === "string" && /^-?\d+(\.\d+)?$/.test(item)))) return null;
  return value;
}

function textOf(value) {
  return typeof value === "string" ? value : write(value, Array.isArray(value) && (numbersOf(value) || isMatrix(value)) ? 0 : 2);
}

function BigView({ value }) {
  return html`<div class="value-text value-big">${typeof value === "string" ? value || html`<span class="muted">(empty text)</span>` : write(value)}</div>`;
}

function TextView({ value }) {
  return html`<div class="value-text" tabindex="0">${value.slice(0, MOST_TEXT)}</div>${cut(value.length, MOST_TEXT)}`;
}

function JsonView({ text }) {
  return html`<pre class="value-text" tabindex="0">${text.slice(0, MOST_TEXT)}</pre>${cut(text.length, MOST_TEXT)}`;
}

function cut(length, most) {
  return length > most ? html`<p class="hint">Cut here at ${short(most)} of ${short(length)} characters; the download has all of it.</p>` : null;
}

function TreeView({ value }) {
  return html`<div class="tree" tabindex="0"><${Branch} value=${value} open=${true} /></div>`;
}

function Branch({ name, value, open }) {
  const [isOpen, setOpen] = useState(open);
  const [most, setMost] = useState(MOST_LEAVES);
  const label = name !== undefined && html`<span class="name">${name}: </span>`;
  if (value === null || typeof value !== "object") {
    return html`<div class="leaf">${label}<span class=${`v-${value === null ? "null" : typeof value === "bigint" ? "number" : typeof value}`}>${write(value)}</span></div>`;
  }
  const entries = Array.isArray(value) ? value.map((item, index) => [index, item]) : Object.entries(value);
  const brackets = Array.isArray(value) ? `[${count(entries.length)}]` : `{${count(entries.length)}}`;
  if (entries.length === 0) return html`<div class="leaf">${label}${Array.isArray(value) ? "[ ]" : "{ }"}</div>`;
  return html`<details open=${isOpen} onToggle=${(event) => event.target === event.currentTarget && setOpen(event.currentTarget.open)}><summary>${label}<span class="muted">${brackets}</span></summary>
    ${isOpen && html`<ul>${entries.slice(0, most).map(([key, item]) => html`<li key=${key}><${Branch} name=${key} value=${item} open=${entries.length <= 12} /></li>`)}</ul>`}
    ${isOpen && entries.length > most && html`<button type="button" class="button button-small" onClick=${() => setMost(most * 5)}>Show more: ${count(entries.length - most)} left</button>`}
  </details>`;
}

function TableView({ value }) {
  if (isMatrix(value)) return html`<${Grid} head=${value[0].map((_, index) => index + 1)} rows=${value} first />`;
  if (numbersOf(value)) return html`<${Grid} head=${["value"]} rows=${value.map((item) => [item])} first />`;
  const names = [...new Set(value.slice(0, MOST_ROWS).flatMap((item) => Object.keys(item)))];
  return html`<${Grid} head=${names} rows=${value.map((item) => names.map((name) => item[name]))} first />`;
}

function Grid({ head, rows }) {
  const columns = head.slice(0, MOST_COLUMNS);
  const cutText = [rows.length > MOST_ROWS && `${count(MOST_ROWS)} of ${count(rows.length)} rows`, head.length > MOST_COLUMNS && `${count(MOST_COLUMNS)} of ${count(head.length)} columns`].filter(Boolean).join(", ");
  return html`<div class="grid-table" tabindex="0"><table><thead><tr><th scope="col"><span class="hidden-visually">Row</span>#</th>${columns.map((name) => html`<th scope="col">${name}</th>`)}</tr></thead>
    <tbody>${rows.slice(0, MOST_ROWS).map((row, index) => html`<tr><th scope="row">${index + 1}</th>${row.slice(0, MOST_COLUMNS).map((item) => html`<td class=${isNumber(item) ? "" : "text"}>${cellText(item)}</td>`)}</tr>`)}</tbody></table></div>
    ${cutText && html`<p class="hint">Shown: ${cutText}; the download has all.</p>`}`;
}

function cellText(item) {
  if (item === undefined) return "";
  return typeof item === "string" ? item : write(item);
}

function PlotView({ value }) {
  const box = useRef(null);
  const numbers = useMemo(() => value.map(Number), [value]);
  useEffect(() => {
    let plot = null;
    let ended = false;
    const draw = (UPlot) => {
      if (ended) return;
      plot?.destroy();
      const axis = { stroke: colour("muted"), font: "11px system-ui, sans-serif", grid: { stroke: colour("chart-grid") }, ticks: { show: false } };
      const line = { label: "value", stroke: colour("accent"), width: 1.5, points: { show: numbers.length <= 60, size: 5, fill: colour("accent") } };
      plot = new UPlot({ width: box.current.clientWidth, height: 220, legend: { show: false }, cursor: { y: false }, scales: { x: { time: false } }, axes: [axis, { ...axis, size: 66, values: (_, ticks) => ticks.map(short) }], series: [{}, line] }, [numbers.map((_, index) => index + 1), numbers], box.current);
    };
    let stop = () => {};
    loadUPlot().then((UPlot) => {
      draw(UPlot);
      stop = onTheme(() => draw(UPlot));
    });
    return () => {
      ended = true;
      stop();
      plot?.destroy();
    };
  }, [numbers]);
  const least = numbers.reduce((a, b) => Math.min(a, b), Infinity);
  const most = numbers.reduce((a, b) => Math.max(a, b), -Infinity);
  const middle = numbers.reduce((a, b) => a + b, 0) / numbers.length;
  const words = `least ${short(least)}, greatest ${short(most)}, mean ${short(middle)}`;
  return html`<div ref=${box} class="chart-box" style=${{ height: "220px" }} role="img" aria-label=${`Plot of ${plural(numbers.length, "number")}: ${words}`}></div><p class="hint">${words}</p>`;
}

/** A matrix as a picture: a cell a number, the darker the greater. */
function MatrixPicture({ value }) {
  const canvas = useRef(null);
  const rows = Math.min(value.length, 1000);
  const columns = Math.min(value[0].length, 1000);
  useEffect(() => {
    const draw = () => {
      const element = canvas.current;
      element.width = columns;
      element.height = rows;
      const paint = element.getContext("2d");
      const image = paint.createImageData(columns, rows);
      let [least, most] = [Infinity, -Infinity];
      for (let row = 0; row < rows; row += 1) for (let column = 0; column < columns; column += 1) {
        least = Math.min(least, Number(value[row][column]));
        most = Math.max(most, Number(value[row][column]));
      }
      const [low, high] = [rgb(colour("surface")), rgb(colour("accent"))];
      for (let row = 0; row < rows; row += 1) for (let column = 0; column < columns; column += 1) {
        const share = most > least ? (Number(value[row][column]) - least) / (most - least) : 0.5;
        const at = 4 * (row * columns + column);
        for (let part = 0; part < 3; part += 1) image.data[at + part] = low[part] + share * (high[part] - low[part]);
        image.data[at + 3] = 255;
      }
      paint.putImageData(image, 0, 0);
    };
    draw();
    return onTheme(draw);
  }, [value]);
  const scale = Math.max(1, Math.min(40, Math.floor(420 / Math.max(rows, columns))));
  return html`<canvas ref=${canvas} class="heat" style=${{ width: `${columns * scale}px` }} role="img" aria-label=${`Picture of the ${describe(value)}`}></canvas>
    <p class="hint">The stronger the colour, the greater the number.</p>`;
}

function rgb(hex) {
  return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
}

function Download({ text, value, name }) {
  const isText = typeof value === "string";
  const save = () => {
    const address = URL.createObjectURL(new Blob([text], { type: isText ? "text/plain" : "application/json" }));
    const link = document.createElement("a");
    link.href = address;
    link.download = `${name}.${isText ? "txt" : "json"}`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(address), 10_000);
  };
  return html`<button type="button" class="button button-small" onClick=${save} aria-label=${`Download ${name}, ${bytes(text.length)}`}>Download</button>`;
}
