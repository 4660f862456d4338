// Chat: the room of the object `chat`. The page is a member like any other: it joins under a name with a session
// that only this tab knows, is told of messages by a stream that also keeps it present, and leaves. A tab that
// is loaded again comes back under its name.

import { html, useEffect, useId, useRef, useState } from "../lib/html.js";
import { call, query } from "../lib/api.js";
import { command } from "../lib/command.js";
import { fullTime, plural, time } from "../lib/format.js";
import { onMessage } from "../lib/live.js";
import { follow } from "../lib/stream.js";
import { Command, Empty, Labelled, PageHead, ProblemNotice } from "../parts/basics.js";
import { Mark } from "../parts/marks.js";

const KEY = "pyroxene-chat";
/** Messages that stay on the page; older ones are in the room still. */
const MOST = 1000;
const HISTORY = 100;

function randomId() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

function remembered() {
  try {
    return JSON.parse(sessionStorage.getItem(KEY));
  } catch {
    return null;
  }
}

export function Chat({ live }) {
  const [member, setMember] = useState(remembered);
  const [joined, setJoined] = useState(false);
  const [members, setMembers] = useState([]);
  const [messages, setMessages] = useState([]);
  const [to, setTo] = useState("");
  const [problem, setProblem] = useState(null);
  const add = (found) =>
    setMessages((before) => {
      const known = new Set(before.map((message) => message.sequence));
      const fresh = found.filter((message) => !known.has(message.sequence));
      return fresh.length === 0 ? before : [...before, ...fresh].sort((left, right) => left.sequence - right.sequence).slice(-MOST);
    });

  const hosted = live.objects.has("chat");
  // Whoever has not joined sees what was said to all, as a person at the door would.
  useEffect(() => {
    if (joined || !live.loaded || !hosted) return undefined;
    call("chat", "members", {}).then((answer) => setMembers(answer.value), () => {});
    if (!member) call("chat", "history", { name: live.whoami?.user || "visitor", limit: HISTORY }).then((answer) => add(answer.value), () => {});
    return onMessage((message) => add([message]));
  }, [joined, live.loaded, hosted]);

  const join = async (name) => {
    setProblem(null);
    const session = member?.name === name ? member.session : randomId();
    try {
      await call("chat", "join", { name, session });
      const history = await call("chat", "history", { name, limit: HISTORY });
      setMessages([]);
      add(history.value);
      const now = { name, session };
      sessionStorage.setItem(KEY, JSON.stringify(now));
      setMember(now);
      setJoined(true);
    } catch (refused) {
      setProblem(refused);
    }
  };
  useEffect(() => {
    if (member && !joined && live.loaded && hosted) join(member.name);
  }, [live.loaded, hosted]);
  useRoomEvents(joined ? member : null, { add, setMembers, head: messages.at(-1)?.sequence });

  const leave = async () => {
    await call("chat", "leave", { name: member.name, session: member.session }).catch(() => {});
    sessionStorage.removeItem(KEY);
    setJoined(false);
    setMember(null);
    setTo("");
  };

  const head = html`<${PageHead} title="Chat" lead="A room for everybody at this broker; messages are kept. The command below enters the same room.">
    ${joined && html`<button type="button" class="button" onClick=${leave}>Leave</button>`}</${PageHead}>`;
  if (live.loaded && !hosted) {
    return html`${head}<${Empty} title="Nobody hosts the room">A worker that hosts the object chat opens it.<${Command} line=${command("worker", "--objects", "chat")} /></${Empty}>`;
  }
  return html`${head}<div class="panel chat">
      <div class="chat-log"><${Messages} messages=${messages} me=${joined ? member.name : ""} />
        <${ProblemNotice} problem=${problem} what="That did not work" />
        ${joined ? html`<${Say} member=${member} to=${to} setTo=${setTo} members=${members} add=${add} setProblem=${setProblem} />` : html`<${Join} join=${join} live=${live} />`}</div>
      <section class="chat-members" aria-labelledby="chat-members"><h2 id="chat-members">${plural(members.length, "member")}</h2>
        <ul>${members.map((name) => html`<li key=${name}><button type="button" disabled=${!joined || name === member?.name} onClick=${() => setTo(name)} title=${joined && name !== member?.name ? `Write to ${name} alone` : ""}>
          <${Mark} state="ready" />${name}${joined && name === member?.name && html` <span class="muted">you</span>`}</button></li>`)}</ul>
        ${members.length === 0 && html`<p class="muted">Nobody is here.</p>`}</section>
    </div><${Command} line=${command("chat", "--as", member?.name || "NAME")} />`;
}

