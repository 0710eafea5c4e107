/**
 * Which session belongs to a notebook.
 *
 * In order: the one last chosen there, the latest that was started there, a new
 * one. The empty path stands for "no notebook". Choices live in two places, and
 * the later one counts: JupyterLab's state database is kept on the server, but
 * JupyterLab writes it a second late, and a page that reloads within that second
 * would forget; the browser's own storage is written at once.
 */
import type { IStateDB } from "@jupyterlab/statedb";
import type { Session } from "../protocol.gen";
import type { AgentApi } from "./api";

const KEY = "jupyter-agent:sessions";
const KEPT = 200;

interface Chosen {
  id: string;
  /** Milliseconds since the epoch. */
  at: number;
}

type Nearby = Pick<Storage, "getItem" | "setItem">;

export class SessionChoice {
  private choices: Promise<Map<string, Chosen>> | null = null;

  constructor(
    private readonly api: Pick<AgentApi, "ofNotebook" | "sessionIfAny" | "create">,
    private readonly state: Pick<IStateDB, "fetch" | "save"> | null,
    private readonly nearby: Nearby | null = browserStorage(),
    /** Servers may share an origin: each has choices of its own. */
    private readonly server = "",
    /** The server's root directory: servers of one user may share a state database, with other notebooks. */
    private readonly root = "",
  ) {}

  /** Find or make the session of a notebook. */
  async find(notebook_path: string | null): Promise<Session> {
    const chosen = (await this.load()).get(this.keyOf(notebook_path))?.id;
    const session = chosen === undefined ? null : await this.api.sessionIfAny(chosen);
    if (session !== null && session.archived_at === null) return session;
    return (await this.api.ofNotebook(notebook_path, 1))[0] ?? (await this.api.create({ notebook_path }));
  }

  /** Remember that the user wants this session here. */
  async choose(notebook_path: string | null, session_id: string): Promise<void> {
    await this.put(this.keyOf(notebook_path), session_id);
  }

  /** Follow a notebook that got another name. */
  async rename(from: string, to: string): Promise<void> {
    const choices = await this.load();
    const chosen = choices.get(this.keyOf(from));
    if (chosen === undefined) return;
    choices.delete(this.keyOf(from));
    await this.put(this.keyOf(to), chosen.id);
  }

  private keyOf(notebook_path: string | null): string {
    return `${this.root}:${notebook_path ?? ""}`;
  }

  private async put(key: string, id: string): Promise<void> {
    const choices = await this.load();
    choices.delete(key); // the latest choice goes last, so that the oldest are forgotten first
    choices.set(key, { id, at: Date.now() });
    const latest = Object.fromEntries([...choices].slice(-KEPT));
    try {
      this.nearby?.setItem(this.nearbyKey, JSON.stringify(latest));
    } catch {
      // Full or forbidden: the state database has it in a second.
    }
    await this.state?.save(KEY, latest as never).catch(() => undefined);
  }

  private get nearbyKey(): string {
    return `${KEY}:${this.server}`;
  }

  private load(): Promise<Map<string, Chosen>> {
    this.choices ??= this.read();
    return this.choices;
  }

  private async read(): Promise<Map<string, Chosen>> {
    const stored = await this.state?.fetch(KEY).catch(() => undefined);
    const both = [...entries(stored), ...this.readNearby()].sort(([, a], [, b]) => a.at - b.at);
    const choices = new Map<string, Chosen>();
    for (const [path, chosen] of both) {
      choices.delete(path);
      choices.set(path, chosen);
    }
    return choices;
  }

  private readNearby(): [string, Chosen][] {
    try {
      return entries(JSON.parse(this.nearby?.getItem(this.nearbyKey) ?? "{}"));
    } catch {
      return [];
    }
  }
}

function entries(stored: unknown): [string, Chosen][] {
  const isChosen = (entry: [string, unknown]): entry is [string, Chosen] => {
    const chosen = entry[1] as Partial<Chosen> | null;
    return typeof chosen?.id === "string" && typeof chosen.at === "number";
  };
  return Object.entries((stored ?? {}) as Record<string, unknown>).filter(isChosen);
}

function browserStorage(): Nearby | null {
  try {
    return globalThis.localStorage ?? null; // reading the property may itself be forbidden
  } catch {
    return null;
  }
}
