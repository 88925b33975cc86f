// The list of cases, and the form for a new one.

import { $, address, api, el, plural, say, when } from "./room.js";
import { bindUpload } from "./upload.js";

const TONES = { "at work": "busy", "waiting for review": "wait", reviewed: "good", rejected: "bad", failed: "bad", paused: "wait" };
let slides = [];
const chosen = new Map();

async function showCases() {
  const cases = await api("/cases");
  $("cases").replaceChildren(...(cases.length ? cases.map(row) : [empty()]));
}

function row(c) {
  return el("li", {},
    el("a", { href: `/cases/${c.id}` },
      el("img", { src: address(`/slides/${c.slides[0]}/thumbnail.jpeg?px=160`), alt: "", loading: "lazy", width: 72, height: 72, onerror: blank }),
      el("span", { class: "what" }, el("b", {}, c.title), el("small", {}, `${plural(c.slides.length, "slide")} · ${when(c.created)}`)),
      el("span", { class: `state ${TONES[c.state] ?? ""}` }, c.state)));
}

// A file that cannot be shown says so when it is opened.
function blank(event) {
  event.target.style.visibility = "hidden";
}

function empty() {
  return el("li", { class: "quiet" }, "No case yet. Open one from the slides of this server: ",
    el("button", { type: "button", class: "link", onclick: openForm }, "new case"), ".");
}

async function openForm() {
  chosen.clear();
  say($("new-fault"), "");
  $("mpp-row").hidden = true;
  $("new-case").showModal();
  try {
    slides = await api("/slides");
  } catch (error) {
    say($("new-fault"), error.message);
  }
  showSlides();
}

function showSlides() {
  const words = $("filter").value.trim().toLowerCase();
  const found = slides.filter((s) => `${s.folder}/${s.name}`.toLowerCase().includes(words));
  $("slides").replaceChildren(...found.slice(0, 60).map(choice));
  if (!slides.length) $("slides").append(el("li", { class: "quiet" }, "No slide lies in the folders of this server. Start it with --folder DIR."));
  else if (found.length > 60) $("slides").append(el("li", { class: "quiet" }, `${found.length - 60} more: type a part of the name.`));
}

function choice(s) {
  const tick = el("input", { type: "checkbox", checked: chosen.has(s.id), onchange: () => (tick.checked ? chosen.set(s.id, s) : chosen.delete(s.id)) });
  return el("li", {}, el("label", {}, tick,
    el("img", { src: address(`/slides/${s.id}/thumbnail.jpeg?px=96`), alt: "", loading: "lazy", width: 44, height: 44, onerror: blank }),
    el("span", {}, s.name, el("small", {}, s.folder))));
}

async function open(draft) {
  if (!chosen.size) return say($("new-fault"), "Choose at least one slide.");
  const body = { slides: [...chosen.keys()], title: $("title").value, specimen: $("specimen").value || null, notes: $("notes").value || null, draft,
    patient: $("patient").value || null, reader_mode: $("reader-mode").checked, illustrate: $("illustrate").checked };
  if ($("mpp").value) body.mpp = Number($("mpp").value);
  try {
    const made = await api("/cases", { method: "POST", body });
    location.assign(`/cases/${made.id}`);
  } catch (error) {
    say($("new-fault"), error.kind === "no resolution" ? "A slide does not say how large its pixels are. Type the resolution below; the report will say that it was assumed." : error.message);
    if (error.kind === "no resolution") {
      $("mpp-row").hidden = false;
      $("mpp").focus();
    }
  }
}

bindUpload(async (slide) => {
  slides = await api("/slides");
  chosen.set(slide.id, slide);
  showSlides();
});
$("new").addEventListener("click", openForm);
$("filter").addEventListener("input", showSlides);
$("cancel").addEventListener("click", () => $("new-case").close());
$("open-only").addEventListener("click", () => open(false));
$("new-form").addEventListener("submit", (event) => {
  event.preventDefault();
  open(true);
});
showCases().catch((error) => say($("fault"), error.message));
setInterval(() => document.visibilityState === "visible" && showCases().catch(() => {}), 5000);
