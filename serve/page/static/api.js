// Asking the service. Addresses are relative, so that a proxy may put everything under a path of its own.

import { parse } from "./exact.js";
import { remember, remembered } from "./storage.js";

const KEY = "lexhound-key";
const TENANT = "lexhound-tenant";

/** An answer that is no result: `kind` says what can be done about it. */
export class Trouble extends Error {
  constructor(kind, { message, hint = "", where = "", code = "", request = "", wait = 0, status = 0 }) {
    super(message);
    Object.assign(this, { kind, hint, where, code, request, wait, status });
  }
}

/** The API key: kept until the browser's tab is closed. */
export const key = {
  get: () => remembered("sessionStorage", KEY),
  set: (value) => remember("sessionStorage", KEY, value),
};

/** The tenant whose documents are asked for, of collections with tenants: kept as the key is. */
export const tenant = {
  get: () => remembered("sessionStorage", TENANT),
  set: (value) => remember("sessionStorage", TENANT, value),
};

const at = (collection, rest) => `v1/collections/${encodeURIComponent(collection)}${rest}`;

export const collections = (signal) => ask("v1/collections", { signal });
export const describe = (collection, signal) => ask(at(collection, ""), { signal });
export const facets = (collection, signal) => ask(at(collection, "/facets?limit=40"), { signal });
/** The same, counted among the best hits of a query. */
export const facetsOf = (collection, query, signal) =>
  ask(at(collection, `/facets?limit=1000&q=${encodeURIComponent(query)}`), { signal });
export const documentOf = (collection, id, signal) =>
  ask(at(collection, `/documents/${encodeURIComponent(id)}`), { signal });
export const suggest = (collection, query, filter, signal) =>
  ask(at(collection, `/suggest?${new URLSearchParams({ q: query, ...(filter ? { filter } : {}) })}`), { signal });
export const search = (collection, body, signal) => ask(at(collection, "/search"), { body, signal });

async function ask(path, { body, signal }) {
  const headers = { accept: "application/json" };
  if (body) headers["content-type"] = "application/json";
  if (key.get()) headers.authorization = `Bearer ${key.get()}`;
  if (tenant.get() && path.startsWith("v1/collections/")) headers["x-tenant"] = encodeURIComponent(tenant.get());
  let answer;
  try {
    answer = await fetch(path, { method: body ? "POST" : "GET", headers, body: body && JSON.stringify(body), signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Trouble("unreachable", {
      message: "The server does not answer",
      hint: "Check that it is running and that you are connected; what you typed is kept.",
    });
  }
  if (answer.ok) return parse(await answer.text());
  throw await troubleOf(answer);
}

async function troubleOf(answer) {
  let told = {};
  try {
    told = (await answer.json()).error ?? {};
  } catch (error) {
    if (error.name === "AbortError") throw error; // else: a proxy's own page, which has nothing to tell
  }
  const kind =
    { tenant_required: "tenant", tenant: "no-tenants", unknown_tenant: "tenant" }[told.code] ??
    { 401: "key", 403: "forbidden", 404: "missing", 429: "busy", 503: "unready" }[answer.status] ??
    (answer.status >= 500 ? "broken" : "refused");
  const wait = Number(answer.headers.get("retry-after"));
  return new Trouble(kind, {
    message: told.message || `The server answered ${answer.status}`,
    hint: told.hint ?? "",
    where: told.where ?? "",
    code: told.code ?? "",
    request: told.request_id ?? "",
    wait: Number.isFinite(wait) && wait > 0 ? Math.min(wait, 60) : 1,
    status: answer.status,
  });
}
