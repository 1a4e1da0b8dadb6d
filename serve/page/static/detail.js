// One document, in a panel over the results.

import * as api from "./api.js";
import { byId, make, marked, shown } from "./dom.js";
import { flat } from "./hits.js";
import { places } from "./marks.js";
import { sentence } from "./notices.js";
import { chart } from "./why.js";

/** The panel of one document at a time. */
export class DocumentPanel {
  #element;
  #around;
  #shown = null; // what is drawn: id, document, hit, trouble
  #reading = new AbortController();

  /**
   * `around` is what the panel needs to know: `collection()`; `hitOf(id)`, the hit or null; `words()`, to mark; and
   * whom to tell: `keyNeeded()`, `closed()`.
   */
  constructor(element, around) {
    this.#element = element;
    this.#around = around;
    element.addEventListener("click", (event) => {
      if (event.target === element) element.close(); // beside it
    });
    element.addEventListener("close", () => {
      this.#reading.abort();
      around.closed();
    });
  }

  /** Show a document: what its hit says at once, the rest when it has come. */
  async open(id) {
    this.#reading.abort();
    this.#reading = new AbortController();
    const { signal } = this.#reading;
    this.#draw({ id, document: null, hit: this.#around.hitOf(id), trouble: "" });
    if (!this.#element.open) this.#element.showModal();
    byId("close-detail").focus();
    try {
      const stored = await api.documentOf(this.#around.collection(), id, signal);
      if (!signal.aborted) this.#draw({ document: stored });
    } catch (error) {
      if (error.name === "AbortError") return;
      if (!(error instanceof api.Trouble)) throw error;
      if (error.kind === "key") {
        this.close();
        this.#around.keyNeeded();
      } else this.#draw({ trouble: [error.message, error.hint].filter(Boolean).map(sentence).join(" ") });
    }
  }

  /** Add what the hit says, where an address named a document before the search for it was done. */
  complete() {
    if (!this.#element.open || this.#shown.hit) return;
    const hit = this.#around.hitOf(this.#shown.id);
    if (hit) this.#draw({ hit });
  }

  close() {
    if (this.#element.open) this.#element.close();
  }

  #draw(parts) {
    this.#shown = { ...this.#shown, ...parts };
    const focused = this.#element.contains(document.activeElement);
    const scrolled = this.#element.querySelector(".scroll")?.scrollTop ?? 0;
    fill(this.#element, { ...this.#shown, words: this.#around.words() });
    if ("id" in parts) return;
    this.#element.querySelector(".scroll").scrollTop = scrolled;
    if (focused) byId("close-detail").focus();
  }
}

async function copyLink(event) {
  const button = event.currentTarget;
  await navigator.clipboard.writeText(location.href);
  button.textContent = "Copied";
}

function fill(panel, { id, document: stored, hit, words, trouble }) {
  const title = stored?.title || hit?.title || id;
  panel.replaceChildren(
    make(
      "header",
      {},
      make("p", { class: "id" }, make("bdi", {}, id)),
      navigator.clipboard ? make("button", { type: "button", class: "quiet", onclick: copyLink }, "Copy link") : null,
      make("button", { type: "button", class: "icon", id: "close-detail", aria: { label: "Close" }, title: "Close (Esc)", onclick: () => panel.close() }, "×"),
    ),
    make(
      "div",
      { class: "scroll", tabindex: "0", role: "region", aria: { labelledby: "detail-title" } },
      make("h2", { id: "detail-title", dir: "auto" }, title),
      trouble ? make("p", { class: "trouble", role: "alert" }, trouble) : null,
      stored === null && !trouble ? make("p", { class: "soft" }, "Loading the document …") : null,
      stored ? make("div", { class: "text", dir: "auto" }, ...marked(stored.text ?? "", places(stored.text ?? "", words))) : null,
      facts(stored?.metadata ?? hit?.metadata ?? {}),
      hit?.contributions?.length
        ? make(
            "section",
            { class: "reasons" },
            make("h3", {}, "Why it matched ", make("span", { class: "score" }, shown(hit.score))),
            chart(hit.contributions),
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
