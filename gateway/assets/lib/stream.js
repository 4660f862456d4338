// A stream of server-sent events that is opened again whenever it breaks, until it is ended. A page that the
// browser puts aside to come back to (the "back/forward cache") gives its streams up: each takes one of the six
// connections that a browser opens to a server for all its pages together.

/** The pause before a broken stream is opened again, in milliseconds. */
const PAUSE = 1500;

/**
 * Opens a stream. `addressOf()` is asked for the address each time, so that it can say where to go on;
 * `handlers` take the parsed data by the name of the event. Answers how to end it.
 */
export function follow(addressOf, handlers) {
  let source = null;
  let timer = 0;
  const open = () => {
    close();
    source = new EventSource(addressOf());
    for (const [event, take] of Object.entries(handlers)) {
      source.addEventListener(event, (message) => take(JSON.parse(message.data)));
    }
    source.addEventListener("error", () => {
      close();
      timer = setTimeout(open, PAUSE);
    });
  };
  const close = () => {
    clearTimeout(timer);
    source?.close();
    source = null;
  };
  const stopPausing = pauseWhileAside(close, open);
  open();
  return () => {
    stopPausing();
    close();
  };
}

/** Calls `close` when the browser puts the page aside, and `open` when it takes it out again. */
export function pauseWhileAside(close, open) {
  const back = (event) => event.persisted && open();
  addEventListener("pagehide", close);
  addEventListener("pageshow", back);
  return () => {
    removeEventListener("pagehide", close);
    removeEventListener("pageshow", back);
  };
}
