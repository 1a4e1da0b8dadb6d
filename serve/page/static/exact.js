// JSON as the service means it: whole numbers that a Number cannot tell from their neighbours become BigInt, so that
// each is shown, and filtered by, as it is.

const TOKEN = /"[^"\\]*(?:\\.[^"\\]*)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/gsu;
const WHOLE = /^[+-]?\d+$/u;
// What stands for such a number until the text is parsed; nobody who writes a document can know it.
const MARK = [...crypto.getRandomValues(new Uint32Array(4))].join("-");

/** The value that a text of JSON writes. */
export function parse(text) {
  if (!/\d{16}/u.test(text)) return JSON.parse(text);
  const marked = text.replace(TOKEN, (token) => (typeof whole(token) === "bigint" ? `{"${MARK}":"${token}"}` : token));
  return JSON.parse(marked, (_, value) => (value?.[MARK] === undefined ? value : BigInt(value[MARK])));
}

/** A whole number as it is written: a Number where that is exact, else a BigInt; undefined for anything else. */
export function whole(text) {
  if (!WHOLE.test(text)) return undefined;
  return Number.isSafeInteger(Number(text)) ? Number(text) : BigInt(text);
}
