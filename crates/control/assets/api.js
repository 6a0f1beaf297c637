// The public admin API: fetches JSON, shows the key, turns problems into errors with a fault code.

import { key } from "./key.js";

/** What the server refused: `status`, and from its problem document `code`, `title`, `detail`. */
export class Refusal extends Error {
  constructor(status, problem) {
    super(problem.detail || problem.title || `the server answered ${status}`);
    this.status = status;
    this.code = problem.code || null;
    this.title = problem.title || `status ${status}`;
    this.detail = problem.detail || "";
  }
}

/** Told when the API answers 401; the page asks for a key then. */
export const keyNeeded = new EventTarget();

/** One request; the raw response when it went well. */
export async function request(method, path, { body, type = "application/json", signal, accept = "application/json" } = {}) {
  const headers = { accept };
  const secret = key.get();
  if (secret) headers.authorization = `Bearer ${secret}`;
  if (body !== undefined) headers["content-type"] = type;
  const response = await fetch(path, { method, headers, body, signal, cache: "no-store", credentials: "omit" });
  if (response.ok) return response;
  const text = await response.text();
  const refusal = new Refusal(response.status, problemOf(text));
  if (response.status === 401) keyNeeded.dispatchEvent(new CustomEvent("needed", { detail: refusal }));
  throw refusal;
}

function problemOf(text) {
  try {
    const value = JSON.parse(text);
    // The model API says {"error":{"message","code"}} where the others say a problem document.
    if (value.error) return { title: value.error.type, detail: value.error.message, code: value.error.code };
    return value;
  } catch {
    return { detail: text.slice(0, 300) };
  }
}

export async function get(path, signal) {
  return (await request("GET", path, { signal })).json();
}

export async function post(path, value, signal) {
  return (await request("POST", path, { body: JSON.stringify(value ?? {}), signal })).json();
}

export async function postText(path, text, signal) {
  return (await request("POST", path, { body: text, type: "text/yaml", signal })).json();
}

export async function remove(path, signal) {
  return (await request("DELETE", path, { signal })).json();
}

/** The most rows that a view shows of one list. */
const ROWS_MAX = 10_000;

/** The `items` of a list, over as many pages as it takes; of a path that says `max`, that page. */
export async function list(path, signal) {
  const rows = [];
  let after = "";
  for (;;) {
    const page = await get(path + after, signal);
    rows.push(...page.items);
    if (path.includes("max=") || rows.length >= ROWS_MAX || (page.next ?? null) === null) return rows;
    after = `${path.includes("?") ? "&" : "?"}after=${encodeURIComponent(page.next)}`;
  }
}

/** The path of one queue, whatever is in its name. */
export function queuePath(name, rest = "") {
  return `/admin/queues/${encodeURIComponent(name)}${rest}`;
}
