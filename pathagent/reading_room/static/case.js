// One case: the slide on one side, conversation and report on the other, and the stream of events between.

import { $, address, api, el, say } from "./room.js";
import { Conversation } from "./conversation.js";
import { bindOwner } from "./owner.js";
import { OpinionPanel } from "./opinion.js";
import { ReportPanel } from "./report.js";
import { showTimeline } from "./timeline.js";
import { SlideViewer } from "./viewer.js";

const id = $("case").dataset.case;
const SETTLED = ["done", "waiting", "failed", "stopped", "paused", "superseded", "deciding", "queued", "running"];
let view = null, about = null, live = [], stream = null;

const viewer = new SlideViewer({
  tiles: (slide) => ({ getTileUrl: (level, x, y) => address(`/slides/${slide.id}/slide_files/${level}/${x}_${y}.jpeg`) }),
  heat: (slide) => api(`/cases/${id}/heat/${slide.case_id}`),
  onPick: boxPicked,
  onRegion: regionDrawn,
});
const talk = new Conversation({ pick, showRegion, openReport: () => tab("report"), refresh });
const report = new ReportPanel({ pick, refresh });
const opinion = new OpinionPanel({ changed });
bindOwner(id, { readers: (names) => (names ? (view.readers = names) : view.readers), tied: () => refresh("timeline") });
const TABS = ["talk", "report", "timeline"];
let current = "talk", hidden = false;

$("confirm-no").addEventListener("click", () => $("confirm").close());

async function refresh(show) {
  const fresh = await api(`/cases/${id}`);
  const first = view === null;
  view = fresh;
  live = view.runs.some((r) => r.state === "running") ? live.filter((e) => !view.evidence.some((k) => k.id === e.id)) : [];
  $("case-state").textContent = view.state;
  if (first) await openSlides();
  hidden = opinion.render(view);
  $("tab-timeline").hidden = !view.same_patient;
  if ($("patient")) $("patient").hidden = view.same_patient;
  if (!hidden) talk.render(view);
  if (!hidden) report.render(view);
  showEvidence();
  $("draft").hidden = view.runs.some((r) => ["draft", "look"].includes(r.kind) && ["queued", "running"].includes(r.state));
  tab(show ?? current);
  if (first) follow();
}

// The reader's opinion stands: everything may be shown, and is followed from here.
async function changed() {
  stream?.close();
  await refresh();
  follow();
}

async function openSlides() {
  const chooser = $("slide");
  chooser.hidden = view.slides.length < 2;
  chooser.replaceChildren(...view.slides.map((s) => el("option", { value: s.case_id }, `${s.case_id} ${s.name}`)));
  chooser.addEventListener("change", () => viewer.open(view.slides.find((s) => s.case_id === chooser.value)));
  await viewer.open(view.slides[0]);
}

function everything() {
  return [...view.evidence, ...live];
}

function showEvidence() {
  const all = everything(), focused = document.activeElement?.id;
  viewer.show(all);
  $("strip-title").textContent = all.length ? `Evidence (${all.length})` : "Evidence";
  $("evidence").replaceChildren(...all.map(card));
  if (focused?.startsWith("look-")) $(focused)?.focus();
  if (!all.length) $("evidence").append(el("li", { class: "quiet" }, hidden ? "What the machine looked at is shown once your opinion stands." : "Nothing has been looked at yet."));
}

function card(item) {
  const { slide, x, y, width, height } = item.region;
  const picture = el("img", { src: address(`/cases/${id}/slides/${slide}/region.jpeg?x=${x}&y=${y}&width=${width}&height=${height}`), alt: "", loading: "lazy", width: 52, height: 52 });
  return el("li", {}, el("button", { type: "button", id: `look-${item.id}`, "aria-pressed": String(viewer.picked === item.id), onclick: () => pick(item.id, true), title: item.title }, picture,
    el("b", {}, item.id), el("span", {}, item.title)));
}

function mark(evidenceId) {
  for (const button of $("evidence").querySelectorAll("button")) button.setAttribute("aria-pressed", String(button.id === `look-${evidenceId}`));
  $(`look-${evidenceId}`)?.scrollIntoView({ block: "nearest", inline: "center" });
}

async function pick(evidenceId, fromStrip = false) {
  const item = everything().find((e) => e.id === evidenceId);
  if (!item) return;
  await viewer.pan(item, view.slides);
  mark(evidenceId);
  if (fromStrip) reveal(evidenceId);
  if (matchMedia("(max-width: 800px)").matches) $("viewer").scrollIntoView({ block: "nearest" });
}

