// The form of a method, made from its schema, and what becomes of it: a call with its result, worker, attempts
// and time, or a task. The page of an object and the dialog for new tasks share it.

import { html, useEffect, useMemo, useRef, useState } from "../lib/html.js";
import { call, post } from "../lib/api.js";
import { argumentWords, command } from "../lib/command.js";
import { duration, plural } from "../lib/format.js";
import { to } from "../lib/router.js";
import { check, initial, isOptional } from "../lib/schema.js";
import { Command, Labelled, ProblemNotice } from "./basics.js";
import { Field } from "./field.js";
import { Value } from "./value.js";

/** How long a call from this page may take, unless the reader says otherwise. */
const WITHIN = "30s";

/** The state of the arguments of a method: values, faults, and what to send. */
export function useArguments(method, defs) {
  const begin = () => Object.fromEntries(method.parameters.map((parameter) => [parameter.name, initial(parameter.schema, defs)]));
  const [values, setValues] = useState(begin);
  const [shown, setShown] = useState(false);
  const faults = useMemo(() => {
    const found = {};
    for (const parameter of method.parameters) {
      const value = values[parameter.name];
      if (value === undefined && (isOptional(parameter, defs) || emptyTextFits(parameter.schema))) continue;
      const fault = check(value, parameter.schema, defs);
      if (fault) found[parameter.name] = fault;
    }
    return found;
  }, [values, method]);
  const args = () => Object.fromEntries(method.parameters.map((parameter) => [parameter.name, textIfEmpty(values[parameter.name], parameter)]).filter(([, value]) => value !== undefined));
  return { values, setValue: (name, value) => setValues((before) => ({ ...before, [name]: value })), faults, shownFaults: shown ? faults : {}, showFaults: () => setShown(true), ready: Object.keys(faults).length === 0, args };
}

function emptyTextFits(schema) {
  return typeof schema === "object" && schema.type === "string" && !schema.minLength && !schema.pattern;
}

/** A text that was left empty is the empty text. */
function textIfEmpty(value, parameter) {
  return value === undefined && emptyTextFits(parameter.schema) ? "" : value;
}

/** The fields of the arguments. */
export function ArgumentFields({ method, defs, state }) {
  if (method.parameters.length === 0) return html`<p class="muted">This method takes no arguments.</p>`;
  return method.parameters.map((parameter) => html`<${Field} key=${parameter.name} name=${parameter.name} schema=${parameter.schema} defs=${defs}
    value=${state.values[parameter.name]} onChange=${(value) => state.setValue(parameter.name, value)} fault=${state.shownFaults[parameter.name]} />`);
}

/** Form and result of one method of an object. */
export function CallForm({ object, method, defs, hosted = true }) {
  const state = useArguments(method, defs);
  const [within, setWithin] = useState("");
  const [policy, setPolicy] = useState("");
  const [outcome, setOutcome] = useState(null);
  const [running, setRunning] = useState(null);
  const abort = useRef(null);
  useEffect(() => () => abort.current?.abort(), []);

  const run = async (what) => {
    if (!state.ready) {
      state.showFaults();
      return;
    }
    const ending = new AbortController();
    abort.current = ending;
    setRunning(what);
    setOutcome(null);
    const args = state.args();
    try {
      if (what === "task") {
        const task = { object, method: method.name, args };
        setOutcome({ task: (await post("/v1/tasks", task, { signal: ending.signal })).id });
      } else {
        setOutcome({ answer: await call(object, method.name, args, { within: within || WITHIN, policy, signal: ending.signal }) });
      }
    } catch (problem) {
      setOutcome(ending.signal.aborted ? { ended: true } : { problem });
    } finally {
      setRunning(null);
    }
  };
  const submit = (event) => {
    event.preventDefault();
    run("call");
  };
  const words = argumentWords(state.ready ? state.args() : {});
  const flags = [within && ["--timeout", within], policy && ["--policy", policy]].filter(Boolean).flat();

  return html`<div class="panel call">
    <form class="form" onSubmit=${submit} aria-label=${`Call ${object} ${method.name}`} novalidate>
      <h3>Call it</h3>
      <${ArgumentFields} method=${method} defs=${defs} state=${state} />
      <details><summary>Time and choice of the worker</summary><div class="two">
        <${Labelled} label="Longest time" id="call-within" hint="Such as 500ms, 10s, 5m"><input id="call-within" type="text" placeholder=${WITHIN} value=${within} onInput=${(event) => setWithin(event.target.value.trim())} /></${Labelled}>
        <${Labelled} label="Which worker" id="call-policy"><select id="call-policy" value=${policy} onChange=${(event) => setPolicy(event.target.value)}>
          <option value="">the least loaded</option><option value="round-robin">each in turn</option></select></${Labelled}></div></details>
      <div class="form-actions">
        <button type="submit" class="button button-primary" disabled=${running !== null} aria-busy=${running === "call" ? "true" : undefined}>Call</button>
        <button type="button" class="button" disabled=${running !== null} onClick=${() => run("task")}>Submit as task</button>
        ${running && html`<button type="button" class="button button-quiet" onClick=${() => abort.current?.abort()}>Stop waiting</button>`}
        ${!hosted && html`<span class="muted">No worker hosts it now.</span>`}
      </div>
    </form>
    <div aria-live="polite" class="outcome"><h3>Result</h3><${Outcome} outcome=${outcome} running=${running} method=${method} /></div>
    <div class="call-commands"><${Command} label="Call" line=${command("call", object, method.name, words, flags)} />
      <${Command} label="Task" line=${command("submit", object, method.name, words)} /></div>
  </div>`;
}

function Outcome({ outcome, running, method }) {
  if (running) return html`<p class="muted">Waiting for the answer…</p>`;
  if (!outcome) return html`<p class="muted">Nothing was called yet.</p>`;
  if (outcome.ended) return html`<p class="muted">You stopped waiting; the call was cancelled.</p>`;
  if (outcome.problem) {
    const own = outcome.problem.status === 422;
    return html`<${ProblemNotice} problem=${outcome.problem} what=${own ? "The object answered an error" : undefined} />
      ${outcome.problem.error !== undefined && outcome.problem.error !== null && typeof outcome.problem.error === "object" && html`<${Value} value=${outcome.problem.error} name="error" />`}`;
  }
  if (outcome.task) return html`<p>The task is stored and will run. <a href=${to.task(outcome.task)}>Look at task ${outcome.task}</a></p>`;
  const { answer } = outcome;
  return html`<p class="answered"><span>by <b>${answer.worker || "a static name"}</b></span><span>in <b>${duration(answer.ms)}</b></span><span><b>${plural(answer.attempts, "attempt")}</b></span></p>
    <${Value} value=${answer.value} name=${method.name} />`;
}
