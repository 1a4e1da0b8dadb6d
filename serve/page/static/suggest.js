// What the query may become: its misspelt words put right, its last word completed.

import * as api from "./api.js";
import { make } from "./dom.js";

const SHOWN = 5;

/** Two lines of buttons above the results. `choose` is called with the query that was taken. */
export class Suggestions {
  constructor({ meant, completions, query }, choose) {
    Object.assign(this, { meant, completions, query, choose });
    this.asking = new AbortController();
    // As in an address bar: at the end of what is typed, the arrow takes the first completion.
    query.addEventListener("keydown", (event) => {
      const first = this.completions.querySelector("button");
      if (event.key !== "ArrowRight" || !first || query.selectionStart !== query.value.length) return;
      event.preventDefault();
      first.click();
    });
  }

  /** Ask for the suggestions of a query; of no collection there are none. */
  async ask(collection, query, filter) {
    this.asking.abort();
    this.asking = new AbortController();
    if (!collection || !query.trim()) return this.show({ completions: [] });
    try {
      this.show(await api.suggest(collection, query, filter, this.asking.signal));
    } catch (error) {
      if (error.name === "AbortError") return undefined;
      if (!(error instanceof api.Trouble)) throw error;
      this.show({ completions: [] });
    }
    return undefined;
  }

  show({ did_you_mean: meant, completions }) {
    this.meant.hidden = !meant;
    this.meant.replaceChildren(...(meant ? ["Did you mean ", this.button(meant), "?"] : []));
    this.completions.hidden = !completions.length;
    this.completions.replaceChildren(...completions.slice(0, SHOWN).map((text) => this.button(text)));
  }

  button(text) {
    return make("button", { type: "button", class: "quiet", dir: "auto", onclick: () => this.choose(text) }, text);
  }
}
