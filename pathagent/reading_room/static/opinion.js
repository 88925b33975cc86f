// Reader mode: the reader's own opinion first, then the machine's; whether they agree is said afterwards.

import { $, api, el, say } from "./room.js";

const STATES = {
  "at work": "The machine’s draft is being made.", "waiting for review": "The machine’s draft is ready.",
  reviewed: "The report has been reviewed.", rejected: "The draft was rejected.",
  paused: "The machine’s draft is paused.", failed: "The machine’s draft did not work.",
};
const AGREEMENTS = { same: "Says the same", partly: "Partly", different: "Something else" };

export class OpinionPanel {
  // changed: called once an opinion was committed or compared.
  constructor({ changed }) {
    this.changed = changed;
  }

  // Shows what is due; true while nothing of the machine may be shown.
  render(view) {
    const { opinion } = view, box = $("opinion");
    this.caseId = view.id;
    const due = !opinion ? "" : opinion.withheld ? "commit" : view.review && !opinion.agreement ? "compare" : "";
    box.hidden = !due;
    if (due !== this.due) box.replaceChildren(...(due === "commit" ? this.form() : due === "compare" ? this.comparison(opinion) : []));
    this.due = due;
    if (due === "commit") {
      $("opinion-state").textContent = STATES[view.state] ?? "No draft has been asked for yet.";
      $("opinion-draft").hidden = view.state in STATES;
      if (!opinion.started && !this.begun) this.begin();
    }
    return due === "commit";
  }

  begin() {
    this.begun = true;
    this.post("/begin").catch((error) => say($("opinion-fault"), error.message));
  }

  form() {
    const sure = el("input", { type: "range", id: "opinion-sure", min: 0, max: 100, step: 5, value: "50", oninput: () => ($("opinion-percent").textContent = `${sure.value} %`) });
    return [el("form", { onsubmit: (event) => this.commit(event) },
      el("h2", {}, "Your opinion first"),
      el("p", { class: "quiet" }, "What the machine thinks of this case is shown once your opinion stands. It is not changed afterwards; how long you looked is kept with it."),
      el("label", { for: "opinion-text" }, "Diagnosis"), el("textarea", { id: "opinion-text", rows: 3, maxlength: 400, required: true }),
      el("label", { for: "opinion-sure" }, "How sure are you? ", el("output", { id: "opinion-percent", for: "opinion-sure" }, "50 %")), sure,
      el("p", { class: "fault", id: "opinion-fault", role: "alert", hidden: true }),
      el("div", { class: "actions" }, el("button", { class: "main", type: "submit" }, "Commit my opinion")),
      el("p", { class: "quiet" }, el("span", { id: "opinion-state", role: "status" }), " ", el("button", { type: "button", class: "link", id: "opinion-draft", hidden: true, onclick: () => this.draft() }, "Draft the report")))];
  }

  comparison(opinion) {
    const button = (key) => el("button", { type: "button", onclick: () => this.send("/agreement", { agreement: key }) }, AGREEMENTS[key]);
    return [el("p", {}, "You said: ", el("b", {}, opinion.diagnosis), ` (${opinion.sure} % sure). Does the machine’s draft say the same?`),
      el("div", { class: "actions" }, ...Object.keys(AGREEMENTS).map(button)),
      el("p", { class: "fault", id: "opinion-fault", role: "alert", hidden: true })];
  }

  post(path, body) {
    return api(`/cases/${this.caseId}/opinion${path}`, { method: "POST", body });
  }

  commit(event) {
    event.preventDefault();
    this.send("", { diagnosis: $("opinion-text").value, sure: Number($("opinion-sure").value) });
  }

  async draft() {
    try {
      await api(`/cases/${this.caseId}/drafts`, { method: "POST" });
    } catch (error) {
      say($("opinion-fault"), error.message);
    }
  }

  async send(path, body) {
    try {
      await this.post(path, body);
      await this.changed();
    } catch (error) {
      say($("opinion-fault"), error.message);
    }
  }
}
