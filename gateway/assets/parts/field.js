// A form field made from a JSON Schema. Each kind of schema has a component here; `Field` picks it. A field
// keeps the text that was typed and hands up the value that it stands for: `undefined` if empty, `Unreadable`
// with the reason if it cannot be read.

import { html, useEffect, useId, useRef, useState } from "../lib/html.js";
import { bytes, count, plural } from "../lib/format.js";
import { initial, resolve, shapeOf, typeWords, Unreadable } from "../lib/schema.js";
import { readMatrix, readNumber, readNumbers, writeMatrix, writeNumbers } from "../lib/numbers.js";
import { parse, write } from "../lib/json.js";

/** Texts above this size are not shown in a text area, which would become slow. */
const LARGE = 200_000;

/** A field with its label: `name`, `schema`, `defs`, `value`, `onChange(value)`, `fault` to show. */
export function Field({ name, schema, defs, value, onChange, fault, prefix = "" }) {
  const id = useId("field");
  const shape = shapeOf(schema, defs);
  const Kind = KINDS[shape.kind] || AnyField;
  const description = typeof shape.schema === "object" ? shape.schema.description : "";
  const grouped = ["object", "list", "map", "variants"].includes(shape.kind);
  const label = html`${name} <span class="type">${typeWords(schema, defs)}</span>`;
  const body = html`<${Kind} id=${id} name=${name} shape=${shape} defs=${defs} value=${value} onChange=${onChange} fault=${fault} prefix=${`${prefix}${name}.`} />`;
  const described = html`${description && html`<p class="hint" id=${`${id}-hint`}>${description}</p>`}
    ${fault && html`<p class="field-error" id=${`${id}-error`} role="alert">${fault}</p>`}`;
  if (grouped) {
    return html`<fieldset class="labelled"><legend class="legend-line">${label}</legend>${described}${body}</fieldset>`;
  }
  return html`<div class="labelled"><label for=${id}>${label}</label>${body}${described}</div>`;
}

/** Attributes that every input of a field has. */
function shared({ id, name, fault, prefix }) {
  return { id, name: prefix.slice(0, -1) || name, "aria-invalid": fault ? "true" : undefined, "aria-describedby": fault ? `${id}-error` : `${id}-hint` };
}

function NumberField(props) {
  const { shape, value, onChange } = props;
  const [text, setText] = useText(value, (known) => (known === undefined ? "" : String(known)), readOne);
  const type = (event) => {
    setText(event.target.value);
    onChange(readOne(event.target.value));
  };
  return html`<input type="text" inputmode=${shape.kind === "integer" ? "numeric" : "decimal"} autocomplete="off" ...${shared(props)} value=${text} onInput=${type} />`;
}

function readOne(text) {
  if (text.trim() === "") return undefined;
  return readNumber(text) ?? new Unreadable(text, "A number, please.");
}

/** A number as text: a number of JavaScript would not keep all of its digits. */
function DecimalField(props) {
  const { value, onChange } = props;
  return html`<input type="text" inputmode="decimal" autocomplete="off" ...${shared(props)} value=${value ?? ""} onInput=${(event) => onChange(event.target.value.trim() || undefined)} />`;
}

function TextField(props) {
  const { value, onChange, shape } = props;
  const long = /text|data|body|message|content/i.test(props.name) || (value || "").includes("\n");
  const text = value ?? "";
  const set = (next) => onChange(next === "" && shape.optional ? undefined : next);
  if (!long) return html`<input type="text" autocomplete="off" spellcheck="false" ...${shared(props)} value=${text} onInput=${(event) => set(event.target.value)} />`;
  return html`<${LargeText} ...${props} text=${text} onText=${set} note=${text && plural([...text.slice(0, LARGE)].length, "character")} />`;
}

function BooleanField(props) {
  const { value, onChange, shape } = props;
  if (shape.optional) {
    const options = [["", "left out"], ["true", "yes"], ["false", "no"]];
    return html`<select ...${shared(props)} value=${value === undefined ? "" : String(value)} onChange=${(event) => onChange(event.target.value === "" ? undefined : event.target.value === "true")}>
      ${options.map(([key, text]) => html`<option value=${key}>${text}</option>`)}</select>`;
  }
  return html`<div class="field-row"><input type="checkbox" ...${shared(props)} checked=${Boolean(value)} onChange=${(event) => onChange(event.target.checked)} /><span>${value ? "yes" : "no"}</span></div>`;
}

function ChoiceField(props) {
  const { shape, value, onChange } = props;
  const at = shape.options.findIndex((option) => option.value === value);
  return html`<select ...${shared(props)} value=${String(at)} onChange=${(event) => onChange(shape.options[Number(event.target.value)]?.value)}>
    ${(shape.optional || at < 0) && html`<option value="-1">${shape.optional ? "left out" : "choose…"}</option>`}
    ${shape.options.map((option, index) => html`<option value=${String(index)} title=${option.hint}>${option.text}</option>`)}</select>`;
}

