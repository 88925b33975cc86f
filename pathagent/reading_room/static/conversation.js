// The conversation: what was asked, the steps of the agents, and answers whose citations move the slide.

import { $, api, el, plural, when } from "./room.js";

const WORDS = JSON.parse($("words").textContent);
const NODES = {
  triage: "Triage: tissue, stain, quality", navigation: "Navigation: where to look next", description: "Description: looking",
  diagnosis: "Diagnosis: what it adds up to", measure: "Measuring the slides", write: "Writing", verify: "Checking each claim against its evidence", illustrate: "", compare: "", review: "", finish: "",
};
const STATES = { queued: "waiting in line", running: "at work", deciding: "the decision is being carried out", stopped: "stopped", paused: "paused", failed: "did not work", superseded: "" };
const KINDS = { draft: "Draft the report", look: "Another look", region: "What is shown in this region?" };

const sentence = (text) => (text ? text[0].toUpperCase() + text.slice(1) : "");

function looks(run) {
  if (!run.answer) return "";
  return run.answer.new_looks ? `: ${plural(run.answer.new_looks, "new look")}` : ": from the evidence there was";
}

export class Conversation {
  constructor({ pick, showRegion, openReport, refresh }) {
    Object.assign(this, { pick, showRegion, openReport, refresh });
    this.blocks = new Map();
    this.steps = new Map();
    this.opened = new Set();
  }

  render(view) {
    const list = $("messages");
    const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 80;
    this.view = view;
    this.blocks.clear();
    const runs = view.runs.map((run) => this.block(run));
    list.replaceChildren(...(runs.length ? runs : [this.welcome()]));
    if (atEnd || !this.rendered) list.scrollTop = list.scrollHeight;
    this.rendered = true;
  }

  welcome() {
    const ask = (text) => el("button", { type: "button", class: "link", onclick: () => { $("question").value = text; $("question").focus(); } }, text);
    return el("div", { class: "welcome" },
      el("p", {}, "Ask about the slide, or let the agents draft the report. Every answer cites what it was read from: a citation moves the slide to the tissue."),
      el("ul", {}, ...["Is invasive tumour present?", "Is necrosis present?", "How many pieces of tissue are there?"].map((q) => el("li", {}, ask(q)))));
  }

  block(run) {
    const article = el("article", { class: "run", id: `run-${run.id}`, "data-state": run.state },
      this.asked(run), this.progress(run), run.answer ? this.answer(run) : null, this.state(run));
    this.blocks.set(run.id, article);
    return article;
  }

  asked(run) {
    const text = run.kind === "look" ? `Another look: ${run.about}` : run.question || KINDS[run.kind];
    const region = run.region && el("button", { type: "button", class: "cite region", onclick: () => this.showRegion(run.region) }, "region");
    return el("p", { class: "asked" }, text, region ? " " : null, region, el("small", {}, `${run.asked_by} · ${when(run.created)}`));
  }

  progress(run) {
    const body = el("ol", { class: "steps" });
    const open = run.state === "running" || this.opened.has(run.id);
    const details = el("details", { open }, el("summary", {}, `Steps${looks(run)}`), body);
    this.fill(run.id, body);
    if (!this.steps.has(run.id) && open) this.load(run.id, body);
    details.addEventListener("toggle", () => {
      details.open ? this.opened.add(run.id) : this.opened.delete(run.id);
      if (details.open && !this.steps.has(run.id)) this.load(run.id, body);
    });
    return details;
  }

  async load(runId, body) {
    this.steps.set(runId, []);
    let after = 0, events;
    do {
      events = await api(`/cases/${this.view.id}/runs/${runId}/events?after=${after}`);
      for (const event of events) this.keep(event);
      after = events.at(-1)?.seq ?? after;
    } while (events.length === 500);
    this.fill(runId, body);
  }

  keep(event) {
    const steps = this.steps.get(event.run);
    if (!steps || steps.some((s) => s.seq === event.seq)) return;
    steps.push(event);
    steps.sort((a, b) => a.seq - b.seq);
  }

  fill(runId, body) {
    const lines = (this.steps.get(runId) ?? []).map((event) => this.line(event)).filter(Boolean);
    body.replaceChildren(...lines);
  }

  // A live event of a run that is shown.
  add(event) {
    if (!this.steps.has(event.run)) this.steps.set(event.run, []);
    this.keep(event);
    const body = this.blocks.get(event.run)?.querySelector(".steps");
    if (body) this.fill(event.run, body);
    const list = $("messages");
    if (list.scrollHeight - list.scrollTop - list.clientHeight < 160) list.scrollTop = list.scrollHeight;
  }

