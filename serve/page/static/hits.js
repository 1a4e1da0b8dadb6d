// The list of hits.

import { byId, make, marked, shown } from "./dom.js";
import { places } from "./marks.js";
import { chart, setOpen, strip, terms } from "./why.js";

const CHIPS = 4;
const CHIP_CHARACTERS = 40;

/**
 * One hit. `context`: `best`, the score that bars are measured against; `words`, to mark in the title; `address`, of
 * its document; `open`, called with the hit to show its document; `explained`, whether its explanation starts open.
 */
export function hitItem(hit, { best, words, address, open, explained }) {
  const number = hit.rank;
  const why = hit.contributions?.length ? whyMatched(hit, `why-${number}`, best, explained) : null;
  return make(
    "li",
    { class: "hit", data: { id: hit.id } },
    make(
      "article",
      { aria: { labelledby: `title-${number}` } },
      make(
        "div",
        { class: "head" },
        make(
          "h2",
          { id: `title-${number}`, dir: "auto" },
          make(
            "a",
            {
              href: address,
              onclick: (event) => {
                if (event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
                event.preventDefault();
                open(hit);
              },
            },
            ...(hit.title ? marked(hit.title, places(hit.title, words)) : [hit.id]),
          ),
        ),
        make("span", { class: "score", title: "Score" }, make("span", { class: "unseen" }, "Score "), shown(hit.score)),
      ),
      hit.snippet?.text
        ? make("p", { class: "snippet", dir: "auto" }, ...marked(hit.snippet.text, hit.snippet.marks))
        : null,
      facts(hit),
      why,
    ),
  );
}

function facts(hit) {
  const pairs = flat(hit.metadata ?? {});
  const short = pairs.filter(([, value]) => String(value).length <= CHIP_CHARACTERS).slice(0, CHIPS);
  const name = hit.title ? make("li", { class: "id" }, make("bdi", {}, hit.id)) : null;
  const passage = hit.passage ? make("li", {}, make("span", { class: "field-name" }, "passage"), ` ${hit.passage.number + 1}`) : null;
  if (!name && !passage && !short.length) return null;
  return make(
    "ul",
    { class: "facts", aria: { label: "Facts" } },
    name,
    passage,
    ...short.map(([field, value]) =>
      make("li", {}, make("span", { class: "field-name" }, field), " ", make("bdi", { dir: "auto" }, String(value)))),
  );
}

/** [field, value] of metadata: nested names joined by dots, each element of a list on its own. */
export function flat(metadata, prefix = "") {
  return Object.entries(metadata).flatMap(([name, value]) => {
    const field = prefix + name;
    const values = Array.isArray(value) ? value.flat(Infinity) : [value];
    return values.flatMap((one) => {
      if (one === null || one === undefined) return [];
      return typeof one === "object" ? flat(one, `${field}.`) : [[field, one]];
    });
  });
}

function whyMatched(hit, id, best, explained) {
  const region = make("div", { id, class: "why", hidden: !explained });
  const draw = () => region.childElementCount || region.append(chart(hit.contributions, { caption: `Why ${hit.title || hit.id} matched` }));
  if (explained) draw();
  const count = terms(hit.contributions);
  const dense = hit.contributions.some(({ kind }) => kind === "dense");
  const amount = [count || !dense ? `${count} ${count === 1 ? "term" : "terms"}` : "", dense ? "dense vectors" : ""].filter(Boolean).join(" and ");
  const button = make(
    "button",
    {
      type: "button",
      class: "opener",
      aria: { expanded: String(Boolean(explained)), controls: id },
      onclick: () => {
        draw();
        setOpen(button, button.getAttribute("aria-expanded") !== "true");
      },
    },
    strip(hit.contributions, hit.score, best),
    make("span", { class: "label" }, "Why it matched"),
    make("span", { class: "amount" }, amount),
  );
  return [button, region];
}

/** Open or close the explanation of the hit around an element; undefined turns it over. */
export function explain(element, open) {
  const button = element.closest(".hit")?.querySelector(".opener");
  if (button && (open === undefined || (button.getAttribute("aria-expanded") === "true") !== open)) button.click();
}

/** The titles' links, in order: what the arrow keys move over. */
export const links = () => [...byId("results").querySelectorAll(".hit h2 a")];