function boxPicked(evidenceId) {
  viewer.picked = evidenceId;
  viewer.redraw();
  mark(evidenceId);
  reveal(evidenceId);
}

function reveal(evidenceId) {
  if ($("panel-report").hidden) talk.reveal(evidenceId);
  else report.reveal(evidenceId);
}

async function showRegion(region) {
  await viewer.pan({ id: null, region }, view.slides);
  viewer.setDrawn(region);
}

function regionDrawn(slide, box) {
  about = { slide: slide.case_id, region: box };
  const mm = (px) => (px * slide.mpp) / 1000;
  const size = (px) => (px * slide.mpp < 1000 ? `${Math.round(px * slide.mpp)} µm` : `${mm(px).toPrecision(3)} mm`);
  $("about-text").textContent = `About a region of ${slide.case_id}: ${size(box.width)} × ${size(box.height)}, ${(mm(box.width) * mm(box.height)).toPrecision(3)} mm²`;
  $("about").hidden = false;
  tab("talk");
  $("question").placeholder = "What is shown in this region?";
  $("question").focus();
}

function clearAbout() {
  about = null;
  $("about").hidden = true;
  $("question").placeholder = "Ask about the slide, a region or the draft";
  viewer.setDrawn(null);
}

async function attempt(act) {
  say($("ask-fault"), "");
  try {
    await act();
    await refresh();
  } catch (error) {
    say($("ask-fault"), error.message);
  }
}

$("about-clear").addEventListener("click", clearAbout);
$("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  attempt(async () => {
    await api(`/cases/${id}/questions`, { method: "POST", body: { question: $("question").value, ...(about ?? {}) } });
    $("question").value = "";
    clearAbout();
  });
});
$("question").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey) {
    event.preventDefault();
    $("ask").requestSubmit();
  }
});
$("draft").addEventListener("click", () => attempt(() => api(`/cases/${id}/drafts`, { method: "POST" })));

function tab(name) {
  current = name;
  $("tabs").hidden = hidden;
  $("draw").closest(".group").hidden = hidden;
  for (const other of TABS) {
    $(`tab-${other}`).setAttribute("aria-selected", String(other === name));
    $(`tab-${other}`).tabIndex = other === name ? 0 : -1;
    $(`panel-${other}`).hidden = hidden || other !== name;
  }
  if (name === "timeline") showTimeline(id);
}
for (const name of TABS) {
  $(`tab-${name}`).addEventListener("click", () => tab(name));
  $(`tab-${name}`).addEventListener("keydown", (event) => {
    if (!["ArrowLeft", "ArrowRight"].includes(event.key)) return;
    const shown = TABS.filter((t) => !$(`tab-${t}`).hidden), step = event.key === "ArrowRight" ? 1 : -1;
    const other = shown[(shown.indexOf(name) + step + shown.length) % shown.length];
    tab(other);
    $(`tab-${other}`).focus();
  });
}

// The browser connects again by itself and says which event it has seen last.
function follow() {
  stream = new EventSource(address(`/cases/${id}/events?after=${view.newest_event}`));
  stream.onmessage = (message) => happened(JSON.parse(message.data));
  stream.onerror = () => stream.readyState === EventSource.CLOSED && setTimeout(again, 2000);
}

// Where the browser has given up: the server was away for longer.
async function again() {
  try {
    await refresh();
    follow();
  } catch {
    setTimeout(again, 2000);
  }
}
window.addEventListener("pagehide", () => stream?.close());

let due = null;
function soon() {
  clearTimeout(due);
  due = setTimeout(refresh, 60);
}

function happened(event) {
  if (event.kind === "run_state" && SETTLED.includes(event.state)) {
    if (event.state !== "running") now(null);
    return soon();
  }
  if (event.kind === "version") return soon();
  if (event.kind === "tool_called" && event.tool === "read_region") return now(event.arguments.region);
  if (event.kind === "looked") {
    now(event.region);
    live = live.filter((e) => e.id !== event.id);
    if (!view.evidence.some((e) => e.id === event.id)) live.push({ id: event.id, region: event.region, title: event.line.replace(/^E\d+ /, "") });
    showEvidence();
  }
  talk.add(event);
}

function now(region) {
  viewer.setLooking(region);
  say($("now"), region ? `Looking at ${region.slide}` : "");
}

refresh().catch((error) => say($("slide-fault"), error.message));
