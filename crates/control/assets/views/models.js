// Models: where each alias leads, what it was used for and what that cost, and asking one by hand.

import { list, request } from "../api.js";
import { h, put, text, attribute } from "../dom.js";
import { count, duration, usd } from "../format.js";
import { empty, faultLink, panel } from "../parts.js";
import { table } from "../table.js";

export default function models() {
  const shown = table({
    label: "Models", key: (row) => row.alias, filter: "Filter models", sort: "alias",
    columns: [
      { id: "alias", label: "Model", text: (row) => row.alias, class: "strong" },
      { id: "deployments", label: "Served by", class: "grow", make: deployments },
      { id: "calls", label: "Calls", num: true, text: (row) => count(row.calls), sort: (row) => row.calls },
      { id: "failed", label: "Failed", num: true, text: (row) => count(row.failed), sort: (row) => row.failed },
      { id: "avg", label: "Mean", num: true, text: (row) => (row.calls ? duration(row.avg_ms) : "–"), sort: (row) => row.avg_ms },
      { id: "in", label: "Tokens in", num: true, text: (row) => count(row.input_tokens), sort: (row) => row.input_tokens },
      { id: "out", label: "Tokens out", num: true, text: (row) => count(row.output_tokens), sort: (row) => row.output_tokens },
      { id: "cost", label: "Cost", num: true, text: (row) => usd(row.cost_usd), sort: (row) => Number(row.cost_usd) },
    ],
    empty: empty("No models that this key may call. Name one in the configuration under models: aliases."),
  });
  const used = table({
    label: "Usage by key", key: (row) => `${row.principal} ${row.model}`, filter: "Filter usage", sort: "calls", descending: true,
    columns: [
      { id: "principal", label: "Key", text: (row) => row.principal, class: "strong" },
      { id: "model", label: "Model", text: (row) => row.model },
      { id: "calls", label: "Calls", num: true, text: (row) => count(row.calls), sort: (row) => row.calls },
      { id: "failed", label: "Failed", num: true, text: (row) => count(row.failed), sort: (row) => row.failed },
      { id: "in", label: "Tokens in", num: true, text: (row) => count(row.input_tokens), sort: (row) => row.input_tokens },
      { id: "out", label: "Tokens out", num: true, text: (row) => count(row.output_tokens), sort: (row) => row.output_tokens },
      { id: "cost", label: "Cost", num: true, text: (row) => usd(row.cost_usd), sort: (row) => Number(row.cost_usd) },
    ],
    empty: empty("No model was asked yet. Any OpenAI client works with this base URL:", `curl ${location.origin}/v1/chat/completions -H 'content-type: application/json' -d '{"model":"echo","messages":[{"role":"user","content":"hello"}]}'`),
  });
  const ask = askBox();
  const el = h("div", { class: "view" }, h("h1", null, "Models"),
    h("p", { class: "lead" }, `Applications use ${location.origin}/v1 as their OpenAI base URL; the key they show is ours, the provider's stays here.`),
    h("section", { class: "panel" }, shown.el), ask.el, panel("Usage by key", used.el).el);
  async function refresh(signal) {
    const [rows, sums] = await Promise.all([list("/admin/models", signal), list("/admin/usage", signal)]);
    shown.update(rows);
    used.update(sums);
    ask.offer(rows.map((row) => row.alias));
  }
  return { title: "Models", el, refresh };
}

function deployments() {
  const el = h("span", { class: "chips" });
  let drawn = "";
  return { el, update: (row) => {
    const wanted = JSON.stringify(row.deployments.map((one) => [one.provider, one.model, one.breaker]));
    if (wanted === drawn) return;
    drawn = wanted;
    put(el, row.deployments.map((one) => h("span", { class: "chip" }, one.model && one.model !== row.alias ? `${one.provider} / ${one.model}` : one.provider,
      h("b", { "data-tone": one.breaker === "closed" ? "ok" : "bad", title: `breaker ${one.breaker}` }, one.breaker === "closed" ? "up" : one.breaker))));
  } };
}

function askBox() {
  const pick = h("select", { id: "ask-model" });
  const words = h("textarea", { id: "ask-words", rows: "3", required: true, placeholder: "How is the plant?" });
  const answer = h("pre", { class: "answer", "aria-live": "polite", hidden: true, tabindex: "0" });
  const note = h("p", { class: "muted" });
  const go = h("button", { type: "submit", class: "button primary" }, "Ask");
  const submit = async (event) => {
    event.preventDefault();
    go.disabled = true;
    answer.hidden = false;
    attribute(answer, "data-busy", "yes");
    text(answer, "");
    text(note, "");
    const begun = performance.now();
    try {
      const usage = await stream(pick.value, words.value, (piece) => answer.append(piece));
      const tokens = usage ? `, ${count(usage.prompt_tokens)} tokens in, ${count(usage.completion_tokens)} out` : "";
      text(note, `${duration(performance.now() - begun)}${tokens}`);
    } catch (reason) {
      answer.hidden = true;
      put(note, reason.code && faultLink(reason.code), ` ${reason.message}`);
    } finally {
      attribute(answer, "data-busy", null);
      go.disabled = false;
    }
  };
  const box = panel("Ask a model", h("form", { class: "ask", onsubmit: submit },
    h("div", { class: "field" }, h("label", { for: "ask-model" }, "Model"), pick),
    h("div", { class: "field" }, h("label", { for: "ask-words" }, "Message"), words),
    h("div", { class: "actions" }, go)), answer, note);
  let offered = "";
  const offer = (names) => {
    if (names.join() === offered) return;
    offered = names.join();
    const chosen = pick.value;
    put(pick, names.map((name) => h("option", { value: name }, name)));
    if (names.includes(chosen)) pick.value = chosen;
  };
  return { el: box.el, offer };
}

/** Asks with streaming and hands over each piece; the usage at the end. */
async function stream(model, content, piece) {
  const body = JSON.stringify({ model, stream: true, stream_options: { include_usage: true }, messages: [{ role: "user", content }] });
  const response = await request("POST", "/v1/chat/completions", { body, accept: "text/event-stream, application/json", signal: AbortSignal.timeout(120_000) });
  let usage = null;
  let rest = "";
  for await (const chunk of pieces(response.body.pipeThrough(new TextDecoderStream()))) {
    const lines = (rest + chunk).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      const data = line.startsWith("data:") ? line.slice(5).trim() : "";
      if (!data || data === "[DONE]") continue;
      const event = JSON.parse(data);
      if (event.error) throw new Error(event.error.message);
      if (event.choices?.[0]?.delta?.content) piece(event.choices[0].delta.content);
      usage = event.usage ?? usage;
    }
  }
  return usage;
}

async function* pieces(readable) {
  const reader = readable.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    yield value;
  }
}
