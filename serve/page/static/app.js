// The search page: what is looked at, asking for it, and showing the answer.

import * as address from "./address.js";
import * as api from "./api.js";
import { DocumentPanel } from "./detail.js";
import { byId, debounced, grouped, make } from "./dom.js";
import { Filters } from "./facets.js";
import { hitItem, explain, links } from "./hits.js";
import { listen } from "./keys.js";
import { writtenForms } from "./marks.js";
import * as notices from "./notices.js";
import { remember, remembered } from "./storage.js";
import { Suggestions } from "./suggest.js";
import { offerThemes } from "./theme.js";

const PAGE = 10;
const TYPING_PAUSE = 70; // milliseconds: shorter than between two keys of most, long enough not to ask for each
const SHOW_PROGRESS_AFTER = 200;
const ANNOUNCE_AFTER = 600; // a screen reader should tell the count once, not at every letter

const at = Object.fromEntries(
  ["query", "collection", "progress", "results", "status", "heard", "modes", "more", "detail", "explain-all", "frame"].map((id) => [id, byId(id)]),
);
let state = address.read();
let collections = [];
let hits = [];
let total = null; // how many documents match, where the service tells
let cut = false; // whether the query is longer than the model reads
let explained = remembered("localStorage", "lexhound-explain") === "all";
let latest = 0; // the newest request: answers to older ones are dropped
let asking = new AbortController();
let describing = new AbortController();
let retry = 0;

const filters = new Filters(
  { panel: byId("side"), box: byId("filters"), facets: byId("facets"), text: byId("filter"), count: byId("filter-count"), clear: byId("clear-filter"), trouble: byId("filter-trouble") },
  (expression) => change({ filter: expression }),
);

const suggestions = new Suggestions(
  { meant: byId("meant"), completions: byId("completions"), query: at.query },
  (query) => {
    at.query.value = query;
    at.query.focus();
    typed.now();
  },
);

// ---- from the state to the service -------------------------------------------------------------------------------

function change(parts) {
  state = { ...state, count: 0, ...parts };
  address.write(state);
  search();
}

const body = (offset, k) => ({
  query: state.query, k, offset, explain: true, highlight: true,
  ...(state.filter ? { filter: state.filter } : {}),
  ...(state.mode ? { mode: state.mode } : {}),
  ...(isElsewhere() ? {} : { total: true }), // another engine does not count what matches
});

async function search() {
  const ticket = begin();
  if (!state.collection) return;
  suggestions.ask(isElsewhere() ? "" : state.collection, state.query, state.filter);
  if (!state.query.trim()) {
    finish();
    showHits([], false);
    filters.recount(null);
    whisper("");
    const collection = collections.find(({ name }) => name === state.collection) ?? { name: state.collection };
    notices.welcome(collection);
    if (collection.health === "unfinished") {
      const { unfinished } = await api.describe(collection.name, asking.signal).catch(() => ({}));
      if (ticket === latest && unfinished) notices.unfinished(collection.name, unfinished);
    }
    return;
  }
  const wanted = Math.max(PAGE, state.count);
  try {
    const answer = await api.search(state.collection, body(0, wanted + 1), asking.signal);
    if (ticket !== latest) return;
    finish();
    filters.complain(null);
    total = answer.total;
    cut = Boolean(answer.query_cut);
    showHits(answer.hits.slice(0, wanted), answer.hits.length > wanted, answer.seconds * 1000);
    recount(ticket);
  } catch (error) {
    if (ticket === latest) failed(error, search);
  }
}

/** Let the numbers beside the filters' boxes be those of the query. */
async function recount(ticket) {
  if (byId("side").hidden) return;
  const { fields } = await api.facetsOf(state.collection, state.query, asking.signal).catch(() => ({}));
  if (ticket === latest && fields) filters.recount(fields);
}

