// Synthetic reference images of a report: apart from the slide, with their mark, as the files that carry it.

import { address, el } from "./room.js";

export function synthetic(caseId, report) {
  if (!report.illustrations.length) return "";
  return el("section", { class: "synthetic", "aria-labelledby": "synthetic-title" },
    el("h3", { id: "synthetic-title" }, "Synthetic reference images"),
    el("p", { class: "hint" }, "Drawn by a generator. Not patient tissue, not evidence."),
    ...report.illustrations.map((image) => figure(caseId, image)));
}

function figure(caseId, image) {
  const file = address(`/cases/${caseId}/synthetic/${image.id}.png`);
  const shown = el("figure", {});
  const gone = () => shown.replaceChildren(el("p", { class: "fault" }, `${image.id} is not shown: its file is not the marked one that was written.`));
  shown.append(
    el("img", { src: file, alt: `Synthetic image, not patient tissue: ${image.title}`, loading: "lazy", onerror: gone }),
    el("figcaption", {}, el("b", {}, `${image.id} synthetic. `), `${image.title}. Drawn because ${image.reason}. Marks: ${image.marks.join(", ")}. `,
      el("a", { href: file, download: true }, "Download with its marks")));
  return shown;
}
