// Sends a slide to the server and says how far it is.

import { $, address, api, say } from "./room.js";

const CSRF = document.querySelector('meta[name="csrf"]')?.content ?? "";

// done: called with the slide that the server has taken.
export function bindUpload(done) {
  $("file")?.addEventListener("change", async () => {
    const file = $("file").files[0];
    if (!file) return;
    say($("new-fault"), "");
    $("sending").hidden = false;
    $("sending").value = 0;
    try {
      const { max_upload: most } = await api("/settings");
      if (file.size > most) throw new Error(`${file.name} is larger than the ${(most / 1e9).toPrecision(3)} GB that this server takes.`);
      await done(await send(file));
    } catch (error) {
      say($("new-fault"), error.message);
    }
    $("sending").hidden = true;
    $("file").value = "";
  });
}

// XMLHttpRequest, as fetch does not say how much has gone out.
function send(file) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", address(`/slides?name=${encodeURIComponent(file.name)}`));
    request.setRequestHeader("X-CSRF-Token", CSRF);
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.upload.onprogress = (event) => ($("sending").value = event.loaded / event.total);
    request.onerror = () => reject(new Error("The server does not answer, or the file could not be read. Send it again."));
    request.onload = () => {
      let said = null;
      try {
        said = JSON.parse(request.responseText);
      } catch {
        said = { detail: request.responseText };
      }
      if (request.status === 201) resolve(said);
      else reject(new Error(typeof said.detail === "string" ? said.detail : `The server answered ${request.status}.`));
    };
    request.send(file);
  });
}
