// Filters from the metadata's own values: boxes for texts, from-to for numbers, and the expression that they write.

import { debounced, grouped, make } from "./dom.js";
import { choicesOf, expressionOf, howMany, nothing } from "./filter.js";

const FIRST = 6;
const OPEN_FIELDS = 5;

/** The panel. `changed` is called with the new expression. */
export class Filters {
  #parts;
  #choices = nothing();
  #fields = [];
  #changed;
  #unfolded = new Set();
  #counts = null;
  #amounts = [];

  constructor({ panel, box, facets, text, count, clear, trouble }, changed) {
    this.#parts = { panel, box, facets, text, count, clear, trouble };
    this.#changed = changed;
    const typed = debounced(() => this.#typed(), 350);
    text.addEventListener("input", () => {
      this.complain(null);
      typed();
    });
    text.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.isComposing) return;
      event.preventDefault(); // an expression is one line, however it wraps
      typed.now();
    });
    clear.addEventListener("click", () => {
      this.set("");
      this.#changed("");
      text.focus();
    });
  }

  /** Show what another state chose. */
  set(expression) {
    this.#choices = choicesOf(expression);
    this.#parts.text.value = expression;
    this.complain(null);
    this.#draw();
  }

  /** Show the fields of a collection, as the service counts them. */
  offer(fields) {
    // Fields that most documents have come first, and of those the ones that take least space; fields of a few stray
    // documents must not push them away.
    this.#fields = fields.filter(useful).sort((one, other) => other.documents - one.documents || rows(one) - rows(other));
    this.#unfolded.clear();
    if (!fields.length) this.#counts = null;
    this.#draw();
  }

  /** Show how many of a query's hits have each value, from its fields as the service counts them; null for all. */
  recount(fields) {
    this.#counts = fields && new Map(fields.map(({ field, values }) => [field, new Map(values.map(({ value, count }) => [value, count]))]));
    for (const { span, field, value, count } of this.#amounts) span.textContent = grouped(this.#counted(field, value, count));
  }

  #counted(field, value, count) {
    return this.#counts ? (this.#counts.get(field)?.get(value) ?? 0) : count;
  }

  #amount(field, value, count) {
    const span = make("span", { class: "amount" }, grouped(this.#counted(field, value, count)));
    this.#amounts.push({ span, field, value, count });
    return span;
  }

  /** Say at the expression what is wrong with it. */
  complain(message) {
    const { text, trouble, box } = this.#parts;
    trouble.textContent = message ?? "";
    trouble.hidden = !message;
    if (message) {
      text.setAttribute("aria-invalid", "true");
      box.open = true;
    } else text.removeAttribute("aria-invalid");
  }

  #typed() {
    const expression = this.#parts.text.value.trim();
    this.#choices = choicesOf(expression);
    this.#draw();
    this.#changed(expression);
  }

  #chosen() {
    const expression = expressionOf(this.#choices);
    this.#choices = choicesOf(expression);
    this.#parts.text.value = expression;
    this.complain(null);
    this.#summary();
    this.#changed(expression);
  }

  #draw() {
    const { panel, facets, text } = this.#parts;
    const focused = facets.contains(document.activeElement) ? document.activeElement.id : "";
    this.#amounts = [];
    const open = new Map([...facets.querySelectorAll("details")].map((box) => [box.dataset.field, box.open]));
    facets.replaceChildren(
      ...this.#fields.map((facet, at) => {
        const chosen = this.#choices.values.has(facet.field) || this.#choices.ranges.has(facet.field);
        const group = make(
          "details",
          { class: "facet", data: { field: facet.field }, open: open.get(facet.field) ?? (chosen || at < OPEN_FIELDS) },
          make("summary", {}, make("bdi", {}, facet.field)),
          make(
            "fieldset",
            {},
            make("legend", { class: "unseen" }, facet.field),
            isRange(facet) ? this.#range(facet, at) : this.#boxes(facet, at),
          ),
        );
        return group;
      }),
    );
    panel.hidden = !this.#fields.length && !text.value;
    if (focused) document.getElementById(focused)?.focus();
    this.#summary();
  }

  #summary() {
    const { count, clear, text } = this.#parts;
    const conditions = howMany(this.#choices);
    count.hidden = conditions === 0;
    count.textContent = String(conditions);
    count.setAttribute("aria-label", `${conditions} set`);
    clear.hidden = text.value.trim() === "";
  }

  #boxes({ field, values }, at) {
    const chosen = this.#choices.values.get(field) ?? new Set();
    const counted = new Map(values.map(({ value, count }) => [value, count]));
    for (const value of chosen) if (!counted.has(value)) counted.set(value, null);
    const all = [...counted];
    const folded = !this.#unfolded.has(field) && all.length > FIRST + 1;
    const shown = folded ? all.filter(([value], place) => place < FIRST || chosen.has(value)) : all;
    const list = make(
      "ul",
      {},
      ...shown.map(([value, count], place) =>
        make(
          "li",
          {},
          make(
            "label",
            { class: "box" },
            make("input", {
              type: "checkbox",
              id: `facet-${at}-${place}`,
              checked: chosen.has(value),
              onchange: (event) => this.#tick(field, value, event.target.checked),
            }),
            make("bdi", { dir: "auto", title: String(value) }, value === "" ? "(empty)" : String(value)),
            count === null ? null : this.#amount(field, value, count),
          ),
        ),
      ),
    );
    if (!folded) return list;
    const more = make(
      "button",
      {
        type: "button",
        class: "quiet",
        onclick: () => {
          this.#unfolded.add(field);
          this.#draw();
          document.getElementById(`facet-${at}-${FIRST}`)?.focus();
        },
      },
      `${grouped(all.length - shown.length)} more`,
    );
    return [list, more];
  }

  #tick(field, value, on) {
    const chosen = new Set(this.#choices.values.get(field) ?? []);
    if (on) chosen.add(value);
    else chosen.delete(value);
    if (chosen.size) this.#choices.values.set(field, chosen);
    else this.#choices.values.delete(field);
    this.#chosen();
  }

  #range({ field, min, max }, at) {
    const { min: from, max: to } = this.#choices.ranges.get(field) ?? { min: "", max: "" };
    const end = (name, label, value, hint) =>
      make(
        "label",
        {},
        make("span", {}, label),
        make("input", {
          type: "number",
          id: `facet-${at}-${name}`,
          step: "any",
          value,
          placeholder: hint ?? "",
          inputmode: (typeof min === "bigint" || Number.isInteger(min)) && min >= 0 ? "numeric" : null,
          oninput: (event) => {
            if (event.target.validity.badInput) return; // "-" on the way to "-3"
            const range = this.#choices.ranges.get(field) ?? { min: "", max: "" };
            this.#choices.ranges.set(field, { ...range, [name]: plain(event.target.value) });
            this.#later();
          },
        }),
      );
    return make("div", { class: "range" }, end("min", "from", from, min), end("max", "to", to, max));
  }

  #later = debounced(() => this.#chosen(), 250);
}

/** What browsers let stand in number fields and expressions do not: "1." */
const plain = (text) => text.replace(/\.$/u, "");

/** Two numbers, such as the 0 and 1 of false and true, are better ticked. */
const isRange = ({ kind, values }) => kind === "number" && values.length > 2;

/** How much room a field takes; a range about as much as a few boxes. */
const rows = (facet) => (isRange(facet) ? 5 : facet.values.length);

/** Fields that nobody would filter by are left out: those of which (nearly) every document has a value of its own. */
function useful({ kind, values, min, max }) {
  if (kind === "number") return min !== max;
  return values.length > 0 && !(values.length >= 20 && values.every(({ count }) => count === 1));
}