function NumbersField(props) {
  const note = Array.isArray(props.value) ? plural(props.value.length, "number") : "";
  return html`<${ReadText} ...${props} read=${readNumbers} show=${writeNumbers} note=${note} hint="1 2 3, or 1, 2, 3, or one on each line, or JSON" accept=".csv,.txt,.tsv,.json" />`;
}

function MatrixField(props) {
  const rows = Array.isArray(props.value) ? props.value.length : 0;
  const note = rows ? `${count(rows)} × ${count(props.value[0].length)}` : "";
  return html`<${ReadText} ...${props} read=${readMatrix} show=${writeMatrix} note=${note} hint=${"1 2\n3 4"} accept=".csv,.txt,.tsv,.json" />`;
}

/** A text area whose text is read by a function of its own. */
function ReadText({ read, show, ...props }) {
  const { value, onChange } = props;
  const parsed = (text) => (text.trim() === "" ? undefined : read(text));
  const [text, setText] = useText(value, (known) => (known === undefined ? "" : show(known)), parsed);
  const take = (next) => {
    setText(next);
    onChange(parsed(next));
  };
  return html`<${LargeText} ...${props} mono text=${text} onText=${take} />`;
}

/** Bytes: a file, or hexadecimal digits. In JSON they are a list of numbers from 0 to 255. */
function BytesField(props) {
  const { value, onChange } = props;
  const take = async (file) => onChange([...new Uint8Array(await file.arrayBuffer())]);
  const type = (event) => {
    const digits = event.target.value.replace(/\s/g, "");
    if (digits === "") return onChange(undefined);
    if (!/^([0-9a-f]{2})+$/i.test(digits)) return onChange(new Unreadable(event.target.value, "Pairs of hexadecimal digits, please."));
    return onChange(digits.match(/../g).map((pair) => parseInt(pair, 16)));
  };
  const known = Array.isArray(value) ? value : [];
  const text = value instanceof Unreadable ? value.text : known.slice(0, 4096).map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
  return html`<input type="text" class="mono" placeholder="hexadecimal digits: 48 65 6c 6c 6f" ...${shared(props)} value=${text} onChange=${type} />
    <div class="field-tools"><${FileButton} label="Read a file" onFile=${take} name=${props.name} />${known.length > 0 && bytes(known.length)}</div>`;
}

