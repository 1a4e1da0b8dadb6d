// Filter expressions, as far as boxes and ranges can show them.
//
// An expression is taken as conditions joined by a top-level "and". Conditions of the shapes that the panel writes
// itself (field = value, field in (...), field >= number, field <= number) become choices; every other condition stays
// as it was typed and is carried along, so that boxes can be ticked beside an expression written by hand.

import { whole } from "./exact.js";

const TOKEN = /\s*(?:(?<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(?<number>[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?(?![\w.-]))|(?<sign>==|!=|<=|>=|[=<>(),])|(?<name>`(?:[^`]|``)*`|[\p{L}\p{Nl}_][\p{L}\p{N}\p{M}_]*(?:[.-][\p{L}\p{N}\p{M}_]+)*))/suy;
const WORDS = new Set(["and", "or", "not", "in", "exists", "true", "false"]);
const PLAIN = /^[\p{L}_][\p{L}\p{Nd}_]*(?:[.-][\p{L}\p{Nd}_]+)*$/u;

/** No choice at all. `values` maps a field to a Set of strings, numbers and BigInts, `ranges` to {min, max} as typed. */
export const nothing = () => ({ values: new Map(), ranges: new Map(), rest: [] });

/** The choices that an expression amounts to. What cannot be read becomes one condition, as it stands. */
export function choicesOf(text) {
  const choices = nothing();
  if (!text.trim()) return choices;
  const tokens = tokensOf(text);
  const conditions = tokens && conditionsOf(tokens, text);
  if (!conditions) {
    choices.rest.push({ text: text.trim(), tidy: false });
    return choices;
  }
  for (const condition of conditions) {
    if (!take(condition.tokens, choices)) choices.rest.push({ text: condition.text, tidy: conditions.length > 1 });
  }
  return choices;
}

/** The expression that says what the choices say. */
export function expressionOf({ values, ranges, rest }) {
  const parts = [];
  for (const [field, chosen] of values) {
    const list = [...chosen].map(written);
    if (list.length === 1) parts.push(`${named(field)} = ${list[0]}`);
    else if (list.length) parts.push(`${named(field)} in (${list.join(", ")})`);
  }
  for (const [field, { min, max }] of ranges) {
    if (min !== "") parts.push(`${named(field)} >= ${min}`);
    if (max !== "") parts.push(`${named(field)} <= ${max}`);
  }
  const alone = parts.length === 0 && rest.length === 1;
  return [...parts, ...rest.map(({ text, tidy }) => (tidy || alone ? text : `(${text})`))].join(" and ");
}

/** How many conditions stand. */
export const howMany = ({ values, ranges, rest }) =>
  [...values.values()].filter((chosen) => chosen.size).length +
  [...ranges.values()].filter(({ min, max }) => min !== "" || max !== "").length +
  rest.length;

/** A field's name as expressions write it. */
export const named = (field) =>
  PLAIN.test(field) && !WORDS.has(field.toLowerCase()) ? field : `\`${field.replaceAll("`", "``")}\``;

/** A value as expressions write it. */
export function written(value) {
  if (typeof value === "string") return `"${value.replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"`;
  // A Number beyond 2^53 is a floating-point number that happens to be whole, and is written as one.
  return Number.isInteger(value) && !Number.isSafeInteger(value) ? value.toExponential() : String(value);
}

function tokensOf(text) {
  const tokens = [];
  TOKEN.lastIndex = 0;
  let depth = 0;
  while (text.slice(TOKEN.lastIndex).trim()) {
    const match = TOKEN.exec(text);
    if (!match) return null;
    const [kind, raw] = Object.entries(match.groups).find(([, found]) => found !== undefined);
    depth += raw === "(" ? 1 : raw === ")" ? -1 : 0;
    const word = kind === "name" && WORDS.has(raw.toLowerCase()) ? raw.toLowerCase() : null;
    tokens.push({ kind: word ? "word" : kind, raw: word ?? raw, depth, start: TOKEN.lastIndex - raw.length, end: TOKEN.lastIndex });
    if (depth < 0) return null;
  }
  return depth === 0 ? tokens : null;
}

/** Top-level conditions, or null where a top-level "or" makes the expression one. */
function conditionsOf(tokens, text) {
  const conditions = [[]];
  for (const token of tokens) {
    if (token.kind === "word" && token.depth === 0 && token.raw === "or") return null;
    if (token.kind === "word" && token.depth === 0 && token.raw === "and") conditions.push([]);
    else conditions.at(-1).push(token);
  }
  if (conditions.some((part) => part.length === 0)) return null;
  return conditions.map((part) => ({ tokens: part, text: text.slice(part[0].start, part.at(-1).end) }));
}

/** Put a condition among the choices if it has one of their shapes and says nothing else about the field. */
function take(tokens, choices) {
  if (tokens[0].kind !== "name") return false;
  const field = fieldOf(tokens[0].raw);
  const sign = tokens[1]?.raw;
  if (tokens.length === 3 && (sign === "=" || sign === "==")) {
    const value = valueOf(tokens[2]);
    if (value === undefined || choices.values.has(field)) return false;
    choices.values.set(field, new Set([value]));
    return true;
  }
  if (tokens.length === 3 && (sign === ">=" || sign === "<=") && tokens[2].kind === "number") {
    const range = choices.ranges.get(field) ?? { min: "", max: "" };
    const end = sign === ">=" ? "min" : "max";
    if (range[end] !== "") return false;
    choices.ranges.set(field, { ...range, [end]: tokens[2].raw });
    return true;
  }
  if (sign === "in" && tokens[2]?.raw === "(" && tokens.at(-1).raw === ")" && !choices.values.has(field)) {
    const list = tokens.slice(3, -1);
    const values = list.filter((_, at) => at % 2 === 0).map(valueOf);
    const commas = list.filter((_, at) => at % 2 === 1);
    if (list.length % 2 === 0 || values.includes(undefined) || commas.some(({ raw }) => raw !== ",")) return false;
    choices.values.set(field, new Set(values));
    return true;
  }
  return false;
}

const fieldOf = (raw) => (raw.startsWith("`") ? raw.slice(1, -1).replaceAll("``", "`") : raw);

/** A token's value; undefined where a box could not stand for exactly it. */
function valueOf(token) {
  if (token.kind === "string") return unescaped(token.raw.slice(1, -1));
  if (token.kind === "word" && (token.raw === "true" || token.raw === "false")) return Number(token.raw === "true");
  if (token.kind !== "number") return undefined;
  const number = whole(token.raw) ?? Number(token.raw);
  if (typeof number === "bigint") return BigInt.asIntN(64, number) === number ? number : undefined;
  return Number.isFinite(number) ? number : undefined;
}

function unescaped(text) {
  const meant = { n: "\n", t: "\t", "\\": "\\", '"': '"', "'": "'" };
  let wrong = false;
  const plain = text.replace(/\\(.)/gsu, (_, character) => meant[character] ?? ((wrong = true), ""));
  return wrong ? undefined : plain;
}
