// The overview: is the program well, how busy is it, what is busiest, what went wrong last.

import { get, list } from "../api.js";
import { areaChart, recent, sparkline } from "../chart.js";
import { h, keyed, text, attribute, live } from "../dom.js";
import { age, ago, bytes, clock, count, duration, percent, rate } from "../format.js";
import { address, copyLine, faultLink, figure, panel } from "../parts.js";
import { table } from "../table.js";

const TOP = 10;

export default function overview() {
  const figures = {
    queues: figure("Queued", { href: "#/queues" }),
    dead: figure("Dead letters", { href: "#/dead" }),
    connections: figure("Connections", { href: "#/connections" }),
    store: figure("Store"),
    memory: figure("Memory"),
    cpu: figure("CPU"),
    uptime: figure("Uptime"),
  };
  const charts = [
    chartPanel("Published", "published", "in", "messages per second"),
    chartPanel("Called", "called", "out", "calls of tools and models per second"),
    chartPanel("Faults", "faults", "bad", "refusals and failures per second"),
  ];
  const tops = topAddresses();
  const depths = queueBars();
  const faults = latestFaults();
  const protocols = protocolChips();
  const outlets = outletChips();
  const welcome = h("section", { class: "panel welcome", hidden: true },
    h("h2", null, "Nothing has come in yet"),
    h("p", { class: "muted" }, "Send a first message and watch it arrive:"),
    copyLine(`curl -X POST ${location.origin}/api/topics/plant/7/temp -H 'content-type: application/json' -d '{"celsius":81}'`),
    copyLine(`mosquitto_pub -h ${location.hostname} -p ${location.port || 80} -t plant/7/temp -m '{"celsius":81}'`));
  const el = h("div", { class: "view overview" },
    h("h1", { class: "visually-hidden" }, "Overview"),
    welcome,
    h("div", { class: "charts" }, charts.map((one) => one.el)),
    h("div", { class: "figures" }, Object.values(figures).map((one) => one.el)),
    h("div", { class: "columns" },
      h("div", { class: "column wide" }, tops.el, protocols.el, outlets.el),
      h("div", { class: "column" }, depths.el, faults.el)));
  let before = null;

  async function refresh(signal) {
    const parts = [
      get("/admin/overview", signal).then((now) => {
        drawFigures(figures, now, before);
        charts[2].say(now.faults.reduce((sum, one) => sum + one.count, 0));
        charts[0].say(now.messages.published);
        charts[1].say(now.messages.called);
        welcome.hidden = now.messages.published + now.messages.called > 0;
        before = now;
      }),
      get("/admin/series", signal).then((series) => charts.forEach((one) => one.update(series))),
      list("/admin/addresses?history=60", signal).then(tops.update).then(() => tops.fail(null), tops.fail),
      list("/admin/queues", signal).then(depths.update).then(() => depths.fail(null), depths.fail),
      list("/admin/faults?max=6", signal).then(faults.update).then(() => faults.fail(null), faults.fail),
      list("/admin/outlets", signal).then(outlets.update).then(() => outlets.fail(null), outlets.fail),
      list("/admin/protocols", signal).then(protocols.update).then(() => protocols.fail(null), protocols.fail),
    ];
    await Promise.all(parts);
  }
  return { title: "Overview", el, refresh };
}

function chartPanel(title, name, tone, unit) {
  const value = h("strong", null, "0");
  const total = h("span", { class: "muted total" });
  const peak = h("span", { class: "muted" });
  const chart = areaChart({ label: `${title}, ${unit}`, series: [{ tone, label: title.toLowerCase() }] });
  const el = h("section", { class: `panel chart-panel tone-${tone}`, "data-chart": name },
    h("div", { class: "chart-head" }, h("h2", null, title), total),
    h("div", { class: "chart-now" }, value, h("span", { class: "muted" }, "/s"), peak), chart.el);
  return {
    el,
    say: (sum) => text(total, `${count(sum)} in all`),
    update: (series) => {
      const values = series[name] ?? [];
      text(value, rate(recent(values)));
      text(peak, `peak ${count(Math.max(0, ...values))}`);
      chart.update([values], series.step_ms);
    },
  };
}

function drawFigures(figures, now, before) {
  figures.queues.update(count(now.queues.depth), `in ${count(now.queues.count)} queues`);
  figures.dead.update(count(now.queues.dead), now.queues.dead ? "look and replay" : "none", now.queues.dead ? "warn" : null);
  figures.connections.update(count(now.connections.open), `${count(now.connections.refused)} refused of ${count(now.connections.accepted)}`);
  const { state, bytes: size } = now.store;
  figures.store.update(state, `${bytes(size)} on disk`, state === "ok" ? "ok" : "bad");
  figures.memory.update(bytes(now.memory_bytes), `${count(now.tasks)} tasks`);
  // At first the mean since the start, then the mean since the last look.
  const then = before ?? { uptime_ms: 0, cpu_ms: 0 };
  const span = now.uptime_ms - then.uptime_ms;
  if (span > 0) figures.cpu.update(percent(((now.cpu_ms - then.cpu_ms) / span) * 100), `${duration(now.cpu_ms)} in all`);
  figures.uptime.update(age(now.uptime_ms), `version ${now.version}`);
}

