/**
 * Which session belongs to a notebook.
 *
 * In order: the one last chosen there, the latest that was started there, a new
 * one. Choices live in JupyterLab's state database, a notebook's path to a
 * session's id; the empty path stands for "no notebook".
 */
import type { IStateDB } from "@jupyterlab/statedb";
import type { Session } from "../protocol.gen";
import type { AgentApi } from "./api";

const KEY = "jupyter-agent:sessions";
const KEPT = 200;

export class SessionChoice {
  private choices: Promise<Map<string, string>> | null = null;

  constructor(
    private readonly api: AgentApi,
    private readonly state: IStateDB | null,
  ) {}

  /** Find or make the session of a notebook. */
  async find(notebook_path: string | null): Promise<Session> {
    const sessions = await this.api.sessions();
    const chosen = (await this.load()).get(notebook_path ?? "");
    return (
      sessions.find((session) => session.id === chosen) ??
      sessions.find((session) => session.notebook_path === notebook_path) ??
      (await this.api.create({ notebook_path }))
    );
  }

  /** Remember that the user wants this session here. */
  async choose(notebook_path: string | null, session_id: string): Promise<void> {
    const choices = await this.load();
    const key = notebook_path ?? "";
    choices.delete(key); // the latest choice goes last, so that the oldest are forgotten first
    choices.set(key, session_id);
    await this.save();
  }

  /** Follow a notebook that got another name. */
  async rename(from: string, to: string): Promise<void> {
    const choices = await this.load();
    const session_id = choices.get(from);
    if (session_id === undefined) return;
    choices.delete(from);
    choices.set(to, session_id);
    await this.save();
  }

  private load(): Promise<Map<string, string>> {
    this.choices ??= this.read();
    return this.choices;
  }

  private async read(): Promise<Map<string, string>> {
    const stored = await this.state?.fetch(KEY).catch(() => undefined);
    const entries = Object.entries((stored ?? {}) as Record<string, unknown>);
    return new Map(entries.filter((entry): entry is [string, string] => typeof entry[1] === "string"));
  }

  private async save(): Promise<void> {
    const latest = [...(await this.load())].slice(-KEPT);
    await this.state?.save(KEY, Object.fromEntries(latest)).catch(() => undefined);
  }
}
