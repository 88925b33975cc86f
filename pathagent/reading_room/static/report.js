// The report: each claim with its evidence, a reader's words, and the decision that only a person takes.

import { $, address, api, el, say, when } from "./room.js";
import { compared } from "./compare.js";
import { synthetic } from "./synthetic.js";

const WORDS = JSON.parse($("words").textContent);
const KINDS = { html: "Page", pdf: "PDF", json: "JSON", docx: "Word", geojson: "QuPath regions", md: "Text" };

export class ReportPanel {
  constructor({ pick, refresh }) {
    Object.assign(this, { pick, refresh });
    this.edits = {};
    this.accepted = new Set();
    this.editing = new Map(); // claim id → what is being typed
    this.base = 0;
  }

  render(view) {
    this.caseId = view.id;
    const review = view.review;
    this.review = review;
    $("report-mark").textContent = review ? (review.version.status === "draft" ? "draft" : review.version.status) : "";
    $("report-mark").className = review ? `state ${review.version.status === "draft" ? "wait" : review.version.status === "reviewed" ? "good" : "bad"}` : "";
    if (!review) {
      $("report").replaceChildren(el("p", { class: "quiet" }, "No draft yet. “Draft the report” in the conversation starts one."));
      $("decide").hidden = true;
      return;
    }
    if (review.version.number !== this.base && !this.unsaved() && !this.editing.size) this.take(review);
    else if (review.version.number !== this.base) this.overtaken = review.version;
    const shown = JSON.stringify([review.version, review.state, review.reason]);
    if (shown !== this.shown) this.draw();
    this.shown = shown;
  }

  // Starts from what the newest version says.
  take(review) {
    this.base = review.version.number;
    this.overtaken = null;
    this.edits = { ...review.edits };
    this.saved = JSON.stringify([review.edits, [...review.accepted].sort()]);
    this.accepted = new Set(review.accepted);
    this.editing.clear();
  }

  unsaved() {
    return this.base > 0 && JSON.stringify([this.edits, [...this.accepted].sort()]) !== this.saved;
  }

  waits() {
    return this.review.state === "waiting";
  }

  draw() {
    const { review } = this, { report } = review;
    const keep = $("report").scrollTop;
    $("report").replaceChildren(
      this.overtaken ? this.conflict() : "",
      el("header", {}, el("h2", {}, WORDS.headlines[report.outcome]), el("p", { class: "why" }, report.outcome_text)),
      this.differential(report), ...this.sections(), this.limits(report), compared(review.compare), synthetic(this.caseId, report), this.versions(), this.downloads());
    $("report").scrollTop = keep;
    this.bar();
  }

  conflict() {
    const load = () => { this.take(this.review); this.draw(); };
    return el("p", { class: "fault", role: "alert" }, `Version ${this.overtaken.number} was written meanwhile by ${this.overtaken.by ?? "the machine"}. `, el("button", { type: "button", class: "link", onclick: load }, "Load it"), " (your unsaved changes are dropped).");
  }

  differential(report) {
    if (!report.differential.length) return "";
    return el("ul", { class: "differential" }, ...report.differential.slice(0, 4).map((h) => {
      const text = h.grade === "none" ? h.diagnosis : `${h.diagnosis}, ${h.grade}`;
      return el("li", {}, el("meter", { min: 0, max: 1, value: h.probability, "aria-label": text }), ` ${text} `, el("b", {}, `${Math.round(100 * h.probability)} %`));
    }));
  }

  sections() {
    const machine = this.review.machine, shown = this.waits() ? machine : machine.filter((c) => this.review.report.claims.some((r) => r.id === c.id) || this.review.edits[c.id] === "");
    return Object.entries(WORDS.sections).flatMap(([key, title]) => {
      const claims = shown.filter((c) => c.section === key);
      return claims.length ? [el("h3", {}, title), ...claims.map((c) => this.claim(c))] : [];
    });
  }

  text(claim) {
    return this.edits[claim.id] ?? claim.text;
  }

