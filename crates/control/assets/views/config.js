// The configuration: the file as it is, a check of changes before they are made, and reading it again.

import { get, post, postText } from "../api.js";
import { h, put, text } from "../dom.js";
import { act, confirm, panel } from "../parts.js";

/** What was typed and not yet written to the file, kept while other sections are looked at. */
let draft = null;

window.addEventListener("beforeunload", (event) => draft !== null && event.preventDefault());

export default function config() {
  const numbers = h("pre", { class: "line-numbers", "aria-hidden": "true" });
  const area = h("textarea", { class: "code-area", id: "config-text", spellcheck: "false", autocomplete: "off", wrap: "off", "aria-label": "Configuration", oninput: () => edited() });
  const file = h("code");
  const verdict = h("div", { class: "verdict", "aria-live": "polite" });
  const check = h("button", { type: "button", class: "button primary", onclick: () => act(check, async () => {
    show(await postText("/admin/config/check", area.value), area, verdict);
  }) }, "Check");
  const undo = h("button", { type: "button", class: "button", onclick: () => {
    draft = null;
    return load();
  } }, "Back to the file");
  const reload = h("button", { type: "button", class: "button", onclick: async () => {
    if (!(await confirm("Apply the file again?", "The server reads the file from disk, not the text here. When something is wrong in it, nothing changes.", "Apply", "primary"))) return;
    await act(reload, async () => show(await post("/admin/config/reload"), area, verdict, "The file is applied."));
  } }, "Apply the file");
  const box = panel("File", h("p", null, file), h("div", { class: "toolbar" }, check, undo, h("span", { class: "spacer" }), reload), verdict, h("div", { class: "editor" }, numbers, area));
  const el = h("div", { class: "view" }, h("h1", null, "Configuration"),
    h("p", { class: "lead" }, "Try a change here and check it; then write it to the file, which the server follows by itself. Nothing here changes the file."), box.el);
  area.addEventListener("scroll", () => {
    numbers.scrollTop = area.scrollTop;
  });

  let onDisk = "";
  function edited() {
    draft = area.value === onDisk ? null : area.value;
    count();
  }
  function count() {
    const lines = area.value.split("\n").length;
    text(numbers, Array.from({ length: lines }, (_, place) => place + 1).join("\n"));
  }
  async function load(signal) {
    const now = await get("/admin/config", signal);
    text(file, now.file ?? "The server was started without a file.");
    onDisk = now.text ?? "";
    if (draft === onDisk) draft = null;
    area.value = draft ?? onDisk;
    reload.disabled = !now.file;
    count();
    put(verdict, draft !== null && h("p", { class: "notice", "data-tone": "warn" }, "This is your change from before, not the file: check it, then write it to the file; \"Back to the file\" discards it."));
  }
  let loaded = false;
  async function refresh(signal) {
    if (loaded) return;
    await load(signal);
    loaded = true;
  }
  return { title: "Configuration", el, refresh };
}

function show(answer, area, verdict, well = "Nothing is wrong with it.") {
  if (answer.ok) {
    put(verdict, h("p", { class: "notice", "data-tone": "ok" }, well));
    return;
  }
  put(verdict, answer.problems.map((problem) => h("p", { class: "notice", "data-tone": "bad" },
    h("button", { type: "button", class: "mini", onclick: () => jump(area, problem.line) }, `line ${problem.line}, column ${problem.column}`),
    " ", h("strong", null, problem.field), ` ${problem.what}`, problem.hint && `; ${problem.hint}`)));
}

function jump(area, line) {
  const lines = area.value.split("\n");
  const start = lines.slice(0, line - 1).reduce((sum, one) => sum + one.length + 1, 0);
  area.focus();
  area.setSelectionRange(start, start + (lines[line - 1]?.length ?? 0));
  area.scrollTop = (line - 4) * Number.parseFloat(getComputedStyle(area).lineHeight);
}