function topAddresses() {
  const spark = (row) => {
    const line = sparkline("in");
    return { el: line.el, update: (item) => line.update(item.history), row };
  };
  const rows = table({
    label: "The busiest addresses",
    key: (row) => row.address,
    columns: [
      { id: "address", label: "Address", make: (row) => ({ el: address(row.address) }) },
      { id: "history", label: "Last minute", class: "spark-cell", make: spark },
      { id: "rate_in", label: "In/s", num: true, text: (row) => rate(row.rate_in) },
      { id: "rate_out", label: "Out/s", num: true, text: (row) => rate(row.rate_out) },
      { id: "in", label: "In all", num: true, text: (row) => count(row.in) },
    ],
    empty: h("p", { class: "muted" }, "Addresses appear here with their first message."),
  });
  const box = panel("Busiest addresses", rows.el);
  box.side.append(h("a", { href: "#/addresses" }, "all addresses"));
  const busy = (row) => row.rate_in + row.rate_out;
  const update = (all) => rows.update(all.filter((row) => row.address).sort((a, b) =>
    busy(b) - busy(a) || b.in - a.in || a.address.localeCompare(b.address)).slice(0, TOP));
  return { el: box.el, fail: box.fail, update };
}

/** Each queue as a bar: what waits, and what died. */
function queueBars() {
  const bars = h("ul", { class: "bars" });
  const none = h("p", { class: "muted", hidden: true }, "No queues are declared.");
  let most = 1;
  const patch = keyed(bars, (row) => row.name, (row) => {
    const depth = h("span", { class: "num" });
    const dead = h("span", { class: "badge", "data-tone": "warn", hidden: true });
    const fill = h("i");
    const el = h("li", null, h("a", { href: `#/queues/${encodeURIComponent(row.name)}` },
      h("span", { class: "bar-name" }, row.name), dead, depth, h("span", { class: "bar", "aria-hidden": "true" }, fill)));
    return { el, update: (now) => {
      text(depth, `${count(now.depth)} ${now.oldest_ms === null ? "" : `· ${age(now.oldest_ms)}`}`);
      dead.hidden = now.dead === 0;
      text(dead, `${count(now.dead)} dead`);
      fill.style.width = `${(now.depth / most) * 100}%`;
    } };
  });
  const box = panel("Queues", bars, none);
  box.side.append(h("a", { href: "#/queues" }, "all queues"));
  const update = (rows) => {
    const used = rows.filter((row) => row.depth || row.dead || row.in);
    const shown = (used.length ? used : rows).sort((a, b) => b.dead - a.dead || b.depth - a.depth || a.name.localeCompare(b.name)).slice(0, 6);
    most = Math.max(1, ...shown.map((row) => row.depth));
    none.hidden = rows.length > 0;
    patch(shown);
  };
  return { el: box.el, fail: box.fail, update };
}

function latestFaults() {
  const entries = h("ol", { class: "events" });
  const none = h("p", { class: "muted", hidden: true }, "Nothing failed. Refusals and failures appear here, each with a page that says what to do.");
  const patch = keyed(entries, (row) => `${row.time} ${row.address} ${row.detail}`, (row) => {
    const when = live(h("time", { datetime: row.time, title: clock(row.time) }), (now) => ago(now.time));
    const el = h("li", null, h("div", null, faultLink(row.outcome), row.address ? address(row.address) : h("span", null, row.peer ?? ""), when.el), h("p", null, row.detail));
    return { el, update: when.update };
  });
  const box = panel("Recent faults", entries, none);
  box.side.append(h("a", { href: "#/faults" }, "all faults"));
  const update = (rows) => {
    none.hidden = rows.length > 0;
    patch(rows);
  };
  return { el: box.el, fail: box.fail, update };
}

function protocolChips() {
  const chips = h("ul", { class: "chips" });
  const patch = keyed(chips, (row) => row.name, (row) => {
    const open = h("b");
    const el = h("li", { class: "chip", title: row.title }, row.title, open);
    return { el, update: (now) => {
      text(open, count(now.open));
      attribute(el, "data-on", now.open > 0 ? "yes" : null);
      attribute(open, "aria-label", `${now.open} open, ${now.accepted} accepted`);
    } };
  });
  const box = panel("Protocols", chips);
  box.side.append(h("span", { class: "muted" }, "open connections"));
  return { el: box.el, fail: box.fail, update: patch };
}

function outletChips() {
  const chips = h("ul", { class: "chips" });
  const none = h("p", { class: "muted", hidden: true }, "No outlets are configured.");
  const patch = keyed(chips, (row) => row.name, (row) => {
    const state = h("b");
    const el = h("li", { class: "chip", title: row.target }, row.name, state);
    return { el, update: (now) => {
      text(state, now.breaker === "closed" ? "delivering" : `breaker ${now.breaker.replace("_", " ")}`);
      attribute(state, "data-tone", now.breaker === "closed" ? "ok" : "bad");
    } };
  });
  const box = panel("Outlets", chips, none);
  box.side.append(h("a", { href: "#/outlets" }, "all outlets"));
  const update = (rows) => {
    none.hidden = rows.length > 0;
    patch(rows);
  };
  return { el: box.el, fail: box.fail, update };
}