  claim(claim) {
    const text = this.text(claim), struck = text === "", changed = text !== claim.text;
    const carried = this.review.carried[claim.id];
    const tone = claim.written_by === "rule" && claim.verdict === "supported" ? "rule" : claim.verdict.replaceAll(" ", "-");
    const said = this.editing.has(claim.id) ? this.editor(claim) : el("p", { class: "said" }, struck ? el("s", {}, claim.text) : text);
    return el("article", { class: `claim ${tone}${struck ? " struck" : ""}${this.accepted.has(claim.id) ? " accepted" : ""}`, "data-claim": claim.id }, said,
      changed && !struck && !this.editing.has(claim.id) ? el("details", { class: "before" }, el("summary", {}, "What the machine said"), el("p", {}, claim.text)) : null,
      carried && this.edits[claim.id] === undefined ? el("p", { class: "hint" }, `In an earlier draft you wrote: “${carried || "(struck)"}” `, el("button", { type: "button", class: "link", onclick: () => this.change(claim, carried) }, "use it again")) : null,
      el("p", { class: "badges" }, el("span", { class: `verdict ${tone}` }, tone === "rule" ? "By rule" : WORDS.verdicts[claim.verdict]),
        claim.confidence !== null ? el("span", { class: "by" }, `confidence ${Math.round(100 * claim.confidence)} %`) : null,
        el("span", { class: "by" }, struck ? "struck" : changed ? "edited" : claim.written_by === "model" ? "by the model" : ""),
        ...claim.evidence.map((id) => el("button", { type: "button", class: "cite", "data-evidence": id, onclick: () => this.pick(id) }, id))),
      claim.reason && !changed ? el("p", { class: "reason" }, claim.reason[0].toUpperCase() + claim.reason.slice(1)) : null,
      this.waits() ? this.actions(claim, struck, changed) : null);
  }

  editor(claim) {
    const area = el("textarea", { rows: 3, "aria-label": `Text of ${claim.id}`, value: this.editing.get(claim.id), oninput: () => this.editing.set(claim.id, area.value) });
    const done = () => { this.editing.delete(claim.id); this.change(claim, area.value.trim().replace(/\s+/g, " ")); };
    return el("div", { class: "editor" }, area, el("div", { class: "actions" },
      el("button", { type: "button", onclick: () => { this.editing.delete(claim.id); this.draw(); } }, "Leave it"),
      el("button", { type: "button", class: "main", onclick: done }, "Use these words")));
  }

  actions(claim, struck, changed) {
    const button = (label, act, pressed) => el("button", { type: "button", onclick: act, "aria-pressed": pressed === undefined ? null : String(pressed), "aria-label": `${label} ${claim.id}` }, label);
    const accepted = this.accepted.has(claim.id);
    if (struck || changed) return el("div", { class: "act" }, button("Undo", () => this.change(claim, claim.text)), struck ? null : button("Edit", () => this.edit(claim)));
    return el("div", { class: "act" },
      button("Accept", () => { accepted ? this.accepted.delete(claim.id) : this.accepted.add(claim.id); this.draw(); }, accepted),
      button("Edit", () => this.edit(claim)), button("Strike", () => this.change(claim, "")),
      claim.section === "measurements" || claim.section === "quality" ? null : button("Look again", () => this.lookAgain(claim)));
  }

  edit(claim) {
    this.editing.set(claim.id, this.text(claim));
    this.draw();
    $("report").querySelector(`[data-claim="${claim.id}"] textarea`).focus();
  }

  change(claim, text) {
    if (text === claim.text) delete this.edits[claim.id];
    else this.edits[claim.id] = text;
    this.accepted.delete(claim.id);
    this.draw();
  }

  async lookAgain(claim) {
    await this.attempt(async () => {
      if (this.unsaved()) await this.save();
      await api(`/cases/${this.caseId}/looks`, { method: "POST", body: { claim: claim.id } });
      this.refresh("talk");
    });
  }

  limits(report) {
    if (!report.limits.length) return "";
    return el("section", {}, el("h3", {}, "Limits"), el("ul", { class: "limits" }, ...report.limits.map((l) => el("li", {}, l))));
  }

