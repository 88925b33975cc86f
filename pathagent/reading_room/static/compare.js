// What the user's criteria and indexed cases say beside the draft: quoted, cited by no claim, read by no model.

import { el } from "./room.js";

export function compared(found) {
  if (!found) return "";
  return el("section", { class: "compare", "aria-labelledby": "compare-title" },
    el("h3", { id: "compare-title" }, found.title),
    el("p", { class: "note" }, found.note),
    ...found.groups.flatMap((group) => [el("h4", {}, group.title), ...group.items.map(quoted)]),
    ...found.said.map((words) => el("p", { class: "hint" }, words)));
}

function quoted(item) {
  return el("figure", { id: item.id }, item.text ? el("blockquote", {}, item.text) : null,
    el("figcaption", {}, el("b", {}, item.id), ` ${item.source}`));
}
