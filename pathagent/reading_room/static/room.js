// What every page needs: the API with its words for failure, and elements.

import { el, say } from "./elements.js";

const CSRF = document.querySelector('meta[name="csrf"]')?.content ?? "";
const API = "/api/v1";

export class Refusal extends Error {
  constructor(status, body) {
    super(sentence(body) || `The server answered ${status}.`);
    this.status = status;
    this.kind = body?.kind ?? "";
  }
}

function sentence(body) {
  if (Array.isArray(body?.detail)) return body.detail.map((d) => `${d.loc?.at(-1)}: ${d.msg}`).join("; ");
  return body?.detail;
}

export async function api(path, { method = "GET", body } = {}) {
  const headers = { "X-CSRF-Token": CSRF };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(API + path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  } catch {
    throw new Refusal(0, { detail: "The server does not answer. Is it still running?" });
  }
  const said = answer.status === 204 ? null : await answer.json().catch(() => null);
  if (!answer.ok) throw new Refusal(answer.status, said);
  return said;
}

export const address = (path) => API + path;
export const $ = (id) => document.getElementById(id);

export { el, say };

export const when = (seconds) =>
  new Date(seconds * 1000).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });

export const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;

$("sign-out")?.addEventListener("click", async () => {
  await api("/sign-out", { method: "POST" });
  location.assign("/");
});
