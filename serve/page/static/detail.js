// One document, in a panel over the results.

import { make, marked, shown } from "./dom.js";
import { flat } from "./hits.js";
import { places } from "./marks.js";
import { chart } from "./why.js";

/** Fill the panel. `document` is the stored one, or null while it is under way; `hit` the hit, or null. */
export function fill(panel, { id, document: stored, hit, words, trouble, close, copy }) {
  const title = stored?.title || hit?.title || id;
  panel.replaceChildren(
    make(
      "header",
      {},
      make("p", { class: "id" }, make("bdi", {}, id)),
      make("button", { type: "button", class: "quiet", onclick: copy }, "Copy link"),
      make("button", { type: "button", class: "icon", id: "close-detail", aria: { label: "Close" }, title: "Close (Esc)", onclick: close }, "×"),
    ),
    make(
      "div",
      { class: "scroll", tabindex: "0", role: "region", aria: { labelledby: "detail-title" } },
      make("h2", { id: "detail-title", dir: "auto" }, title),
      trouble ? make("p", { class: "trouble", role: "alert" }, trouble) : null,
      stored === null && !trouble ? make("p", { class: "soft" }, "Loading the document …") : null,
      stored ? make("div", { class: "text", dir: "auto" }, ...marked(stored.text ?? "", places(stored.text ?? "", words))) : null,
      facts(stored?.metadata ?? hit?.metadata ?? {}),
      hit?.explanation?.length
        ? make(
            "section",
            { class: "reasons" },
            make("h3", {}, "Why it matched ", make("span", { class: "score" }, shown(hit.score))),
            chart(hit.explanation),
          )
        : null,
    ),
  );
}

function facts(metadata) {
  const pairs = flat(metadata);
  if (!pairs.length) return null;
  const fields = Map.groupBy ? Map.groupBy(pairs, ([field]) => field) : grouped(pairs);
  return make(
    "dl",
    { class: "metadata" },
    ...[...fields].map(([field, found]) =>
      make(
        "div",
        {},
        make("dt", {}, make("bdi", {}, field)),
        ...found.map(([, value]) => make("dd", { dir: "auto" }, String(value))),
      ),
    ),
  );
}

function grouped(pairs) {
  const fields = new Map();
  for (const pair of pairs) fields.set(pair[0], [...(fields.get(pair[0]) ?? []), pair]);
  return fields;
}
