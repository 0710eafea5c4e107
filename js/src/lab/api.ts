/** The REST road to the server extension, with Jupyter's own settings (base URL, token, XSRF). */
import { URLExt } from "@jupyterlab/coreutils";
import { ServerConnection } from "@jupyterlab/services";
import type { JupyterPage } from "../connections/page";
import type { SessionLibrary } from "../panel/context";
import type { Session } from "../protocol.gen";
import type { SessionPage } from "../session-list";
import { watchSessions } from "./list-socket";

const BASE = "jupyter-agent/api/v1";
const PAGE = 25;

/** What the server, or the way to it, has against a request; `message` is for the user. */
export class ApiError extends Error {
  constructor(
    message: string,
    readonly status: number,
    readonly hint: string | null = null,
  ) {
    super(message);
  }
}

/** What to tell the user about a fault. */
export function sentence(error: unknown): string {
  if (error instanceof ApiError) return [error.message, error.hint].filter(Boolean).join(" ");
  console.error("jupyter_agent:", error);
  return "The Agent could not be shown.";
}

const NOT_INSTALLED =
  "JupyterLab has the Agent's panel, but this Jupyter Server does not run its extension. " +
  "Run `jupyter server extension enable jupyter_agent` and restart the server.";

export class AgentApi {
  constructor(private readonly settings: ServerConnection.ISettings) {}

  /** The sessions of a notebook of this server, or of none, that aren't archived; the latest first. */
  async ofNotebook(notebook_path: string | null, limit = 200): Promise<readonly Session[]> {
    const wanted = new URLSearchParams({ state: "active", limit: String(limit), notebook_path: notebook_path ?? "" });
    return (await this.request<SessionPage>(`sessions?${wanted}`)).sessions;
  }

  /** A session by its id, null when there is none. */
  async sessionIfAny(session_id: string): Promise<Session | null> {
    try {
      return await this.session(session_id);
    } catch (error) {
      if (error instanceof ApiError && error.status === 404) return null;
      throw error;
    }
  }

  /** A page of them, behind `before`; `query` is looked for in titles and messages. */
  private found(query: string, before?: string): Promise<SessionPage> {
    // What was put away, by itself after two weeks, is found by its words.
    const wanted = new URLSearchParams({ state: query === "" ? "active" : "all", limit: String(PAGE) });
    if (query !== "") wanted.set("q", query);
    if (before !== undefined) wanted.set("before", before);
    return this.request<SessionPage>(`sessions?${wanted}`);
  }

  async session(session_id: string): Promise<Session> {
    return (await this.request<{ session: Session }>(`sessions/${encodeURIComponent(session_id)}`)).session;
  }

  async create(fields: { notebook_path: string | null }): Promise<Session> {
    return (await this.request<{ session: Session }>("sessions", "POST", fields)).session;
  }

  async update(session_id: string, patch: { notebook_path?: string; title?: string }): Promise<void> {
    await this.request(`sessions/${session_id}`, "PATCH", patch);
  }

  /** The sessions, as the panel's list wants them. */
  readonly library: SessionLibrary = {
    list: (query, before) => this.found(query, before),
    rename: (session_id, title) => this.update(session_id, { title }),
    duplicate: async (session_id) => (await this.post<{ session: Session }>(session_id, "duplicate")).session,
    archive: (session_id) => this.post(session_id, "archive"),
    unarchive: (session_id) => this.post(session_id, "unarchive"),
    remove: (session_id) => this.request(`sessions/${session_id}`, "DELETE"),
    bringBack: (session_id) => this.post(session_id, "undelete"),
    watch: (told) => watchSessions(() => this.webSocketUrl("connect"), told),
  };

  private post<T>(session_id: string, action: string): Promise<T> {
    return this.request<T>(`sessions/${session_id}/${action}`, "POST", {});
  }

  /** The server, for what is asked of one session. */
  get page(): JupyterPage {
    return { base_url: new URL(this.settings.baseUrl, window.location.href).href, token: this.settings.token };
  }

  /** The address of a session's socket, with the token as it is now. */
  socketUrl(session_id: string): string {
    return this.webSocketUrl("sessions", session_id, "connect");
  }

  private webSocketUrl(...path: string[]): string {
    const { wsUrl, appendToken, token } = this.settings;
    const url = URLExt.join(wsUrl, BASE, ...path);
    return appendToken && token !== "" ? `${url}?token=${encodeURIComponent(token)}` : url;
  }

  private async request<T>(path: string, method = "GET", body?: object): Promise<T> {
    const url = `${URLExt.join(this.settings.baseUrl, BASE)}/${path}`;
    const init: RequestInit = body === undefined ? { method } : { method, body: JSON.stringify(body) };
    let response: Response;
    try {
      response = await ServerConnection.makeRequest(url, init, this.settings);
    } catch {
      throw new ApiError("The Jupyter Server does not answer.", 0);
    }
    const reply: unknown = await response.json().catch(() => null);
    if (response.ok) return reply as T;
    throw refusal(response.status, reply);
  }
}

function refusal(status: number, reply: unknown): ApiError {
  const error = (reply as { error?: { message?: unknown; hint?: unknown } } | null)?.error;
  if (typeof error?.message === "string") {
    return new ApiError(error.message, status, typeof error.hint === "string" ? error.hint : null);
  }
  // Without our extension the address is unknown, and Jupyter answers with a page of its own.
  return status === 404 ? new ApiError(NOT_INSTALLED, status) : new ApiError(`The server refused (${status}).`, status);
}
