// The time, for what counts up or down while one looks at it.

import { useEffect, useState } from "./html.js";

/** The time now in milliseconds since 1970, drawn again every `every` milliseconds; 0 stands still. */
export function useNow(every = 1000) {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    if (!every) return undefined;
    const timer = setInterval(() => setNow(Date.now()), every);
    return () => clearInterval(timer);
  }, [every]);
  return now;
}
