// A form made from a JSON Schema, as far as tools' inputs go: texts, numbers, choices, switches, and JSON for the rest.

import { h } from "./dom.js";

const LONG = new Set(["body", "text", "prompt", "message", "content"]);

/** `{ el, value() }`: the fields, and the arguments as typed; `value` throws with the field's name when one is wrong. */
export function schemaForm(schema) {
  const properties = Object.entries(schema?.properties ?? {});
  const required = new Set(schema?.required ?? []);
  const fields = properties.map(([name, one]) => field(name, one ?? {}, required.has(name)));
  const none = h("p", { class: "muted" }, "It takes no arguments.");
  const el = h("div", { class: "fields" }, fields.length ? fields.map((one) => one.el) : none);
  const value = () => {
    const out = {};
    for (const one of fields) {
      const read = one.read();
      if (read !== undefined) out[one.name] = read;
      else if (required.has(one.name)) throw new Error(`${one.name} is needed`);
    }
    return out;
  };
  return { el, value };
}

function types(schema) {
  return [schema.type ?? []].flat();
}

function field(name, schema, required) {
  const id = `field-${name}`;
  const kinds = types(schema);
  const usual = schema.default;
  const help = schema.description && h("small", { id: `${id}-help`, class: "muted" }, schema.description);
  const common = { id, name, required, "aria-describedby": help ? `${id}-help` : null };
  const label = h("label", { for: id }, name, required && h("span", { class: "needed" }, " needed"), h("span", { class: "muted" }, ` ${kinds.length > 3 || !kinds.length ? "text or JSON" : kinds.join(" or ")}`));
  const { input, read } = control(name, schema, kinds, common, usual);
  return { name, read, el: h("div", { class: "field" }, label, input, help) };
}

function control(name, schema, kinds, common, usual) {
  if (schema.enum) {
    const options = [h("option", { value: "" }, "–"), ...schema.enum.map((one, place) => h("option", { value: String(place) }, String(one)))];
    const input = h("select", common, options);
    if (usual !== undefined) input.value = String(schema.enum.indexOf(usual));
    return { input, read: () => (input.value === "" ? undefined : schema.enum[Number(input.value)]) };
  }
  const only = kinds.length === 1 ? kinds[0] : null;
  if (only === "boolean") {
    const input = h("select", common, h("option", { value: "" }, "–"), h("option", { value: "true" }, "true"), h("option", { value: "false" }, "false"));
    if (usual !== undefined) input.value = String(usual);
    return { input, read: () => (input.value === "" ? undefined : input.value === "true") };
  }
  if (only === "integer" || only === "number") {
    const input = h("input", { ...common, type: "number", min: schema.minimum, max: schema.maximum, step: only === "integer" ? "1" : "any", value: usual ?? "" });
    return { input, read: () => (input.value === "" ? undefined : Number(input.value)) };
  }
  if (only === "string" && !LONG.has(name)) {
    const input = h("input", { ...common, type: "text", spellcheck: "false", autocomplete: "off", value: usual ?? "" });
    return { input, read: () => (input.value === "" ? undefined : input.value) };
  }
  const input = h("textarea", { ...common, rows: "3", spellcheck: "false", value: usual === undefined ? "" : JSON.stringify(usual) });
  return { input, read: () => readText(name, input.value, kinds) };
}

/** JSON when it is JSON of a type that is allowed; else a text, when texts are. */
function readText(name, typed, kinds) {
  if (typed.trim() === "") return undefined;
  if (kinds.length === 1 && kinds[0] === "string") return typed;
  try {
    return JSON.parse(typed);
  } catch (reason) {
    if (kinds.length === 0 || kinds.includes("string")) return typed;
    throw new Error(`${name} is no JSON: ${reason.message}`);
  }
}