function AnyField(props) {
  const read = (text) => {
    try {
      return parse(text);
    } catch {
      // Where anything is allowed, text that is no JSON is meant as text, as on the command line.
      return /^\s*[[{"]/.test(text) ? new Unreadable(text, "This is not JSON. To send it as text, put it in quotes.") : text;
    }
  };
  return html`<${ReadText} ...${props} read=${read} show=${(value) => (typeof value === "string" ? value : write(value))} hint=${'JSON, such as {"a": [1, 2]}, or plain text'} accept=".json,.txt" />`;
}

function ObjectField({ shape, defs, value, onChange, prefix }) {
  const known = value && typeof value === "object" ? value : {};
  if (shape.optional && value === undefined) {
    return html`<div><button type="button" class="button button-small" onClick=${() => onChange(initial({ ...shape.schema }, defs) || {})}>Fill in</button></div>`;
  }
  const set = (name, next) => {
    const { [name]: _, ...rest } = known;
    onChange(next === undefined ? rest : { ...known, [name]: next });
  };
  return html`<div class="nested">${Object.entries(shape.properties).map(([name, schema]) => html`<${Field} key=${name} name=${name} schema=${schema} defs=${defs}
    value=${known[name]} onChange=${(next) => set(name, next)} prefix=${prefix} />`)}
    ${shape.optional && html`<div><button type="button" class="button button-small" onClick=${() => onChange(undefined)}>Leave out</button></div>`}</div>`;
}

function ListField({ name, shape, defs, value, onChange, prefix }) {
  const items = Array.isArray(value) ? value : [];
  const replace = (index, next) => onChange(items.map((item, at) => (at === index ? next : item)));
  const one = shapeOf(shape.item, defs);
  if (one.kind === "string" && items.length > 50) return html`<p class="muted">${plural(items.length, "text")}</p>`;
  return html`<div class="nested">
    ${items.map((item, index) => html`<div class="field-row" key=${index}><div class="grow"><${Field} name=${String(index + 1)} schema=${shape.item} defs=${defs} value=${item} onChange=${(next) => replace(index, next)} prefix=${prefix} /></div>
      <button type="button" class="button button-small" aria-label=${`Remove ${name} ${index + 1}`} onClick=${() => onChange(items.filter((_, at) => at !== index))}>Remove</button></div>`)}
    <div class="field-tools"><button type="button" class="button button-small" onClick=${() => onChange([...items, initial(shape.item, defs)])}>Add to ${name}</button>
      ${one.kind === "string" && html`<${FileButton} label="From a file, one on each line" name=${name} onFile=${async (file) => onChange((await file.text()).split(/\r?\n/).filter(Boolean))} />`}
      <span>${plural(items.length, "item")}</span></div></div>`;
}

function MapField({ name, shape, defs, value, onChange, prefix }) {
  const [key, setKey] = useState("");
  const known = value && typeof value === "object" ? value : {};
  const id = useId("key");
  const add = () => {
    if (key && !(key in known)) onChange({ ...known, [key]: initial(shape.item, defs) });
    setKey("");
  };
  const remove = (name) => {
    const { [name]: _, ...rest } = known;
    onChange(rest);
  };
  return html`<div class="nested">${Object.keys(known).map((each) => html`<div class="field-row" key=${each}><div class="grow"><${Field} name=${each} schema=${shape.item} defs=${defs} value=${known[each]} onChange=${(next) => onChange({ ...known, [each]: next })} prefix=${prefix} /></div>
      <button type="button" class="button button-small" aria-label=${`Remove ${each}`} onClick=${() => remove(each)}>Remove</button></div>`)}
    <div class="field-row"><label class="hidden-visually" for=${id}>A further name in ${name}</label><input id=${id} type="text" placeholder="name" value=${key} onInput=${(event) => setKey(event.target.value)} />
      <button type="button" class="button button-small" onClick=${add}>Add</button></div></div>`;
}

function VariantsField({ name, shape, defs, value, onChange, prefix }) {
  const [at, setAt] = useState(shape.optional ? -1 : 0);
  const id = useId("variant");
  const choose = (event) => {
    const next = Number(event.target.value);
    setAt(next);
    onChange(next < 0 ? undefined : initial(shape.variants[next].schema, defs));
  };
  const chosen = shape.variants[at];
  const fixed = chosen && shapeOf(chosen.schema, defs).kind === "choice";
  return html`<div class="nested"><label class="hidden-visually" for=${id}>Which form of ${name}</label>
    <select id=${id} value=${String(at)} onChange=${choose}>${shape.optional && html`<option value="-1">left out</option>`}
      ${shape.variants.map((variant, index) => html`<option value=${String(index)}>${variant.title}</option>`)}</select>
    ${chosen && !fixed && html`<${Field} key=${at} name=${chosen.title} schema=${resolve(chosen.schema, defs)} defs=${defs} value=${value} onChange=${onChange} prefix=${prefix} />`}</div>`;
}

function NullField() {
  return html`<p class="muted">nothing</p>`;
}

const KINDS = {
  number: NumberField,
  integer: NumberField,
  string: TextField,
  decimal: DecimalField,
  boolean: BooleanField,
  choice: ChoiceField,
  numbers: NumbersField,
  matrix: MatrixField,
  bytes: BytesField,
  list: ListField,
  object: ObjectField,
  map: MapField,
  variants: VariantsField,
  null: NullField,
  any: AnyField,
};

/** A text area with a button that reads a file into it. Very large texts are named, not shown. */
function LargeText(props) {
  const { text, onText, mono, note, hint, accept, name } = props;
  const large = text.length > LARGE;
  const lines = Math.min(12, Math.max(2, text.slice(0, 2000).split("\n").length));
  return html`${large
    ? html`<div class="field-row"><input type="text" readonly ...${shared(props)} value=${`${text.slice(0, 60)}… (${bytes(text.length)})`} /></div>`
    : html`<textarea class=${mono ? "mono" : ""} rows=${lines} placeholder=${hint} spellcheck="false" ...${shared(props)} value=${text} onInput=${(event) => onText(event.target.value)}></textarea>`}
    <div class="field-tools"><${FileButton} label="Read a file" name=${name} accept=${accept} onFile=${async (file) => onText(await file.text())} />
      ${text !== "" && html`<button type="button" class="button button-small" onClick=${() => onText("")} aria-label=${`Empty ${name}`}>Empty</button>`}
      <span>${note}</span></div>`;
}

/** A button that opens the browser's choice of a file. */
export function FileButton({ label, name, accept, onFile }) {
  const take = (event) => {
    const file = event.target.files?.[0];
    event.target.value = "";
    if (file) onFile(file);
  };
  return html`<span class="button button-small file-button">${label}<input type="file" accept=${accept} aria-label=${`${label}: ${name}`} onChange=${take} /></span>`;
}

/**
 * The text of a field. It follows the value when that is changed from outside (as by "Read a file" or a new
 * method), but keeps what was typed while that reads as the value: "1,2" does not become "1 2" under the hands.
 */
function useText(value, show, read) {
  const [text, setText] = useState(() => (value instanceof Unreadable ? value.text : show(value)));
  const last = useRef(value);
  useEffect(() => {
    if (Object.is(last.current, value)) return;
    last.current = value;
    if (value instanceof Unreadable) return;
    const now = read(text);
    if (!(now instanceof Unreadable) && write(now ?? null) === write(value ?? null)) return;
    setText(show(value));
  }, [value]);
  return [text, setText];
}
