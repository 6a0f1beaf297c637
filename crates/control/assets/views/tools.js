// Tools: the merged catalogue that agents see, the MCP servers behind it, and trying one by hand.

import { list, post } from "../api.js";
import { h, put, text } from "../dom.js";
import { age, count, duration } from "../format.js";
import { key } from "../key.js";
import { schemaForm } from "../form.js";
import { badge, empty, faultLink, panel } from "../parts.js";
import { table } from "../table.js";

const TONES = { up: "ok", ready: "ok", connected: "ok", down: "bad", failed: "bad" };

export default function tools({ name }) {
  const upstreams = upstreamTable();
  const catalogue = toolTable(name);
  const tried = h("div", { class: "stack" });
  const server = { type: "http", url: `${location.origin}/mcp` };
  if (key.get()) server.headers = { Authorization: "Bearer YOUR_KEY" };
  const config = JSON.stringify({ mcpServers: { trunkline: server } }, null, 2);
  const el = h("div", { class: "view" }, h("h1", null, name ? `Tool ${name}` : "Tools"),
    h("p", { class: "lead" }, name ? h("a", { href: "#/tools" }, "All tools") : "What agents may call over MCP at /mcp: tools of the servers behind, and tools made from our own addresses."),
    tried,
    panel("Catalogue", catalogue.el).el,
    panel("MCP servers behind", upstreams.el).el,
    h("section", { class: "panel" }, h("h2", null, "Connect an agent"), h("p", { class: "muted" }, "An MCP client's configuration:"), h("pre", { tabindex: "0" }, config)));
  let built = false;
  async function refresh(signal) {
    const [servers, all] = await Promise.all([list("/admin/upstreams", signal), list("/admin/tools", signal)]);
    upstreams.update(servers);
    catalogue.update(all);
    const chosen = name && all.find((tool) => tool.name === name);
    if (built || !name) return;
    if (chosen) tried.append(tryIt(chosen));
    else tried.append(h("p", { class: "notice", "data-tone": "warn" }, `There is no tool ${name}.`));
    built = true;
  }
  return { title: name ? `Tool ${name}` : "Tools", el, refresh };
}

function toolTable(chosen) {
  return table({
    label: "Tools", key: (row) => row.name, filter: "Filter tools", sort: "name",
    columns: [
      { id: "name", label: "Tool", sort: (row) => row.name, make: (row) => ({ el: h("a", { class: "strong", href: `#/tools/${encodeURIComponent(row.name)}`, "aria-current": row.name === chosen ? "true" : null }, row.name) }) },
      { id: "upstream", label: "From", text: (row) => row.upstream || "Trunkline" },
      { id: "description", label: "Description", class: "grow clamp", text: (row) => row.description ?? "" },
      { id: "calls", label: "Calls", num: true, text: (row) => count(row.calls), sort: (row) => row.calls },
      { id: "failed", label: "Failed", num: true, text: (row) => count(row.failed), sort: (row) => row.failed },
      { id: "avg", label: "Mean", num: true, text: (row) => (row.calls ? duration(row.avg_ms) : "–"), sort: (row) => row.avg_ms },
    ],
    empty: empty("No tools that this key may call."),
  });
}

function upstreamTable() {
  return table({
    label: "MCP servers", key: (row) => row.name, sort: "name",
    columns: [
      { id: "name", label: "Server", text: (row) => row.name, class: "strong" },
      { id: "state", label: "State", sort: (row) => row.state, make: () => {
        const mark = badge();
        return { el: mark.el, update: (row) => mark.update(row.state, TONES[row.state] ?? "warn") };
      } },
      { id: "transport", label: "Transport", text: (row) => row.transport },
      { id: "target", label: "Target", class: "grow mono", text: (row) => row.target },
      { id: "eras", label: "Era", text: (row) => (row.eras ?? []).join(", ") },
      { id: "tools", label: "Tools", num: true, text: (row) => count(row.tools), sort: (row) => row.tools },
      { id: "in_flight", label: "In flight", num: true, text: (row) => count(row.in_flight), sort: (row) => row.in_flight },
      { id: "shared", label: "Shared URIs", num: true, text: (row) => count(row.shared_uris), sort: (row) => row.shared_uris },
      { id: "renamed", label: "Renamed", num: true, text: (row) => count(row.renamed), sort: (row) => row.renamed },
      { id: "unattributed", label: "Unattributed", num: true, text: (row) => count(row.unattributed), sort: (row) => row.unattributed },
      { id: "since", label: "Since", num: true, text: (row) => age(Date.now() - Date.parse(row.since)) },
      { id: "error", label: "Last error", class: "grow", text: (row) => row.error ?? "" },
    ],
    empty: empty("No MCP servers are configured; the tools above are Trunkline's own. Add one: mcp: {upstreams: {everything: {command: [npx, -y, \"@modelcontextprotocol/server-everything\"]}}}"),
  });
}

function tryIt(tool) {
  const form = schemaForm(tool.input_schema);
  const said = h("div", { class: "result", "aria-live": "polite" });
  const go = h("button", { type: "submit", class: "button primary" }, "Call");
  const submit = async (event) => {
    event.preventDefault();
    go.disabled = true;
    const begun = performance.now();
    try {
      const answer = await post(`/admin/tools/${encodeURIComponent(tool.name)}/call`, { arguments: form.value() });
      const took = duration(performance.now() - begun);
      put(said, h("p", null, h("span", { class: "badge", "data-tone": answer.isError ? "bad" : "ok" }, answer.isError ? "the tool reports an error" : "done"), h("span", { class: "muted" }, ` ${took}`)),
        (answer.content ?? []).map(content), answer.structuredContent && h("details", null, h("summary", null, "Structured"), h("pre", { tabindex: "0" }, JSON.stringify(answer.structuredContent, null, 2))));
    } catch (reason) {
      put(said, h("p", null, h("span", { class: "badge", "data-tone": "bad" }, "refused"), " ", reason.code && faultLink(reason.code), ` ${reason.message}`));
    } finally {
      go.disabled = false;
    }
  };
  const box = panel("Try it", h("p", null, tool.description ?? ""), h("form", { class: "try", onsubmit: submit }, form.el, h("div", { class: "actions" }, go)), said);
  text(box.side, tool.address);
  return box.el;
}

function content(part) {
  if (part.type === "text") {
    let words = part.text;
    try {
      words = JSON.stringify(JSON.parse(words), null, 2);
    } catch {
      // Most tools answer in plain words.
    }
    return h("pre", { tabindex: "0" }, words);
  }
  return h("pre", { tabindex: "0" }, JSON.stringify(part, null, 2));
}
