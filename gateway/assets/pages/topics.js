// Topics: durable, ordered logs. The list with sizes at the left; the chosen topic with its last entries, new
// ones as they come, and a form to append.

import { html, useEffect, useId, useRef, useState } from "../lib/html.js";
import { get, path, post, query } from "../lib/api.js";
import { command } from "../lib/command.js";
import { bytes, count, duration, fullTime, plural, time } from "../lib/format.js";
import { parse } from "../lib/json.js";
import { useListing } from "../lib/listing.js";
import { go, to } from "../lib/router.js";
import { follow } from "../lib/stream.js";
import { ActionButton, Choice, Command, Empty, Labelled, PageHead, ProblemNotice, Section } from "../parts/basics.js";

/** Entries read at the start, and kept on the page. */
const BEGIN = 200;
const MOST = 2000;
/** How often the list is read again, in milliseconds. */
const AGAIN = 4000;

export function Topics({ live, parts }) {
  const [topics, problem] = useListing("/v1/topics", live.connection, AGAIN);
  const chosen = parts[0];
  const noStore = live.checks?.store === "none" || problem?.status === 404;
  if (noStore) return html`<${PageHead} title="Topics" /><${Empty} title="This name server keeps no topics">It was started without a store.<${Command} line="pyroxene nameserver --store sqlite:state.db" /></${Empty}>`;
  const topic = topics?.find((each) => each.name === chosen);
  return html`${!chosen && html`<${PageHead} title="Topics" lead="Durable, ordered logs that programs append to and follow." />`}<div class=${`split ${chosen ? "chosen" : ""}`}>
    <nav class="side" aria-label="Topics">
      <${NewTopic} />
      ${topics && topics.length > 0 && html`<ul class="side-list">${topics.map((each) => html`<li key=${each.name}><a href=${to.topic(each.name)} aria-current=${each.name === chosen ? "true" : undefined}><span class="title">${each.name}</span><span class="muted">${bytes(each.bytes)}</span>
        <span class="sub">${plural(Math.max(0, each.head - each.first + 1), "entry", "entries")}</span></a></li>`)}</ul>`}
    </nav>
    <div><${ProblemNotice} problem=${problem} what="The topics cannot be read" />
      ${chosen ? html`<${TopicPage} key=${chosen} name=${chosen} topic=${topic} live=${live} />` : html`${topics?.length === 0 ? html`<${Empty} title="There are no topics yet">The first entry makes one.<${Command} line=${command("topic", "append", "news", "hello")} /></${Empty}>` : topics && html`<p class="muted">Choose a topic to read and follow it.</p>`}
        <${Command} line=${command("topic", "list")} />`}</div></div>`;
}

function NewTopic() {
  const id = useId("topic");
  const [name, setName] = useState("");
  const submit = (event) => {
    event.preventDefault();
    if (name.trim()) go(to.topic(name.trim()));
    setName("");
  };
  return html`<form onSubmit=${submit} class="field-row"><label class="hidden-visually" for=${id}>Name of a topic</label><input id=${id} name="topic" type="text" maxlength="128" autocomplete="off" placeholder="Open or make a topic" value=${name} onInput=${(event) => setName(event.target.value)} />
    <button type="submit" class="button">Open</button></form>`;
}

function TopicPage({ name, topic, live }) {
  const [entries, setEntries] = useState([]);
  const [following, setFollowing] = useState(true);
  const [problem, setProblem] = useState(null);
  const add = (found) =>
    setEntries((before) => {
      const last = before.at(-1)?.sequence || 0;
      const fresh = found.filter((entry) => entry.sequence > last);
      return fresh.length === 0 ? before : [...before, ...fresh].slice(-MOST);
    });
  useFollow(name, live, following, add, setProblem);
  const kept = topic ? Math.max(0, topic.head - topic.first + 1) : 0;
  const keeps = [topic?.retention?.age_ms && `for ${duration(topic.retention.age_ms)}`, topic?.retention?.bytes && `up to ${bytes(topic.retention.bytes)}`].filter(Boolean).join(" and ");
  const lead = topic ? `${plural(kept, "entry", "entries")}, ${bytes(topic.bytes)}${keeps ? `; kept ${keeps}` : ""}` : "No entry yet: the first one makes the topic.";
  return html`<a class="button button-quiet back" href="/topics">← All topics</a><${PageHead} title=${name} lead=${lead} />
    <${Section} title="Entries" tight aside=${html`<label class="field-row"><input type="checkbox" checked=${following} onChange=${(event) => setFollowing(event.target.checked)} /> follow new ones</label>`}>
      <${ProblemNotice} problem=${problem} what="The entries cannot be read" /><${Entries} entries=${entries} /></${Section}>
    <${Append} name=${name} /><${Command} line=${command("topic", "follow", name, "--after", "0")} />`;
}

