// Building elements. Texts only ever become text nodes: nothing on this page parses HTML.

/**
 * Make an element. Properties starting with "on" are listeners; `data`, `aria` are objects; the rest are attributes,
 * of which null, undefined and false are left out. Children are nodes or texts; null and false are left out.
 */
export function make(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "data") Object.assign(element.dataset, value);
    else if (key === "aria") for (const [part, text] of Object.entries(value)) element.setAttribute(`aria-${part}`, text);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export const byId = (id) => document.getElementById(id);

/**
 * The pieces of a text, marked ones as <mark>. Marks are [start, end] in code points, as Python counts them: a
 * JavaScript string counts UTF-16 units, so an emoji before a mark would shift it.
 */
export function marked(text, marks = []) {
  if (!marks.length) return [text];
  const points = Array.from(text);
  const pieces = [];
  let at = 0;
  for (const [start, end] of marks) {
    if (start > at) pieces.push(points.slice(at, start).join(""));
    if (end > start) pieces.push(make("mark", {}, points.slice(start, end).join("")));
    at = Math.max(at, end);
  }
  if (at < points.length) pieces.push(points.slice(at).join(""));
  return pieces;
}

/** A function that runs once calls have stopped for `delay` milliseconds; `.now()` runs it at once. */
export function debounced(action, delay) {
  let timer = 0;
  const later = (...values) => {
    clearTimeout(timer);
    timer = setTimeout(action, delay, ...values);
  };
  later.now = (...values) => {
    clearTimeout(timer);
    action(...values);
  };
  later.cancel = () => clearTimeout(timer);
  return later;
}

/** A number for people: at most three significant decimals, thousands grouped. */
export function shown(number) {
  const digits = Math.abs(number) >= 100 ? 1 : Math.abs(number) >= 1 ? 2 : 3;
  return number.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

export const grouped = (number) => number.toLocaleString("en");
