// The dialogs that submit tasks: one with the form of its method, and many from lines of JSON.

import { html, useEffect, useId, useState } from "../lib/html.js";
import { get, path, post } from "../lib/api.js";
import { argumentWords, command, curl, submitFlags } from "../lib/command.js";
import { parse } from "../lib/json.js";
import { count, plural } from "../lib/format.js";
import { to } from "../lib/router.js";
import { ArgumentFields, useArguments } from "./call_form.js";
import { Command, Dialog, Labelled, Notice, ProblemNotice } from "./basics.js";
import { FileButton } from "./field.js";

/** Objects of the broker itself, which are of no use as tasks, are offered last. */
const FIRST = ["calculator", "text", "hash", "echo"];
/** Tasks of one request; the server allows 10,000. */
const CHUNK = 1000;

function useDescription(name) {
  const [found, setFound] = useState({ name: "", description: null, problem: null });
  useEffect(() => {
    if (!name) return undefined;
    let ended = false;
    get(`${path("v1", "objects", name)}?timeout=10s`).then(
      (description) => !ended && setFound({ name, description, problem: null }),
      (problem) => !ended && setFound({ name, description: null, problem }),
    );
    return () => {
      ended = true;
    };
  }, [name]);
  return found.name === name ? found : { description: null, problem: null };
}

function objectNames(live) {
  const rank = (name) => (FIRST.includes(name) ? FIRST.indexOf(name) : FIRST.length);
  return [...live.objects.keys()].sort((left, right) => rank(left) - rank(right) || left.localeCompare(right));
}

/** Object and method, chosen from those that there are. */
function Target({ live, object, setObject, description, method, setMethod }) {
  const id = useId("target");
  return html`<div class="two"><${Labelled} label="Object" id=${`${id}-object`}><select id=${`${id}-object`} name="object" value=${object} onChange=${(event) => setObject(event.target.value)}>
      ${objectNames(live).map((name) => html`<option key=${name} value=${name}>${name}</option>`)}</select></${Labelled}>
    <${Labelled} label="Method" id=${`${id}-method`}><select id=${`${id}-method`} name="method" value=${method} onChange=${(event) => setMethod(event.target.value)} disabled=${!description}>
      ${(description?.methods || []).map((each) => html`<option key=${each.name} value=${each.name}>${each.name}</option>`)}</select></${Labelled}></div>`;
}

function useTarget(live) {
  const [object, setObject] = useState(() => objectNames(live)[0] || "");
  const [wanted, setWanted] = useState("");
  const { description, problem } = useDescription(object);
  const method = description?.methods.find((each) => each.name === wanted) || description?.methods[0];
  return { object, setObject, description, problem, method, setMethod: setWanted };
}

/** One task. */
export function SubmitDialog({ live, onClose }) {
  const target = useTarget(live);
  return html`<${Dialog} title="Submit a task" onClose=${onClose} wide>
    ${live.objects.size === 0 && html`<${Notice} level="warn">No object is registered, so there is nothing to choose. Start a worker first.</${Notice}>`}
    <${Target} live=${live} object=${target.object} setObject=${target.setObject} description=${target.description} method=${target.method?.name || ""} setMethod=${target.setMethod} />
    <${ProblemNotice} problem=${target.problem} what="Its methods cannot be read" />
    ${target.method && html`<${TaskForm} key=${`${target.object}.${target.method.name}`} object=${target.object} method=${target.method} defs=${target.description.$defs} onClose=${onClose} />`}</${Dialog}>`;
}

const OPTIONS = [
  ["priority", "Priority", "higher runs first; 0 is usual", "numeric"],
  ["delay", "Delay", "wait before the first attempt: 30s, 5m", "text"],
  ["deadline", "Deadline", "time it has to succeed: 10m, 2h", "text"],
  ["max_attempts", "Attempts at most", "3 is usual", "numeric"],
  ["key", "Key", "two tasks with one key are one", "text"],
  ["worker", "Only at worker", "a name; any is usual", "text"],
];

function TaskForm({ object, method, defs, onClose }) {
  const state = useArguments(method, defs);
  const id = useId("task");
  const [options, setOptions] = useState({});
  const [outcome, setOutcome] = useState(null);
  const [busy, setBusy] = useState(false);
  const given = () => Object.fromEntries(Object.entries(options).filter(([, text]) => text !== "").map(([name, text]) => [name, /^-?\d+$/.test(text) && (name === "priority" || name === "max_attempts") ? Number(text) : text]));
  const submit = async (event) => {
    event.preventDefault();
    if (!state.ready) {
      state.showFaults();
      return;
    }
    setBusy(true);
    setOutcome(null);
    try {
      setOutcome({ id: (await post("/v1/tasks", { object, method: method.name, args: state.args(), ...given() })).id });
    } catch (problem) {
      setOutcome({ problem });
    } finally {
      setBusy(false);
    }
  };
  return html`<form class="form" onSubmit=${submit} novalidate>
    <${ArgumentFields} method=${method} defs=${defs} state=${state} />
    <details><summary>When, how often, where</summary><div class="two">${OPTIONS.map(([name, label, hint, kind]) => html`<${Labelled} key=${name} label=${label} hint=${hint} id=${`${id}-${name}`}>
      <input id=${`${id}-${name}`} type="text" inputmode=${kind} aria-describedby=${`${id}-${name}-hint`} value=${options[name] || ""} onInput=${(event) => setOptions({ ...options, [name]: event.target.value.trim() })} /></${Labelled}>`)}</div></details>
    <div class="form-actions"><button type="submit" class="button button-primary" disabled=${busy}>Submit</button>
      ${outcome?.id && html`<button type="button" class="button" onClick=${onClose}>Close</button>`}</div>
    <div aria-live="polite">${outcome?.id && html`<${Notice} level="good">Stored. <a href=${to.task(outcome.id)} onClick=${onClose}>Look at task ${outcome.id}</a></${Notice}>`}<${ProblemNotice} problem=${outcome?.problem} what="Not submitted" /></div>
    <${Command} line=${command("submit", object, method.name, argumentWords(state.ready ? state.args() : {}), submitFlags(given()))} /></form>`;
}