  versions() {
    const one = (v) => el("li", {}, el("details", {}, el("summary", {}, `Version ${v.number}: ${v.by ?? "the machine"}, ${when(v.at)}, ${v.status}`),
      v.comment ? el("p", {}, `“${v.comment}”`) : null,
      v.diff.length ? el("ul", { class: "diff" }, ...v.diff.map((d) => el("li", {}, el("b", {}, d.claim), d.before ? el("del", {}, d.before) : null, d.after ? el("ins", {}, d.after) : null))) : el("p", { class: "quiet" }, "No text changed."),
      this.files(v.number)));
    return el("section", {}, el("h3", {}, "Versions"), el("ol", { class: "versions" }, ...[...this.review.versions].reverse().map(one)));
  }

  files(number) {
    return el("p", { class: "files" }, ...Object.entries(KINDS).flatMap(([kind, label]) => [el("a", { href: address(`/cases/${this.caseId}/versions/${number}/report.${kind}`), download: true }, label), " "]));
  }

  downloads() {
    return el("section", {}, el("h3", {}, `Download version ${this.review.version.number} (${this.review.version.status})`), this.files(this.review.version.number));
  }

  bar() {
    const waits = this.waits(), bar = $("decide");
    bar.hidden = false;
    if (!waits) {
      const v = this.review.version;
      const words = this.review.state === "deciding" ? "The decision is being carried out." : v.status === "draft" ? `This draft does not wait for review: ${this.review.state}.` : `${v.status === "reviewed" ? "Approved" : "Rejected"} by ${v.by}, ${when(v.at)}.`;
      return bar.replaceChildren(el("p", { role: "status" }, words));
    }
    const claims = this.review.machine, done = claims.filter((c) => this.accepted.has(c.id) || this.edits[c.id] !== undefined).length;
    bar.replaceChildren(
      el("p", { role: "status" }, `${done} of ${claims.length} claims gone through${this.unsaved() ? ", not saved yet" : ""}`, this.review.reason ? el("span", { class: "fault" }, ` ${this.review.reason}`) : null),
      el("p", { class: "fault", id: "review-fault", role: "alert", hidden: true }),
      el("div", { class: "actions" },
        el("button", { type: "button", disabled: !this.unsaved(), onclick: () => this.attempt(() => this.save()) }, "Save edits"),
        el("button", { type: "button", onclick: () => this.decide("reject") }, "Reject…"),
        el("button", { type: "button", class: "main", onclick: () => this.decide("approve") }, "Approve…")));
  }

  async save() {
    const review = await api(`/cases/${this.caseId}/versions`, { method: "POST", body: { base: this.base, edits: this.edits, accepted: [...this.accepted] } });
    this.review = review;
    this.take(review);
    this.draw();
  }

  decide(decision) {
    const approve = decision === "approve", changed = Object.keys(this.edits).length;
    $("confirm-title").textContent = approve ? "Approve this report" : "Reject this draft";
    $("confirm-text").textContent = approve
      ? `You take over the report as it stands${changed ? `, with ${changed} changed or struck claim${changed === 1 ? "" : "s"}` : ""}. Your name and the time go into the audit chain. It stays research use only.`
      : "The draft is kept and marked as rejected. Your name and the time go into the audit chain.";
    $("confirm-yes").textContent = approve ? "Approve as reviewed" : "Reject the draft";
    $("confirm-comment").value = "";
    $("confirm-form").onsubmit = (event) => {
      event.preventDefault();
      $("confirm").close();
      this.attempt(async () => {
        if (this.unsaved()) await this.save();
        await api(`/cases/${this.caseId}/decision`, { method: "POST", body: { base: this.base, decision, comment: $("confirm-comment").value } });
        this.refresh();
      });
    };
    $("confirm").showModal();
  }

  async attempt(act) {
    try {
      await act();
    } catch (error) {
      if (error.status === 409) await this.refresh();
      say($("review-fault") ?? $("ask-fault"), error.message);
    }
  }

  reveal(id) {
    const found = $("report").querySelector(`[data-evidence="${id}"]`);
    if (!found) return;
    found.scrollIntoView({ block: "center", behavior: "smooth" });
    found.classList.add("lit");
    setTimeout(() => found.classList.remove("lit"), 2000);
  }
}