/** Reads the last entries, then follows by a stream that is opened again if it breaks. */
function useFollow(name, live, following, add, setProblem) {
  const connected = live.connection === "live";
  const last = useRef(0);
  useEffect(() => {
    if (!connected) return undefined;
    let ended = false;
    let stop = () => {};
    const take = (found) => {
      if (found.length > 0) last.current = Math.max(last.current, found.at(-1).sequence);
      add(found);
    };
    const begin = async () => {
      const address = path("v1", "topics", name, "entries");
      // An empty page says where the end is; from there the last entries are read.
      const { head } = await get(`${address}?limit=1`);
      const after = Math.max(last.current, head - BEGIN, 0);
      const page = await get(address + query({ after, limit: BEGIN }));
      if (ended) return;
      if (last.current === 0) last.current = after;
      take(page.entries);
      setProblem(null);
      if (following) stop = follow(() => path("v1", "topics", name, "events") + query({ after: last.current }), { entry: (entry) => take([entry]) });
    };
    begin().catch((refused) => !ended && setProblem(refused));
    return () => {
      ended = true;
      stop();
    };
  }, [name, connected, following]);
}

function Entries({ entries }) {
  const box = useRef(null);
  const atEnd = useRef(true);
  useEffect(() => {
    if (atEnd.current) box.current.scrollTop = box.current.scrollHeight;
  }, [entries]);
  return html`<ol class="panel entries" ref=${box} tabindex="0" aria-label="Entries" onScroll=${() => {
    const element = box.current;
    atEnd.current = element.scrollHeight - element.scrollTop - element.clientHeight < 40;
  }}>${entries.length === 0 && html`<li><span></span><span></span><span class="muted">Nothing here yet.</span></li>`}
    ${entries.map((entry) => html`<li key=${entry.sequence}><span class="seq">${count(entry.sequence)}</span><time title=${fullTime(entry.at)}>${time(entry.at)}</time>
      <span class="body">${entry.text ?? html`<span class="muted">bytes, in base64: </span>${entry.base64}`}</span></li>`)}</ol>`;
}

function Append({ name }) {
  const id = useId("append");
  const [text, setText] = useState("");
  const [kind, setKind] = useState("text");
  const [problem, setProblem] = useState(null);
  const [stored, setStored] = useState(null);
  const append = async () => {
    setProblem(null);
    setStored(null);
    try {
      const body = kind === "json" ? { json: parse(text) } : { text };
      setStored((await post(path("v1", "topics", name, "entries"), body)).sequence);
      setText("");
    } catch (refused) {
      setProblem(refused instanceof SyntaxError ? { message: "this is not JSON", title: "Not appended", attempts: [] } : refused);
    }
  };
  const submit = (event) => {
    event.preventDefault();
    if (text !== "") append();
  };
  return html`<${Section} title="Append an entry" tight aside=${html`<${Choice} label="Kind of entry" options=${[["text", "Text"], ["json", "JSON"]]} value=${kind} onChange=${setKind} />`}>
    <form class="form" onSubmit=${submit}><${Labelled} label="Entry" id=${id}><textarea id=${id} name="entry" rows="2" class=${kind === "json" ? "mono" : ""} value=${text} onInput=${(event) => setText(event.target.value)}
        onKeyDown=${(event) => event.key === "Enter" && (event.ctrlKey || event.metaKey) && submit(event)}></textarea></${Labelled}>
      <div class="form-actions"><${ActionButton} act=${append} kind="primary" disabled=${text === ""}>Append</${ActionButton}><span class="muted" role="status">${stored !== null && `Stored as number ${count(stored)}.`}</span></div>
      <${ProblemNotice} problem=${problem} what="Not appended" /></form>
    <${Command} line=${command("topic", "append", name, text || "TEXT")} /></${Section}>`;
}
