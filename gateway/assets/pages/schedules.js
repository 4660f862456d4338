// Schedules: which calls become tasks at which times, as a part of the page Domain. Pauses, goes on, runs one now.

import { html, useState } from "../lib/html.js";
import { path, post } from "../lib/api.js";
import { command } from "../lib/command.js";
import { ago, count, fullTime } from "../lib/format.js";
import { useListing } from "../lib/listing.js";
import { ActionButton, Command, Name, ProblemNotice, Section, TableBox } from "../parts/basics.js";
import { State } from "../parts/marks.js";

/** How often they are read again while one looks, in milliseconds. */
const AGAIN = 3000;

/** How many are shown before one asks for more. */
const FIRST = 20;

/** How many the name server tells at once. */
const PAGE = 100;

export function Schedules({ live }) {
  const [schedules, problem, read] = useListing("/v1/schedules", live.connection, AGAIN);
  const [all, setAll] = useState(false);
  // Without a store there are no schedules, and the part above says that there is none.
  if (live.checks?.store === "none") return null;
  const known = schedules || [];
  const shown = all ? known : known.slice(0, FIRST);
  return html`<${Section} title="Schedules" tight><${ProblemNotice} problem=${problem} what="It is not known" /><${TableBox} label="Schedules">
    <thead><tr><th scope="col">Name</th><th scope="col" class="wide-only">Times</th><th scope="col" class="wide-only">Call</th><th scope="col">Next</th><th scope="col" class="wide-only">Last</th><th scope="col">Acts</th></tr></thead>
    <tbody>${shown.map((one) => html`<${Row} key=${one.name} schedule=${one} read=${read} />`)}
      ${shown.length === 0 && html`<tr><td colspan="6" class="muted">${schedules ? "None yet." : "The list is on its way…"}</td></tr>`}</tbody></${TableBox}>
    ${!all && known.length > FIRST && html`<p class="hint"><button type="button" class="button button-small" onClick=${() => setAll(true)}>Show ${count(known.length)}</button></p>`}
    ${known.length === PAGE && html`<p class="hint">The first ${count(PAGE)} by name; the command shows all.</p>`}
    <p class="hint">Each makes one task for each of its times, whichever name servers run then.</p><${Command} line=${command("schedules", "list")} /></${Section}>`;
}

function Row({ schedule, read }) {
  const [problem, setProblem] = useState(null);
  const act = (what) => async () => {
    try {
      await post(path("v1", "schedules", schedule.name, what), {});
      setProblem(null);
    } catch (refused) {
      setProblem(refused);
    }
    await read();
  };
  const turn = schedule.paused ? "resume" : "pause";
  const next = schedule.paused ? html`<${State} state="draining">paused</${State}>` : html`<span title=${fullTime(schedule.next)}>${ago(schedule.next)}</span>`;
  return html`<tr><td class="name"><${Name} text=${schedule.name} /><${ProblemNotice} problem=${problem} /></td>
    <td class="wide-only"><code>${schedule.cron}</code> <span class="muted">${schedule.time_zone}</span></td><td class="break wide-only">${schedule.object}.${schedule.method}</td>
    <td>${next}</td><td class="wide-only" title=${fullTime(schedule.last)}>${ago(schedule.last)}</td>
    <td><span class="nowrap"><${ActionButton} kind="small" act=${act(turn)} aria-label=${`${turn} ${schedule.name}`}>${schedule.paused ? "Resume" : "Pause"}</${ActionButton}>
      <${ActionButton} kind="small" act=${act("run-now")} aria-label=${`run ${schedule.name} now`}>Run now</${ActionButton}></span></td></tr>`;
}
