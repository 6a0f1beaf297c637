// The little Markdown that fault pages use: headings, paragraphs, lists, code. Builds elements, never HTML text.

import { h } from "./dom.js";

/** The page as elements; the first heading is left out because the view has its own. */
export function markdown(source) {
  const blocks = source.split(/\n{2,}/).map((block) => block.trim()).filter(Boolean);
  return blocks.filter((block) => !block.startsWith("# ")).map(block);
}

function block(words) {
  const heading = /^(#{2,4})\s+(.*)$/.exec(words);
  if (heading) return h(heading[1].length === 2 ? "h2" : "h3", null, inline(heading[2]));
  if (words.startsWith("```")) return h("pre", { tabindex: "0" }, words.replace(/^```\w*\n?/, "").replace(/\n?```$/, ""));
  const lines = words.split("\n");
  if (/^[-*] /.test(lines[0])) return h("ul", null, entries(lines, /^[-*] /).map((entry) => h("li", null, inline(entry))));
  if (/^\d+\. /.test(lines[0])) return h("ol", null, entries(lines, /^\d+\. /).map((entry) => h("li", null, inline(entry))));
  return h("p", null, inline(lines.join(" ")));
}

/** Lines that do not begin an entry go on with the one before. */
function entries(lines, mark) {
  const out = [];
  for (const line of lines) {
    if (mark.test(line) || out.length === 0) out.push(line.replace(mark, ""));
    else out[out.length - 1] += ` ${line.trim()}`;
  }
  return out;
}

function inline(words) {
  return words.split(/(`[^`]+`|\*\*[^*]+\*\*|TL\d{4})/).map((part) => {
    if (part.startsWith("`")) return h("code", null, part.slice(1, -1));
    if (part.startsWith("**")) return h("strong", null, part.slice(2, -2));
    if (/^TL\d{4}$/.test(part)) return h("a", { href: `#/faults/${part}` }, part);
    return part;
  });
}