async function more() {
  if (at.more.hidden) return;
  const ticket = begin();
  const from = hits.length;
  try {
    const answer = await api.search(state.collection, body(from, PAGE + 1), asking.signal);
    if (ticket !== latest) return;
    finish();
    // Documents may have come or gone since the first page: none is shown twice.
    const known = new Set(hits.map(({ id }) => id));
    const fresh = answer.hits.slice(0, PAGE).filter(({ id }) => !known.has(id));
    append(fresh);
    at.more.hidden = answer.hits.length <= PAGE;
    total = answer.total;
    state = { ...state, count: hits.length };
    address.write(state);
    told();
    links()[from]?.focus();
  } catch (error) {
    if (ticket === latest) failed(error, more);
  }
}

/** Start a request: the one before is of no interest any more. */
function begin() {
  asking.abort();
  asking = new AbortController();
  clearTimeout(retry);
  clearTimeout(begin.timer);
  begin.timer = setTimeout(() => {
    at.progress.hidden = false;
    at.results.setAttribute("aria-busy", "true");
  }, SHOW_PROGRESS_AFTER);
  return ++latest;
}

function finish() {
  clearTimeout(begin.timer);
  at.progress.hidden = true;
  at.results.removeAttribute("aria-busy");
}

function failed(error, again) {
  if (error.name === "AbortError") return;
  finish();
  if (!(error instanceof api.Trouble)) throw error;
  if (error.kind === "key") return askForKey();
  if (error.kind === "tenant") return askForTenant();
  if (error.kind === "no-tenants" && api.tenant.get()) { // the collection before this one had them
    api.tenant.set("");
    return again();
  }
  if (error.kind === "missing" && collections.every(({ name }) => name !== state.collection)) return noSuchCollection();
  const inFilter = error.kind === "refused" && state.filter && /filter/u.test(`${error.code} ${error.where}`);
  filters.complain(inFilter ? [error.message, error.hint].filter(Boolean).map(notices.sentence).join(" ") : null);
  showHits([], false);
  const waiting = error.kind === "busy" || error.kind === "unready";
  notices.trouble(error, { again, waiting, otherKey: askForKey });
  whisper(error.message);
  if (waiting) retry = setTimeout(again, error.wait * 1000);
  return undefined;
}

// ---- from the service to the page --------------------------------------------------------------------------------

function showHits(found, isMore, took) {
  const focused = at.results.contains(document.activeElement) && document.activeElement.closest(".hit").dataset.id;
  hits = [];
  at.results.replaceChildren();
  at.more.hidden = !isMore;
  at["explain-all"].hidden = !found.some(({ contributions }) => contributions?.length);
  if (!found.length) {
    if (took === undefined) return;
    whisper("No results");
    notices.noMatch({
      query: state.query, filtered: Boolean(state.filter),
      clearFilter: () => { filters.set(""); change({ filter: "" }); },
      others: collections.map(({ name }) => name).filter((name) => name !== state.collection), choose,
    });
    return;
  }
  notices.clear();
  append(found);
  // A list that is drawn anew under the reader's focus must not drop it.
  if (focused) (linkOf(focused) ?? links()[0]).focus({ preventScroll: true });
  panel.complete();
  told(took);
}

function append(fresh) {
  const first = hits.length;
  hits = [...hits, ...fresh.map((hit, place) => ({ ...hit, rank: first + place + 1 }))];
  const best = Math.max(...hits.map(({ score }) => score));
  const words = writtenForms(hits, state.query);
  at.results.append(
    ...hits.slice(first).map((hit) =>
      hitItem(hit, { best, words, explained, address: address.addressOf({ ...state, document: hit.id }), open: (one) => open(one.id) })),
  );
}

const linkOf = (id) => links().find((link) => link.closest(".hit").dataset.id === id);

