// One document, in a panel over the results.

import { make, marked, shown } from "./dom.js";
import { flat } from "./hits.js";
import { chart } from "./why.js";

const MARKED_CHARACTERS = 200_000; // beyond this a text is shown unmarked: marking would make the panel wait

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

/** The words that the service marked in snippets, as they were written there. */
export function markedWords(hits) {
  const words = new Set();
  for (const { snippet } of hits) {
    const points = Array.from(snippet?.text ?? "");
    for (const [start, end] of snippet?.marks ?? []) words.add(points.slice(start, end).join("").toLowerCase());
  }
  return words;
}

/**
 * [start, end] in code points of these words in a text. The service marks snippets only; in the whole text the same
 * written forms are marked, as whole words where the script has any.
 */
export function places(text, words) {
  if (!words.size || text.length > MARKED_CHARACTERS) return [];
  const spaced = /^[\p{L}\p{N}\p{M}]/u;
  const unspaced = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}]/u;
  const forms = [...words]
    .sort((one, other) => other.length - one.length)
    .map((word) => {
      const literal = word.replace(/[\\^$.*+?()[\]{}|/]/gu, "\\$&");
      return unspaced.test(word) || !spaced.test(word) ? literal : `(?<![\\p{L}\\p{N}\\p{M}])${literal}(?![\\p{L}\\p{N}\\p{M}])`;
    });
  const found = [];
  let units = 0;
  let points = 0;
  for (const match of text.matchAll(new RegExp(forms.join("|"), "giu"))) {
    points += Array.from(text.slice(units, match.index)).length;
    const length = Array.from(match[0]).length;
    found.push([points, points + length]);
    points += length;
    units = match.index + match[0].length;
  }
  return found;
}