  line(event) {
    if (event.kind === "node_started" && event.node !== "description") return NODES[event.node] ? el("li", {}, NODES[event.node]) : null;
    if (event.kind === "looked") return el("li", { class: "look" }, this.cite(event.id), ` ${event.line.replace(/^E\d+ /, "")}`);
    if (event.kind === "believed") {
      const missing = event.sufficient ? "enough to answer" : event.missing ? `still missing: ${event.missing}` : "not enough yet";
      return el("li", { class: "belief" }, event.leading ? `${event.leading}, ${Math.round(100 * event.probability)} %: ${missing}` : `No differential yet: ${missing}`);
    }
    return null;
  }

  cite(id) {
    return el("button", { type: "button", class: "cite", "data-evidence": id, onclick: () => this.pick(id) }, id);
  }

  answer(run) {
    const a = run.answer;
    const seen = a.seen.length ? el("ul", { class: "seen" }, ...a.seen.map((s) => el("li", {}, this.cite(s.id), " ", s.text))) : "";
    const parts = [seen, el("p", { class: "said" }, this.linked(sentence(a.text)))];
    if (a.named.length) parts.push(this.sideBySide(a.named));
    if (a.evidence.length) parts.push(el("p", { class: "cites" }, "Evidence ", ...a.evidence.flatMap((id) => [this.cite(id), " "])));
    if (run.kind === "draft" || run.kind === "look") {
      if (a.differential.length) parts.push(el("ul", { class: "differential" }, ...a.differential.map((h) => el("li", {}, el("meter", { min: 0, max: 1, value: h.probability, "aria-label": h.text }), ` ${h.text} `, el("b", {}, `${Math.round(100 * h.probability)} %`)))));
      parts.push(el("p", {}, el("button", { type: "button", class: "link", onclick: this.openReport }, "Read the draft")));
    } else if (a.verdict) {
      parts.push(el("p", { class: "verdict" }, `${a.verdict}; written by ${a.written_by === "model" ? "the model" : "a rule"}.`, a.reason ? ` ${sentence(a.reason)}.` : ""));
    }
    return el("div", { class: "answer" }, ...parts);
  }

  // Looks that the question names, slot by slot; rows that differ stand out. By rule, not by the model.
  sideBySide(named) {
    const rows = Object.entries(WORDS.slots).map(([slot, label]) => [label, named.map((e) => e.findings?.[slot] ?? "–")]);
    const measured = [...new Set(named.flatMap((e) => e.measurements.map((m) => m.label)))].slice(0, 4);
    for (const label of measured) rows.push([label, named.map((e) => e.measurements.find((m) => m.label === label)).map((m) => m?.text ?? "–")]);
    return el("div", { class: "scroll" }, el("table", { class: "side" },
      el("thead", {}, el("tr", {}, el("td", {}), ...named.map((e) => el("th", { scope: "col" }, this.cite(e.id))))),
      el("tbody", {}, ...rows.map(([label, values]) => el("tr", { class: new Set(values).size > 1 ? "differs" : null }, el("th", { scope: "row" }, label), ...values.map((v) => el("td", {}, v)))))));
  }

  // Text with [E2] as a citation; nothing else of it becomes markup.
  linked(text) {
    return (text ?? "").split(/(\[?\bE\d+\b\]?)/).map((part) => {
      const id = part.match(/^\[?(E\d+)\]?$/)?.[1];
      return id && this.view.evidence.some((e) => e.id === id) ? this.cite(id) : part;
    });
  }

  state(run) {
    const words = STATES[run.state];
    if (!words) return null;
    const act = (verb, label) => el("button", { type: "button", class: "link", onclick: () => this.act(run, verb) }, label);
    const can = ["queued", "running"].includes(run.state) ? act("stop", "Stop") : ["paused", "failed", "stopped"].includes(run.state) ? act("resume", "Go on") : null;
    return el("p", { class: `status ${run.state}`, role: run.state === "failed" ? "alert" : null }, run.state === "running" ? el("i", { class: "pulse" }) : null, run.reason && run.state !== "queued" ? `${words}: ${run.reason} ` : `${words} `, can);
  }

  async act(run, verb) {
    await api(`/cases/${run.case}/runs/${run.id}/${verb}`, { method: "POST" });
    this.refresh();
  }

  // Scrolls to where a look is spoken of.
  reveal(id) {
    const found = [...$("messages").querySelectorAll(`.answer [data-evidence="${id}"]`)].at(-1) ?? $("messages").querySelector(`[data-evidence="${id}"]`);
    if (!found) return;
    found.closest("details")?.setAttribute("open", "");
    found.scrollIntoView({ block: "center", behavior: "smooth" });
    found.classList.add("lit");
    setTimeout(() => found.classList.remove("lit"), 2000);
  }
}