/** Many tasks, one on each line. */
export function BulkDialog({ live, onClose }) {
  const target = useTarget(live);
  const id = useId("bulk");
  const [text, setText] = useState("");
  const [progress, setProgress] = useState(null);
  const [outcome, setOutcome] = useState(null);
  const { tasks, fault } = readLines(text, target);
  const submit = async (event) => {
    event.preventDefault();
    if (fault || tasks.length === 0) return;
    setOutcome(null);
    let done = 0;
    try {
      while (done < tasks.length) {
        setProgress(done);
        const chunk = tasks.slice(done, done + CHUNK);
        await post("/v1/tasks", chunk);
        done += chunk.length;
      }
      setOutcome({ done });
      setText("");
    } catch (problem) {
      setOutcome({ done, problem });
    } finally {
      setProgress(null);
    }
  };
  const example = target.method ? exampleLine(target.method) : "";
  return html`<${Dialog} title="Submit many tasks" onClose=${onClose} wide>
    <p class="muted">One task on each line: its arguments as JSON, for the object and method chosen here. A line may also be a whole task with its own <code>object</code>, <code>method</code> and <code>args</code>.</p>
    <${Target} live=${live} object=${target.object} setObject=${target.setObject} description=${target.description} method=${target.method?.name || ""} setMethod=${target.setMethod} />
    <form class="form" onSubmit=${submit}>
      <${Labelled} label="Lines" id=${`${id}-lines`} error=${fault}>${text.length > 300_000
        ? html`<p id=${`${id}-lines`}>${plural(tasks.length, "line")} from the file</p>`
        : html`<textarea id=${`${id}-lines`} name="lines" class="mono" rows="8" placeholder=${example} spellcheck="false" value=${text} aria-invalid=${fault ? "true" : undefined} onInput=${(event) => setText(event.target.value)}></textarea>`}</${Labelled}>
      <div class="field-tools"><${FileButton} label="Read a file" name="lines of JSON" accept=".jsonl,.ndjson,.json,.txt" onFile=${async (file) => setText(await file.text())} />
        ${text && html`<button type="button" class="button button-small" onClick=${() => setText("")}>Empty</button>`}<span>${plural(tasks.length, "task")}</span></div>
      <div class="form-actions"><button type="submit" class="button button-primary" disabled=${progress !== null || Boolean(fault) || tasks.length === 0}>Submit ${plural(tasks.length, "task")}</button>
        ${progress !== null && html`<progress max=${tasks.length} value=${progress} aria-label="Submitted"></progress><span>${count(progress)} of ${count(tasks.length)}</span>`}</div>
      <div aria-live="polite">${outcome && !outcome.problem && html`<${Notice} level="good">${plural(outcome.done, "task")} stored. They appear in the list.</${Notice}>`}
        ${outcome?.problem && html`<${ProblemNotice} problem=${outcome.problem} what=${outcome.done ? `${count(outcome.done)} are stored, the others are not` : "None was stored"} />`}</div>
      <${Command} label="By curl" line=${curl("/v1/tasks", tasks.slice(0, 1).map((task) => task))} /></form></${Dialog}>`;
}

function readLines(text, target) {
  const tasks = [];
  const lines = text.split(/\r?\n/);
  for (const [index, line] of lines.entries()) {
    if (line.trim() === "") continue;
    let value;
    try {
      value = parse(line);
    } catch {
      return { tasks, fault: `Line ${count(index + 1)} is not JSON.` };
    }
    if (value === null || typeof value !== "object") return { tasks, fault: `Line ${count(index + 1)}: arguments are an object by name or a list in order.` };
    if (!Array.isArray(value) && typeof value.object === "string" && typeof value.method === "string") tasks.push(value);
    else tasks.push({ object: target.object, method: target.method?.name || "", args: value });
  }
  return { tasks, fault: null };
}

function exampleLine(method) {
  const samples = { integer: 30, number: 1.5, string: "hello", array: [1, 2, 3], boolean: true };
  const args = Object.fromEntries(method.parameters.map((parameter) => [parameter.name, samples[parameter.schema?.type] ?? null]));
  return `${JSON.stringify(args)}\n${JSON.stringify(args)}`;
}
