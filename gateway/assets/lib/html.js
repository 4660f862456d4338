// The one place that knows Preact and htm. Every other module takes `html` (templates without a build
// step) and the hooks from here, so that another version, or another library, is a change of this file.

import { Fragment, h, render } from "../vendor/preact.js";
import { useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState } from "../vendor/preact-hooks.js";
import htm from "../vendor/htm.js";

export const html = htm.bind(h);
export { Fragment, render, useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState };

let lastId = 0;

/** An id that no other element of the page has, the same for the life of a component. */
export function useId(prefix = "id") {
  const id = useRef(null);
  if (id.current === null) id.current = `${prefix}-${(lastId += 1)}`;
  return id.current;
}

/** Joins class names, leaving out those that are false or empty. */
export function classes(...names) {
  return names.filter(Boolean).join(" ");
}
