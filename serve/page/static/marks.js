// Which words to mark outside of snippets: the service marks snippets only.

const MARKED_CHARACTERS = 200_000; // beyond this a text is shown unmarked: marking would make the page wait

/**
 * The words to mark, as they are written: those that the service marked in the snippets of hits, and those of the query
 * that begin with one of its terms (terms are stems: "hyperson").
 */
export function writtenForms(hits, query) {
  const forms = new Set();
  const terms = new Set();
  for (const { snippet, contributions } of hits) {
    const points = Array.from(snippet?.text ?? "");
    for (const [start, end] of snippet?.marks ?? []) forms.add(points.slice(start, end).join("").toLowerCase());
    for (const { term, typed } of contributions ?? []) if (typed !== false && term.length > 1) terms.add(term);
  }
  for (const word of query.toLowerCase().match(/[\p{L}\p{N}\p{M}]+/gu) ?? []) {
    if ([...terms].some((term) => word.startsWith(term))) forms.add(word);
  }
  return forms;
}

/**
 * [start, end] in code points of these words in a text: as whole words, where the script has any.
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