function told(took) {
  const all = total && !at.more.hidden ? ` of ${total.relation === "exact" ? "" : "at least "}${grouped(total.value)}` : "";
  const count = `${at.more.hidden ? "" : "First "}${grouped(hits.length)}${all} ${hits.length === 1 ? "result" : "results"}`;
  const beginning = cut ? " for the beginning of the query, which is longer than the model reads" : "";
  tell(count + beginning, took === undefined ? "" : ` in ${took < 10 ? took.toFixed(1) : Math.round(took)} ms`);
}

const announce = debounced((text) => { at.heard.textContent = text; }, ANNOUNCE_AFTER);

/** Say it on the page at once, and to a screen reader when typing has stopped. */
function tell(text, aside = "") {
  at.status.textContent = text + aside;
  announce(text);
}

/** Say it to a screen reader only: a notice shows it. */
function whisper(text) {
  at.status.textContent = "";
  announce(text);
}

// ---- collections, modes, filters, keys ---------------------------------------------------------------------------

async function start() {
  const ticket = begin();
  filters.set(state.filter);
  at.query.value = state.query;
  try {
    const answer = await api.collections(asking.signal);
    if (ticket !== latest) return;
    finish();
    collections = answer.collections;
  } catch (error) {
    if (ticket === latest) failed(error, start);
    return;
  }
  at.collection.replaceChildren(...collections.map(({ name, health }) => make("option", { value: name }, ["damaged", "unavailable"].includes(health) ? `${name} (${health})` : name)));
  at.collection.hidden = collections.length < 2;
  if (!collections.length) return notices.noCollection();
  if (!state.collection) state = { ...state, collection: preferred() };
  else if (collections.every(({ name }) => name !== state.collection)) return noSuchCollection();
  describe();
  search();
  if (state.document) open(state.document, { step: false });
  return undefined;
}

const preferred = () => {
  const last = remembered("localStorage", "lexhound-collection");
  const usable = collections.filter(({ health }) => health !== "unavailable");
  return (usable.find(({ name }) => name === last) ?? usable[0] ?? collections[0]).name;
};

function choose(name) {
  remember("localStorage", "lexhound-collection", name);
  state = { ...state, collection: name, filter: "", mode: "", count: 0 };
  filters.set("");
  address.write(state);
  describe();
  search();
  at.query.focus();
}

/** Whether another engine keeps the collection: it has no segments, and nobody counts its values and words. */
const isElsewhere = () =>
  collections.some(({ name, segments, health }) => name === state.collection && segments === null && health !== "unavailable");

/** What goes with the collection: its modes, and its fields as filters. */
async function describe() {
  at.collection.value = state.collection;
  const { modes = [] } = collections.find(({ name }) => name === state.collection) ?? {};
  showModes(modes);
  describing.abort();
  describing = new AbortController();
  filters.offer([]);
  try {
    if (!isElsewhere()) filters.offer((await api.facets(state.collection, describing.signal)).fields);
  } catch (error) {
    // Without fields the expression can still be typed; the search itself says what is wrong.
    if (error.name !== "AbortError" && !(error instanceof api.Trouble)) throw error;
  }
  at.frame.classList.toggle("with-side", !byId("side").hidden);
  if (hits.length) recount(latest);
}

function showModes(modes) {
  at.modes.hidden = modes.length < 2;
  if (modes.length < 2) {
    if (state.mode && !modes.includes(state.mode)) state = { ...state, mode: "" };
    return;
  }
  const chosen = modes.includes(state.mode) ? state.mode : modes[0];
  at.modes.replaceChildren(
    make("legend", { class: "unseen" }, "Mode"),
    ...modes.map((mode) =>
      make(
        "label",
        {},
        make("input", { type: "radio", name: "mode", value: mode, checked: mode === chosen, onchange: () => change({ mode }) }),
        make("span", {}, mode),
      )),
  );
}

function noSuchCollection() {
  finish();
  showHits([], false);
  whisper("No such collection");
  notices.missing(state.collection, collections.map(({ name }) => name), choose);
}

