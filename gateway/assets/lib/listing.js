// Lists that are read again and again while one looks at them.

import { useEffect, useRef, useState } from "./html.js";
import { get } from "./api.js";

/**
 * What a path answers, read every `every` milliseconds while the page is connected: [list, problem, read]. The list is null
 * until it is there; `read` reads it now.
 */
export function useListing(path, connection, every) {
  const [list, setList] = useState(null);
  const [problem, setProblem] = useState(null);
  const read = useRef(async () => {});
  useEffect(() => {
    if (connection !== "live") return undefined;
    let ended = false;
    read.current = () => get(path).then((found) => {
      if (ended) return;
      setList(found);
      setProblem(null);
    }, (refused) => {
      if (ended) return;
      setProblem(refused);
      // Whoever may not read it is not let in by asking again.
      if (refused.status === 403) clearInterval(timer);
    });
    const timer = setInterval(() => read.current(), every);
    read.current();
    return () => {
      ended = true;
      clearInterval(timer);
    };
  }, [path, connection, every]);
  return [list, problem, () => read.current()];
}
