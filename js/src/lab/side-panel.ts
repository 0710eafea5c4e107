/**
 * The panel in JupyterLab's right area: holds one mounted session and swaps it.
 *
 *     notebook in front ──SessionChoice──► session ──SocketConnection──► mountPanel
 *
 * It follows the notebook in front only while it can be seen; what it showed
 * stays mounted when it is hidden, so that nothing half-typed is lost.
 */
import type { Message } from "@lumino/messaging";
import { Widget } from "@lumino/widgets";
import { type Signal, signal } from "@preact/signals";
import { SocketConnection } from "../connections/socket";
import { mountPanel, type PanelHandle } from "../panel/mount";
import type { Session } from "../protocol.gen";
import { type AgentApi, ApiError } from "./api";
import type { SessionChoice } from "./choice";

const POLL_MS = 30_000;

export class AgentSidePanel extends Widget {
  private readonly sessions: Signal<readonly Session[]> = signal([]);
  private mounted: { session_id: string; handle: PanelHandle; host: HTMLElement } | null = null;
  private notebook_path: string | null = null;
  /** Raised by each change of mind, so that a late answer to an earlier one is dropped. */
  private turn = 0;
  private shownFor: string | null | undefined;
  private pollTimer: ReturnType<typeof setInterval> | undefined;

  constructor(
    private readonly api: AgentApi,
    private readonly choice: SessionChoice,
  ) {
    super();
    this.addClass("jp-agent-SidePanel");
  }

  override dispose(): void {
    if (this.isDisposed) return;
    clearInterval(this.pollTimer);
    this.unmount();
    super.dispose();
  }

  /** What commands act on; null while no session is shown. */
  get handle(): PanelHandle | null {
    return this.mounted?.handle ?? null;
  }

  /** The notebook in front changed. */
  follow(notebook_path: string | null): void {
    this.notebook_path = notebook_path;
    if (this.isVisible) void this.showNotebook();
  }

  /** The notebook we follow got another name; it keeps its session. */
  async renamed(from: string, to: string): Promise<void> {
    if (this.notebook_path === from) this.notebook_path = to;
    if (this.shownFor === from) this.shownFor = to;
    await this.choice.rename(from, to);
    const moved = this.sessions.peek().filter((session) => session.notebook_path === from);
    await Promise.all(moved.map((session) => this.api.update(session.id, { notebook_path: to }))).catch(
      () => undefined,
    );
  }

  async newSession(): Promise<void> {
    const turn = ++this.turn;
    await this.reporting(turn, async () => {
      const session = await this.api.create({ notebook_path: this.notebook_path });
      await this.choice.choose(this.notebook_path, session.id);
      if (turn === this.turn) this.show_session(session.id);
    });
    void this.refresh();
  }

  protected override onAfterShow(message: Message): void {
    super.onAfterShow(message);
    this.wake();
  }

  protected override onAfterAttach(message: Message): void {
    super.onAfterAttach(message);
    if (this.isVisible) this.wake();
  }

  protected override onAfterHide(message: Message): void {
    super.onAfterHide(message);
    clearInterval(this.pollTimer);
  }

  protected override onActivateRequest(message: Message): void {
    super.onActivateRequest(message);
    this.handle?.focus();
  }

  private wake(): void {
    void this.showNotebook();
    void this.refresh();
    clearInterval(this.pollTimer);
    this.pollTimer = setInterval(() => void this.refresh(), POLL_MS);
  }

  private async showNotebook(): Promise<void> {
    const path = this.notebook_path;
    if (this.mounted !== null && this.shownFor === path) return;
    const turn = ++this.turn;
    await this.reporting(turn, async () => {
      const session = await this.choice.find(path);
      if (turn !== this.turn) return;
      this.shownFor = path;
      this.show_session(session.id);
    });
  }

  private async openSession(session_id: string): Promise<void> {
    ++this.turn;
    this.show_session(session_id);
    await this.choice.choose(this.notebook_path, session_id);
  }

  private async refresh(): Promise<void> {
    try {
      this.sessions.value = await this.api.sessions();
    } catch {
      // The list stays as it is; the panel's own status line says that the server is away.
    }
  }

  private show_session(session_id: string): void {
    if (this.mounted?.session_id === session_id) return;
    this.unmount();
    const host = document.createElement("div");
    host.className = "jp-agent-SidePanel-host";
    this.node.replaceChildren(host);
    const connection = new SocketConnection({ session_id, url: () => this.api.socketUrl(session_id) });
    const handle = mountPanel(host, connection, {
      sessions: this.sessions,
      onOpenSession: (id) => void this.openSession(id),
      onNewSession: () => void this.newSession(),
      onRefreshSessions: () => void this.refresh(),
    });
    this.mounted = { session_id, handle, host };
  }

  private unmount(): void {
    this.mounted?.handle.dispose();
    this.mounted = null;
  }

  /** Do something with the server; say so, in place of the panel, if it can't be done. */
  private async reporting(turn: number, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (turn === this.turn) this.showFault(error);
    }
  }

  private showFault(error: unknown): void {
    this.unmount();
    this.shownFor = undefined;
    const known = error instanceof ApiError;
    const box = document.createElement("div");
    box.className = "jp-agent-SidePanel-fault";
    box.setAttribute("role", "alert");
    const text = document.createElement("p");
    text.textContent = known ? [error.message, error.hint].filter(Boolean).join(" ") : "The Agent could not be shown.";
    const retry = document.createElement("button");
    retry.textContent = "Try again";
    retry.className = "jp-mod-styled";
    retry.onclick = () => this.wake();
    box.append(text, retry);
    this.node.replaceChildren(box);
    if (!known) console.error("jupyter_agent:", error);
  }
}
