// The command line that does the same as an action of the dashboard, to copy. Words are quoted for a POSIX
// shell, and the name server is named unless it is the default one.

import { live } from "./live.js";
import { write } from "./json.js";

/** Longer arguments are shown as a file to read. */
const LONGEST = 160;

/** One word of a command, quoted if the shell would change it. */
export function quote(word) {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

/** `pyroxene` and these words, with the name server's address where it is needed. */
export function command(...words) {
  return ["pyroxene", ...words.flat().filter((word) => word !== "").map(String).map(quote), ...nameserver()].join(" ");
}

/** The flag that names the name server of this page. */
function nameserver() {
  const address = live.whoami?.nameserver || location.host;
  const flags = address === "127.0.0.1:9090" ? [] : ["--nameserver", quote(address)];
  if (location.protocol === "https:") flags.push("--tls-ca ca.crt");
  if (live.whoami?.user) flags.push("--user", quote(live.whoami.user));
  return flags;
}

/** Arguments as the command line takes them: NAME=VALUE. */
export function argumentWords(args) {
  if (Array.isArray(args)) return args.map((value) => argumentText(value));
  return Object.entries(args || {})
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => {
      const text = argumentText(value);
      return text.length > LONGEST ? `${name}=@${name}.json` : `${name}=${text}`;
    });
}

function argumentText(value) {
  return typeof value === "string" ? value : write(value);
}

/** The options of a submission as flags. */
export function submitFlags(task) {
  const flags = { priority: "--priority", delay: "--delay", deadline: "--deadline", max_attempts: "--max-attempts", key: "--key", worker: "--worker" };
  return Object.entries(flags)
    .filter(([name]) => task[name] !== undefined && task[name] !== "")
    .flatMap(([name, flag]) => [flag, task[name]]);
}

/** A request by curl, for what has no command of its own. */
export function curl(path, body = {}) {
  const login = live.whoami?.user ? ` -u ${quote(live.whoami.user)}` : "";
  return `curl${login} -X POST -H 'content-type: application/json' -d ${quote(write(body))} ${quote(location.origin + path)}`;
}