function askForKey() {
  const refused = api.key.get() !== "";
  api.key.set("");
  showHits([], false);
  whisper("An API key is needed");
  notices.askForKey({
    refused,
    use: (value) => {
      api.key.set(value);
      notices.clear();
      start();
      at.query.focus();
    },
  });
}

function askForTenant() {
  const refused = api.tenant.get() !== "";
  api.tenant.set("");
  showHits([], false);
  whisper("The name of a tenant is needed");
  notices.askForTenant({
    refused,
    use: (value) => {
      api.tenant.set(value);
      notices.clear();
      start();
      at.query.focus();
    },
  });
}

// ---- one document ------------------------------------------------------------------------------------------------

const hitOf = (id) => hits.find((hit) => hit.id === id) ?? null;

const panel = new DocumentPanel(at.detail, {
  collection: () => state.collection,
  hitOf,
  words: () => writtenForms(hits, state.query),
  keyNeeded: askForKey,
  closed: () => {
    const id = state.document;
    if (!id) return; // the address has changed already: somebody went back
    state = { ...state, document: "" };
    if (history.state?.step) history.back();
    else address.write(state);
    linkOf(id)?.focus();
  },
});

function open(id, { step = true } = {}) {
  state = { ...state, document: id };
  if (step) address.write(state, { step: true });
  panel.open(id);
}

const helpDialog = byId("help");
helpDialog.addEventListener("click", (event) => {
  if (event.target === helpDialog) helpDialog.close(); // beside it
});

// ---- what people do ----------------------------------------------------------------------------------------------

const typed = debounced(() => {
  if (at.query.value === state.query) return;
  scrollTo({ top: 0, behavior: "instant" });
  change({ query: at.query.value });
}, TYPING_PAUSE);

at.query.addEventListener("input", (event) => {
  if (!event.isComposing) typed();
});
at.query.addEventListener("compositionend", () => typed());
byId("form").addEventListener("submit", (event) => {
  event.preventDefault();
  typed.now();
});
at.more.addEventListener("click", more);
at.collection.addEventListener("change", () => choose(at.collection.value));

function explainAll() {
  if (at["explain-all"].hidden) return false;
  explained = !explained;
  remember("localStorage", "lexhound-explain", explained ? "all" : "");
  at["explain-all"].setAttribute("aria-pressed", String(explained));
  for (const item of at.results.children) explain(item, explained);
  return true;
}
at["explain-all"].setAttribute("aria-pressed", String(explained));
at["explain-all"].addEventListener("click", explainAll);

function help() {
  byId("forget-key").hidden = !api.key.get() && !api.tenant.get();
  helpDialog.showModal();
  return true;
}
byId("help-button").addEventListener("click", help);
byId("forget-key").addEventListener("click", () => {
  api.key.set("");
  api.tenant.set("");
  helpDialog.close();
  start();
});

listen({
  help,
  explainAll,
  more: () => !at.more.hidden && (more(), true),
  filters: () => {
    if (byId("side").hidden) return false;
    byId("filters").open = true;
    (byId("facets").querySelector("input") ?? byId("filter")).focus();
    return true;
  },
});

addEventListener("popstate", () => {
  const before = address.addressOf({ ...state, document: "", count: 0 });
  const wasOpen = state.document;
  state = { ...state, ...address.read() };
  if (!state.collection && collections.length) state = { ...state, collection: preferred() };
  if (before !== address.addressOf({ ...state, document: "", count: 0 })) {
    at.query.value = state.query;
    filters.set(state.filter);
    describe();
    search();
  }
  if (state.document && state.document !== wasOpen) open(state.document, { step: false });
  if (!state.document) panel.close();
});

const wide = matchMedia("(min-width: 62rem)");
const unfold = () => { byId("filters").open = wide.matches; };
wide.addEventListener("change", unfold);
unfold();

offerThemes(byId("theme"));
start();
