// What is looked at, in the address: it can be shared, reloaded, and gone back to.

const PARTS = { query: "q", collection: "c", mode: "mode", filter: "filter", document: "doc" };

/** The state that an address names. `count` is how many hits to load. */
export function read(search = location.search) {
  const parameters = new URLSearchParams(search);
  const state = {};
  for (const [part, name] of Object.entries(PARTS)) state[part] = parameters.get(name) ?? "";
  const count = Number(parameters.get("n"));
  state.count = Number.isInteger(count) && count > 0 ? Math.min(count, 100) : 0;
  return state;
}

/** The address of a state, relative to this page. */
export function addressOf(state) {
  const parameters = new URLSearchParams();
  for (const [part, name] of Object.entries(PARTS)) if (state[part]) parameters.set(name, state[part]);
  if (state.count) parameters.set("n", String(state.count));
  const text = parameters.toString();
  return text ? `?${text}` : "./";
}

/** Put the state into the address: typing replaces it, steps that one goes back from add to the history. */
export function write(state, { step = false } = {}) {
  const address = addressOf(state);
  if ((location.search || "./") === address) return;
  if (step) history.pushState({ step: true }, "", address);
  else history.replaceState(history.state, "", address);
}
