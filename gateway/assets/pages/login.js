// Logging in, where the name server asks who one is. The token is sent once and kept nowhere here: the server
// answers with a cookie that no script can read.

import { html, useId, useState } from "../lib/html.js";
import { post } from "../lib/api.js";
import { live, reconnect } from "../lib/live.js";
import { Labelled, Notice, PageHead, ProblemNotice } from "../parts/basics.js";

/** The page that stands in for all others until somebody has logged in. */
export function Login() {
  return html`<${PageHead} title="Log in" lead="This broker asks who you are. An administrator gave you a user name and a token." />
    ${live.farewell && html`<${Notice} level="warn">${live.farewell}</${Notice}>`}
    <div class="panel pad login"><${LoginForm} /></div>`;
}

/** The form alone. */
export function LoginForm() {
  const id = useId("login");
  const [user, setUser] = useState("");
  const [token, setToken] = useState("");
  const [problem, setProblem] = useState(null);
  const [busy, setBusy] = useState(false);
  const submit = async (event) => {
    event.preventDefault();
    setBusy(true);
    setProblem(null);
    try {
      await post("/v1/login", { user, token });
      setToken("");
      live.farewell = "";
      reconnect();
    } catch (refused) {
      setProblem(refused);
    } finally {
      setBusy(false);
    }
  };
  return html`<form class="form" onSubmit=${submit} id="login">
    <${Labelled} label="User" id=${`${id}-user`}><input id=${`${id}-user`} name="user" autocomplete="username" required value=${user} onInput=${(event) => setUser(event.target.value)} /></${Labelled}>
    <${Labelled} label="Token" id=${`${id}-token`} hint=${html`As <code>pyroxene users add</code> has printed it.`}><input id=${`${id}-token`} name="token" type="password" autocomplete="current-password" required value=${token} onInput=${(event) => setToken(event.target.value)} /></${Labelled}>
    <${ProblemNotice} problem=${problem && withoutAdvice(problem)} what="Not logged in" />
    <div class="form-actions"><button type="submit" class="button button-primary" disabled=${busy}>Log in</button></div></form>`;
}

/** The advice to log in is of no use in the form that does so. */
function withoutAdvice(problem) {
  return { message: problem.message, title: problem.title, attempts: [], advice: "" };
}
