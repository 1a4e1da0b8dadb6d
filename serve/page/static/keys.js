// The keyboard: everything on the page without a pointer.

import { byId } from "./dom.js";
import { explain, links } from "./hits.js";

const WRITING = "input:not([type=checkbox]), textarea, select";

/** Listen. `actions`: more, explainAll, filters, help. */
export function listen(actions) {
  document.addEventListener("keydown", (event) => {
    if (event.isComposing || event.ctrlKey || event.metaKey || event.altKey) return;
    if (document.querySelector("dialog[open]")) return; // a dialog has its own keys, Esc among them
    const at = event.target;
    const handled = at === byId("query") ? inSearch(event) : at.matches(WRITING) ? elsewhere(event) : anywhere(event, actions);
    if (handled) event.preventDefault();
  });
}

function inSearch({ key }) {
  if (key === "ArrowDown" && links().length) return focus(links()[0]);
  if (key === "Escape" && byId("query").value === "") return true;
  return false;
}

function elsewhere({ key }) {
  return key === "Escape" ? toSearch() : false;
}

function anywhere({ key, target }, actions) {
  const titles = links();
  const hit = target.closest?.(".hit");
  const place = hit ? titles.findIndex((link) => hit.contains(link)) : -1;
  switch (key) {
    case "/":
    case "Escape":
      return toSearch();
    case "ArrowDown":
      if (place >= 0 && place === titles.length - 1 && !byId("more").hidden) return focus(byId("more"));
      return hit || target === document.body ? focus(titles[place + 1]) : false;
    case "ArrowUp":
      if (target === byId("more")) return focus(titles.at(-1));
      if (!hit) return false;
      return target !== titles[place] ? focus(titles[place]) : place > 0 ? focus(titles[place - 1]) : toSearch();
    case "Home":
      return hit ? focus(titles[0]) : false;
    case "End":
      return hit ? focus(titles.at(-1)) : false;
    case "ArrowRight":
    case "ArrowLeft":
      if (!hit) return false;
      explain(hit, key === "ArrowRight");
      return true;
    case "e":
      return actions.explainAll();
    case "f":
      return actions.filters();
    case "m":
      return actions.more();
    case "?":
      return actions.help();
    default:
      return false;
  }
}

function toSearch() {
  const query = byId("query");
  query.focus();
  query.select();
  return true;
}

function focus(element) {
  element?.focus();
  return Boolean(element);
}
