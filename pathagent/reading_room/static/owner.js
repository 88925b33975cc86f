// What only the owner of a case does: share it with another user, and say which patient's it is.

import { $, api, say } from "./room.js";

// readers(names): keeps the names where they are given, and gives them. tied(): the case has its key now.
export function bindOwner(caseId, { readers, tied }) {
  bind("share", "sharing", async () => { readers(await api(`/cases/${caseId}/readers`, { method: "POST", body: { name: $("sharing-name").value.trim() } })); }, () => {
    $("sharing-with").textContent = readers().length ? `Shared with ${readers().join(", ")}.` : "Nobody else sees this case.";
  });
  bind("patient", "tying", async () => {
    await api(`/cases/${caseId}/patient`, { method: "POST", body: { key: $("tying-key").value } });
    $("tying-key").value = "";
    await tied();
  });
}

// A button that opens a dialog, whose form does something or says why not.
function bind(button, dialog, act, opened = () => {}) {
  $(button)?.addEventListener("click", () => {
    opened();
    say($(`${dialog}-fault`), "");
    $(dialog).showModal();
  });
  $(`${dialog}-no`).addEventListener("click", () => $(dialog).close());
  $(`${dialog}-form`).addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      await act();
      $(dialog).close();
    } catch (error) {
      say($(`${dialog}-fault`), error.message);
    }
  });
}
