// Why a hit matched: its terms, what each gave to the score, and which of them nobody typed.

import { byId, grouped, make, shown } from "./dom.js";

const FIRST = 8;

const added = (part) => part.typed === false || part.in_text === false;
const kindOf = (part) => (added(part) ? "added" : "typed");

/** Whose words a model added the term to; empty for a term of the query that stands in the text. */
const expansion = (part) =>
  part.synonym_of ? `by the synonym of ${part.synonym_of}` : [["query", part.typed], ["document", part.in_text]].filter(([, own]) => own === false).map(([side]) => `of the ${side}`).join(" and ");

/** How many of the parts are terms: dense vectors are none. */
export const terms = (parts) => parts.filter(({ kind }) => kind === "term").length;

const heaviestFirst = (contributions) => [...contributions].sort((one, other) => other.score - one.score);

/**
 * A score as a thin bar: as long as the score is large beside the best one, cut into what its terms gave.
 * Decoration: everything it shows stands in the table that it opens.
 */
export function strip(contributions, score, best) {
  const bar = make("span", { class: "strip", aria: { hidden: "true" } });
  const whole = make("span", { class: "whole" });
  whole.style.width = `${best > 0 ? Math.max(2, (100 * score) / best) : 0}%`;
  for (const part of heaviestFirst(contributions)) {
    const piece = make("span", { class: `piece ${kindOf(part)}` });
    piece.style.flexGrow = String(Math.max(part.score, 0));
    whole.append(piece);
  }
  bar.append(whole);
  return bar;
}

/** The bar chart, as a table that can be read out. `terms` is how many rows to show before the rest is folded. */
export function chart(contributions, { caption = "Why it matched", all = false } = {}) {
  const parts = heaviestFirst(contributions);
  const mixed = parts.some(added);
  const most = Math.max(...parts.map((part) => part.score), Number.MIN_VALUE);
  const body = make("tbody");
  const folded = all || parts.length <= FIRST + 1 ? [] : parts.slice(FIRST);
  for (const part of parts.slice(0, parts.length - folded.length)) body.append(row(part, most, mixed));
  const table = make(
    "table",
    { class: "terms" },
    make("caption", { class: "unseen" }, caption),
    make("colgroup", {}, ...["name", "track", "given", "weights"].map((name) => make("col", { class: name }))),
    make(
      "thead",
      { class: "unseen" },
      make("tr", {}, ...["Term", "Share", "Given to the score", "Query weight × document weight × fusion"].map((name) =>
        make("th", { scope: "col" }, name))),
    ),
    body,
  );
  const box = make("div", { class: "chart" }, mixed ? legend() : null, table);
  if (folded.length) box.append(unfolder(folded, body, most, mixed));
  return box;
}

function row(part, most, mixed) {
  const kind = kindOf(part);
  const bar = make("span", { class: `bar ${kind}`, aria: { hidden: "true" } });
  bar.style.width = `${Math.max(0.5, (100 * Math.max(part.score, 0)) / most)}%`;
  return make(
    "tr",
    { class: kind },
    make(
      "th",
      { scope: "row" },
      mixed ? make("span", { class: `sign ${kind}`, aria: { hidden: "true" } }) : null,
      make("bdi", { class: "term", dir: "auto", title: added(part) ? `${part.term}: expansion ${expansion(part)}` : part.term }, part.term),
      mixed ? make("span", { class: "unseen" }, kind === "added" ? ` (expansion ${expansion(part)})` : " (typed)") : null,
    ),
    make("td", { class: "track" }, bar),
    make("td", { class: "given" }, shown(part.score)),
    make("td", { class: "weights" }, [shown(part.query_weight), shown(part.document_weight), ...(part.factor === 1 ? [] : [Number(part.factor.toPrecision(3))])].join(" × ")),
  );
}

const legend = () =>
  make(
    "p",
    { class: "legend", aria: { hidden: "true" } },
    make("span", {}, make("span", { class: "sign typed" }), "typed"),
    make("span", {}, make("span", { class: "sign added" }), "added by the model (expansion)"),
  );

function unfolder(folded, body, most, mixed) {
  const sum = folded.reduce((total, part) => total + part.score, 0);
  const button = make(
    "button",
    {
      type: "button",
      class: "quiet",
      onclick: () => {
        const rows = folded.map((part) => row(part, most, mixed));
        body.append(...rows);
        rows[0].querySelector("th").tabIndex = -1;
        rows[0].querySelector("th").focus({ preventScroll: true });
        button.remove();
      },
    },
    `${grouped(terms(folded))} more terms, together ${shown(sum)}`,
  );
  return button;
}

/** The state of a hit's explanation, on its button and its region. */
export function setOpen(button, open) {
  button.setAttribute("aria-expanded", String(open));
  byId(button.getAttribute("aria-controls")).hidden = !open;
}
