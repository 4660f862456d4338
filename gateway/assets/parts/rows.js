// A long table that draws only the rows in view. Rows have one height, so the browser's own scroll bar is true
// for any number of them; a hundred thousand cost no more than thirty. The arrow keys move between rows, Enter
// opens one. It is a table for readers of screens too: the roles say how many rows there are.

import { html, useEffect, useLayoutEffect, useRef, useState } from "../lib/html.js";

/** Rows drawn above and below those in view. */
const SPARE = 8;

/**
 * `columns`: `[{ key, title, width?, numeric?, sort?, cell: (row) => … }]`; `rows`; `keyOf(row)`; `href(row)`
 * opens it; `onEnd` is called when the end comes near; `grid` is the CSS `grid-template-columns`.
 */
export function Rows({ label, columns, rows, keyOf, href, onOpen, onEnd, more, grid, rowHeight = 40, sortBy, onSort, selected, total, footer }) {
  const box = useRef(null);
  const [view, setView] = useState({ top: 0, height: 600 });
  const [focused, setFocused] = useState(0);

  useLayoutEffect(() => {
    const element = box.current;
    const look = () => setView({ top: element.scrollTop, height: element.clientHeight });
    look();
    const resize = new ResizeObserver(look);
    resize.observe(element);
    element.addEventListener("scroll", look, { passive: true });
    return () => {
      resize.disconnect();
      element.removeEventListener("scroll", look);
    };
  }, []);

  const first = Math.max(0, Math.floor(view.top / rowHeight) - SPARE);
  const last = Math.min(rows.length, Math.ceil((view.top + view.height) / rowHeight) + SPARE);

  useEffect(() => {
    if (onEnd && more && last >= rows.length - SPARE) onEnd();
  }, [last, rows.length, more, onEnd]);

  const moveTo = (index) => {
    const next = Math.max(0, Math.min(rows.length - 1, index));
    setFocused(next);
    const element = box.current;
    const top = next * rowHeight;
    if (top < element.scrollTop) element.scrollTop = top;
    else if (top + 2 * rowHeight > element.scrollTop + element.clientHeight) element.scrollTop = top + 2 * rowHeight - element.clientHeight;
    setTimeout(() => element.querySelector(`[data-index="${next}"] a`)?.focus({ preventScroll: true }), 0);
  };
  const onKeyDown = (event) => {
    const page = Math.max(1, Math.floor(view.height / rowHeight) - 2);
    const moves = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -rows.length, End: rows.length };
    if (!(event.key in moves) || event.target.closest("input, select, button")) return;
    event.preventDefault();
    moveTo(focused + moves[event.key]);
  };

  const columnsStyle = { gridTemplateColumns: grid };
  return html`<div class="rows" role="table" aria-label=${label} aria-rowcount=${total ?? rows.length + 1}>
    <div class="rows-box" ref=${box} onKeyDown=${onKeyDown} role="rowgroup">
      <div class="rows-head" role="row" style=${columnsStyle}>${columns.map((column) => html`<${Head} column=${column} sortBy=${sortBy} onSort=${onSort} />`)}</div>
      <div class="rows-space" role="presentation" style=${{ height: `${rows.length * rowHeight}px` }}>
        <div role="presentation" class="rows-window" style=${{ transform: `translateY(${first * rowHeight}px)` }}>
          ${rows.slice(first, last).map((row, offset) => {
            const index = first + offset;
            const key = keyOf(row);
            return html`<div role="row" class="row" key=${key} data-index=${index} data-key=${key} aria-rowindex=${index + 2}
              aria-selected=${selected === key ? "true" : undefined} style=${{ ...columnsStyle, height: `${rowHeight}px` }}
              onFocusIn=${() => setFocused(index)}>
              ${columns.map((column, at) => html`<div role="cell" class=${`cell cell-${column.key} ${column.numeric ? "numeric" : ""}`}>${
                at === 0 && href ? html`<a class="row-link" href=${href(row)}>${column.cell(row)}</a>` : column.cell(row)
              }</div>`)}
            </div>`;
          })}
        </div>
      </div>
      ${footer && html`<div role="row" class="rows-foot"><div role="cell">${footer}</div></div>`}
    </div>
  </div>`;
}

function Head({ column, sortBy, onSort }) {
  const mine = sortBy && sortBy.key === column.key;
  const direction = mine ? (sortBy.down ? "descending" : "ascending") : undefined;
  const kind = `cell cell-${column.key} ${column.numeric ? "numeric" : ""}`;
  if (!column.sort || !onSort) return html`<div role="columnheader" class=${kind}>${column.title}</div>`;
  return html`<div role="columnheader" class=${kind} aria-sort=${direction || "none"}>
    <button type="button" class="sort" onClick=${() => onSort({ key: column.key, down: mine ? !sortBy.down : Boolean(column.numeric) })}>
      ${column.title}<span class="sort-arrow" aria-hidden="true">${mine ? (sortBy.down ? "▾" : "▴") : ""}</span></button></div>`;
}
