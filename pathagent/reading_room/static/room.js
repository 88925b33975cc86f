// What every page needs: the API with its words for failure, and elements that are built, never parsed.

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

// el("button", {class: "x", onclick: f, "aria-pressed": "true"}, "text", node, …)
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "value") node.value = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((c) => c !== null && c !== undefined && c !== false));
  return node;
}

export function say(node, text) {
  node.textContent = text ?? "";
  node.hidden = !text;
}

export const when = (seconds) =>
  new Date(seconds * 1000).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });

export const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;

$("sign-out")?.addEventListener("click", async () => {
  await api("/sign-out", { method: "POST" });
  location.assign("/");
});
