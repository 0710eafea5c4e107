/** The page we run in: which Jupyter server it came from, if from one, and its REST road. */
import type { Command } from "../connection";
import type { Ack, Part, SentFile, Session } from "../protocol.gen";

export interface JupyterPage {
  /** Absolute, with a trailing slash. */
  base_url: string;
  token: string;
}

/** The server of this page, from the configuration that Jupyter writes into it; null elsewhere. */
export function jupyterPage(root: Document = document): JupyterPage | null {
  const text = root.getElementById("jupyter-config-data")?.textContent;
  if (!text) return null;
  try {
    const config = JSON.parse(text) as { baseUrl?: unknown; token?: unknown };
    if (typeof config.baseUrl !== "string") return null;
    const base_url = new URL(config.baseUrl.replace(/\/?$/, "/"), root.location.href).href;
    return { base_url, token: typeof config.token === "string" ? config.token : "" };
  } catch {
    return null;
  }
}

/** The address of a session's socket. */
export function socketUrl(page: JupyterPage, session_id: string): string {
  const url = new URL(`jupyter-agent/api/v1/sessions/${session_id}/connect`, page.base_url);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  if (page.token) url.searchParams.set("token", page.token);
  return url.href;
}

/** One command by REST; null when this road doesn't lead there. A command is idempotent by its `cmd_id`. */
export async function postCommand(page: JupyterPage, session_id: string, order: Command): Promise<Ack | null> {
  try {
    const response = await fetch(new URL(`jupyter-agent/api/v1/sessions/${session_id}/commands`, page.base_url), {
      method: "POST",
      credentials: "same-origin",
      headers: restHeaders(page),
      body: JSON.stringify(order),
    });
    const body = (await response.json()) as Partial<Ack>;
    return body.cmd_id === order.cmd_id && body.status !== undefined ? (body as Ack) : null;
  } catch {
    return null;
  }
}

/** A part, whole: large ones come cut by the road. Throws a sentence for the user. */
export async function fetchPart(
  page: JupyterPage,
  session_id: string,
  message_id: string,
  part_id: string,
): Promise<Part> {
  const path = `messages/${encodeURIComponent(message_id)}/parts/${encodeURIComponent(part_id)}`;
  return (await ask<{ part: Part }>(page, session_id, path, { method: "GET" })).part;
}

/** Keep a text beside the session; what comes back can be sent in its place. Throws a sentence for the user. */
export async function uploadText(page: JupyterPage, session_id: string, name: string, text: string): Promise<SentFile> {
  const body = new Blob([text], { type: "text/plain" });
  const path = `attachments?name=${encodeURIComponent(name)}`;
  const kept = await ask<{ attachment: Omit<SentFile, "type"> }>(page, session_id, path, { method: "POST", body });
  return { ...kept.attachment, type: "file" };
}

/** The models on offer. Throws a sentence for the user. */
export async function fetchModels(page: JupyterPage): Promise<ModelInfo[]> {
  return (await askServer<{ models: ModelInfo[] }>(page, "models", { method: "GET" })).models;
}

export interface ModelInfo {
  id: string;
  display_name: string;
  deprecated: boolean;
}

/** What is around a session; see `hosts/server/details.py`. Throws a sentence for the user. */
export function fetchDetails(page: JupyterPage, session_id: string): Promise<Details> {
  return ask<Details>(page, session_id, "details", { method: "GET" });
}

export interface Details {
  session: Session;
  notebook_path: string | null;
  /** Null while none runs. */
  kernel: { name: string; display_name: string; state: string } | null;
  /** Null outside of any repository; a detached head has a commit and no branch. */
  git: { root: string; branch: string | null; commit: string | null } | null;
  storage: "local" | "network";
}

/** Let this server have a session that another one has open. Throws a sentence for the user. */
export async function takeOver(page: JupyterPage, session_id: string): Promise<void> {
  await ask(page, session_id, "take-over", { method: "POST", body: "{}" });
}

/** The server said nothing, or that it can't now: the same may be asked again. */
export class NotNow extends Error {}

function ask<T>(page: JupyterPage, session_id: string, path: string, init: RequestInit): Promise<T> {
  return askServer(page, `sessions/${session_id}/${path}`, init);
}

async function askServer<T>(page: JupyterPage, path: string, init: RequestInit): Promise<T> {
  const { "Content-Type": _, ...headers } = restHeaders(page);
  let response: Response;
  try {
    const url = new URL(`jupyter-agent/api/v1/${path}`, page.base_url);
    response = await fetch(url, { credentials: "same-origin", headers, ...init });
  } catch {
    throw new NotNow("The Jupyter Server does not answer.");
  }
  const reply = (await response.json().catch(() => null)) as { error?: { message?: unknown } } | null;
  if (response.ok && reply !== null) return reply as T;
  const said = reply?.error?.message;
  const why = typeof said === "string" ? said : `The server refused (${response.status}).`;
  throw response.status >= 500 ? new NotNow(why) : new Error(why);
}

function restHeaders(page: JupyterPage): Record<string, string> {
  const xsrf = /(?:^|;\s*)_xsrf=([^;]*)/.exec(document.cookie)?.[1];
  return {
    "Content-Type": "application/json",
    ...(xsrf === undefined ? {} : { "X-XSRFToken": decodeURIComponent(xsrf) }),
    ...(page.token ? { Authorization: `token ${page.token}` } : {}),
  };
}