/** The stream of the room while one is a member. It is opened again if it breaks, after the last message. */
function useRoomEvents(member, { add, setMembers, head }) {
  const last = useRef(0);
  last.current = Math.max(last.current, head || 0);
  useEffect(() => {
    if (!member) return undefined;
    const address = () => `/v1/chat/events${query({ name: member.name, session: member.session, after: last.current || undefined })}`;
    return follow(address, {
      message: (message) => {
        last.current = Math.max(last.current, message.sequence);
        add([message]);
      },
      members: setMembers,
    });
  }, [member?.name, member?.session]);
}

function Messages({ messages, me }) {
  const box = useRef(null);
  const atEnd = useRef(true);
  useEffect(() => {
    if (atEnd.current) box.current.scrollTop = box.current.scrollHeight;
  }, [messages]);
  let dayBefore = "";
  return html`<ol class="chat-messages" ref=${box} tabindex="0" aria-label="Messages" aria-live="polite" onScroll=${() => {
    const element = box.current;
    atEnd.current = element.scrollHeight - element.scrollTop - element.clientHeight < 40;
  }}>
    ${messages.length === 0 && html`<li class="day">Nothing was said yet.</li>`}
    ${messages.map((message) => {
      const day = new Date(message.at_ms).toDateString();
      const heading = day !== dayBefore && day !== new Date().toDateString() ? day : "";
      dayBefore = day;
      const kind = [message.to && "direct", message.from === me && "mine"].filter(Boolean).join(" ");
      return html`${heading && html`<li class="day" key=${heading}>${heading}</li>`}
        <li class=${kind} key=${message.sequence}><time title=${fullTime(message.at_ms)}>${time(message.at_ms).split(", ").at(-1)}</time>
          <span class="from" title=${message.from}>${message.from}</span><span class="text">${message.to && html`<span class="muted">${message.to === me ? "to you alone" : `to ${message.to} alone`}: </span>`}${message.text}</span></li>`;
    })}</ol>`;
}

function Join({ join, live }) {
  const id = useId("join");
  const [name, setName] = useState(live.whoami?.user || "");
  const [busy, setBusy] = useState(false);
  const submit = async (event) => {
    event.preventDefault();
    setBusy(true);
    await join(name.trim());
    setBusy(false);
  };
  return html`<form class="chat-join" onSubmit=${submit}><${Labelled} label="Your name in the room" id=${id}>
      <input id=${id} name="name" type="text" required maxlength="64" autocomplete="nickname" pattern="\\S+" title="No blanks, up to 64 characters" value=${name} onInput=${(event) => setName(event.target.value)} /></${Labelled}>
    <button type="submit" class="button button-primary" disabled=${busy}>Join</button></form>`;
}

function Say({ member, to, setTo, members, add, setProblem }) {
  const id = useId("say");
  const [text, setText] = useState("");
  const input = useRef(null);
  useEffect(() => {
    input.current?.focus();
  }, [to]);
  const others = [...new Set([...members.filter((name) => name !== member.name), to].filter(Boolean))];
  const submit = async (event) => {
    event.preventDefault();
    const said = text.trim();
    if (!said) return;
    setText("");
    setProblem(null);
    // The id makes a repeat safe: the message is stored once.
    const about = { from: member.name, text: said, id: randomId() };
    try {
      const { value } = to ? await call("chat", "send", { ...about, to }) : await call("chat", "broadcast", about);
      add([{ sequence: value.sequence, at_ms: Date.now(), from: member.name, to: to || null, text: said }]);
    } catch (refused) {
      setText(said);
      setProblem(refused);
    }
  };
  return html`<form class="chat-say" onSubmit=${submit}>
    <div class="labelled"><label class="hidden-visually" for=${`${id}-to`}>To whom</label><select id=${`${id}-to`} name="to" value=${to} onChange=${(event) => setTo(event.target.value)}><option value="">to all</option>
      ${others.map((name) => html`<option key=${name} value=${name}>to ${name} alone</option>`)}</select></div>
    <div class="labelled"><label class="hidden-visually" for=${`${id}-text`}>Message</label><input ref=${input} id=${`${id}-text`} name="text" type="text" maxlength="4000" autocomplete="off" placeholder=${to ? `To ${to} alone…` : "To all…"} value=${text} onInput=${(event) => setText(event.target.value)} /></div>
    <button type="submit" class="button button-primary">Send</button></form>`;
}
