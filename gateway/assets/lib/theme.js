// Dark or light. The page follows the system unless the reader has chosen; the choice is kept in this browser.

const KEY = "pyroxene-theme";
const listeners = new Set();
const system = matchMedia("(prefers-color-scheme: dark)");

/** What was chosen: "system", "light" or "dark". */
export function theme() {
  const stored = localStorage.getItem(KEY);
  return stored === "light" || stored === "dark" ? stored : "system";
}

/** Chooses, and shows it. */
export function setTheme(choice) {
  if (choice === "system") localStorage.removeItem(KEY);
  else localStorage.setItem(KEY, choice);
  apply();
}

/** Tells `listener` after every change of the colours; answers how to stop. */
export function onTheme(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

function apply() {
  const choice = theme();
  const dark = choice === "dark" || (choice === "system" && system.matches);
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  listeners.forEach((tell) => tell());
}

/** The value of a colour of style/tokens.css, as the page shows it now. */
export function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

system.addEventListener("change", apply);
apply();
