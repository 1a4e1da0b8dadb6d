// What stands in place of results: a welcome, no results, and troubles; each says what to do next.

import { byId, grouped, make } from "./dom.js";

function show(kind, heading, ...content) {
  const box = byId("notice");
  box.className = `notice ${kind}`;
  box.replaceChildren(make("h2", {}, heading), ...content.flat().filter(Boolean));
  box.hidden = false;
}

export function clear() {
  byId("notice").hidden = true;
  byId("notice").replaceChildren();
}

const paragraph = (...parts) => make("p", {}, ...parts);
const action = (label, onclick, name = "plain") => make("button", { type: "button", class: name, onclick }, label);
const actions = (...buttons) => make("p", { class: "actions" }, ...buttons);
const quoted = (text) => make("bdi", { dir: "auto", class: "quoted" }, text);

export function welcome({ name, documents }) {
  if (documents === 0) {
    show(
      "empty",
      "Nothing to search yet",
      paragraph("The collection ", quoted(name), " holds no documents. Add some, and search them at once:"),
      make("pre", {}, `curl "${new URL(`v1/collections/${encodeURIComponent(name)}/documents?refresh=true`, document.baseURI)}" \\\n  -H 'content-type: application/json' \\\n  -d '[{"id": "1", "title": "Hello", "text": "A first document"}]'`),
    );
    return;
  }
  show(
    "welcome",
    `Search ${typeof documents === "number" ? `${grouped(documents)} documents` : "the documents"}`,
    paragraph("Type a few words in ", quoted(name), ": results come as you type, and each can tell why it matched."),
    make(
      "p",
      { class: "hints" },
      ...[["↓", "to the results"], ["Enter", "opens one"], ["→", "explains it"], ["?", "all keys"]].map(([keys, does]) =>
        make("span", {}, make("kbd", {}, keys), ` ${does}`)),
    ),
  );
}

/** Below a welcome: documents that are on their way, or that nobody has finished bringing. */
export function unfinished(name, { source, documents, running }) {
  const held = `${grouped(documents)} ${documents === 1 ? "document" : "documents"}`;
  const box = byId("notice");
  if (running) {
    box.append(
      paragraph(`An ingest job over ${source} is running (process ${running.pid}, since ${new Date(running.since * 1000).toLocaleTimeString()}): ${held} so far, which become visible when it is done.`),
    );
    return;
  }
  box.append(
    paragraph(`An ingest job over ${source} was interrupted: ${held} are kept, not yet visible. The command that began it finishes it; this drops it:`),
    make("pre", {}, `curl -X POST "${new URL(`v1/collections/${encodeURIComponent(name)}/discard-unfinished`, document.baseURI)}"`),
  );
}

export function noCollection() {
  show(
    "empty",
    "No collection yet",
    paragraph("This server has none that you may read. Create one and fill it:"),
    make("pre", {}, `curl "${new URL("v1/collections", document.baseURI)}" \\\n  -H 'content-type: application/json' -d '{"name": "my"}'`),
    paragraph("or start the server with an index: ", make("code", {}, "lexhound serve my.index")),
  );
}

export function noMatch({ query, filtered, clearFilter, others, choose }) {
  show(
    "empty",
    "No document matches",
    paragraph("Nothing was found for ", quoted(query), filtered ? " among the documents that the filter lets through." : "."),
    filtered ? null : paragraph("Check the spelling, or try other words: one word in common is enough."),
    filtered || others.length
      ? actions(
          filtered ? action("Search without the filter", clearFilter) : null,
          ...others.slice(0, 4).map((name) => action(`Search in ${name}`, () => choose(name))),
        )
      : null,
  );
}

export function missing(name, others, choose) {
  show(
    "trouble",
    "No such collection",
    paragraph("There is no collection ", quoted(name), ", or your key may not read it."),
    others.length ? actions(...others.map((other) => action(`Open ${other}`, () => choose(other)))) : null,
  );
}

function ask({ id, type, label, title, trouble, note, use }) {
  const input = make("input", {
    id, type, autocomplete: "off", required: true, spellcheck: "false", aria: { describedby: `${id}-note` },
  });
  show(
    "key",
    title,
    trouble ? make("p", { class: "trouble", role: "alert" }, trouble) : null,
    make(
      "form",
      {
        class: "key-form",
        onsubmit: (event) => {
          event.preventDefault();
          if (input.value.trim()) use(input.value.trim());
        },
      },
      make("label", { for: id }, label),
      input,
      make("button", { class: "plain primary" }, "Continue"),
    ),
    make("p", { class: "soft", id: `${id}-note` }, note),
  );
  input.focus();
}

export function askForKey({ refused, use }) {
  ask({
    id: "key", type: "password", label: "API key", title: "This server asks for an API key", use,
    trouble: refused ? "The key was not accepted. Check that it is complete and still valid." : null,
    note: "It needs the scope “read”. It is kept in this tab only, and forgotten when the tab is closed.",
  });
}

export function askForTenant({ refused, use }) {
  ask({
    id: "tenant", type: "text", label: "Tenant", title: "Whose documents?", use,
    trouble: refused ? "There is no document of this tenant. Check the name." : null,
    note: "This collection holds documents of several tenants, and each search is about one of them. The name is kept in this tab only.",
  });
}

const HEADINGS = {
  unreachable: "The server does not answer",
  busy: "The server is busy",
  unready: "Not available at the moment",
  forbidden: "This key may not do that",
  refused: "The server could not take this search",
  broken: "Something went wrong in the server",
  missing: "Not found",
};

export function trouble(error, { again, waiting, otherKey }) {
  const parts = [error.message, error.where].filter(Boolean);
  show(
    "trouble",
    HEADINGS[error.kind] ?? HEADINGS.broken,
    error.kind === "unreachable" ? null : paragraph(`${parts.join(" · ")}.`.replace(/([.!?…])\.$/u, "$1")),
    error.hint ? paragraph(sentence(error.hint)) : null,
    waiting ? paragraph(`Asking again in ${error.wait === 1 ? "a second" : `${error.wait} seconds`} …`) : null,
    actions(action("Try again", again), error.kind === "forbidden" ? action("Use another key", otherKey) : null),
    error.request ? make("p", { class: "soft" }, "Request ", make("code", {}, error.request)) : null,
  );
}

/** Hints come as clauses of command lines: here they are sentences. */
export function sentence(text) {
  const start = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?…]$/u.test(start) ? start : `${start}.`;
}
