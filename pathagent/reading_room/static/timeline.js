// Earlier and later cases of the same patient: when, what was reported, which slides.

import { $, address, api, el, say, when } from "./room.js";

export async function showTimeline(caseId) {
  try {
    const found = await api(`/cases/${caseId}/timeline`);
    $("timeline").replaceChildren(...found.map(entry));
    say($("timeline-fault"), "");
  } catch (error) {
    say($("timeline-fault"), error.message);
  }
}

function entry(c) {
  const name = c.here ? el("b", {}, c.title, " ", el("small", {}, "this case")) : el("a", { href: `/cases/${c.id}` }, c.title);
  const report = c.report && el("p", {}, c.report.text, " ", el("small", {}, `version ${c.report.number}, ${c.report.status}, ${when(c.report.at)}`));
  return el("li", { class: c.here ? "here" : null, "aria-current": c.here ? "true" : null },
    el("time", { datetime: new Date(c.created * 1000).toISOString() }, when(c.created)), name, " ", el("span", { class: "state" }, c.state),
    report ?? el("p", { class: "quiet" }, "No report yet."),
    el("ul", { class: "thumbs" }, ...c.slides.map((s) => el("li", {}, el("a", { href: `/cases/${c.id}`, title: s.name },
      el("img", { src: address(`/slides/${s.id}/thumbnail.jpeg?px=160`), alt: `Slide ${s.name}`, loading: "lazy", width: 64, height: 64 }))))));
}
