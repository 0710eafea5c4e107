/**
 * The panel in JupyterLab's right area: holds one mounted session and swaps it.
 *
 *     notebook in front ──SessionChoice──► session ──SocketConnection──► mountPanel
 *
 * It follows the notebook in front only while it can be seen; what it showed
 * stays mounted when it is hidden. Nothing half-typed is lost (`draft`).
 */
import { Notification } from "@jupyterlab/apputils";
import type { Message } from "@lumino/messaging";
import { Widget } from "@lumino/widgets";
import type { PanelHandle } from "../panel";
import { type AgentApi, sentence } from "./api";
import type { SessionChoice } from "./choice";
import { mountSession } from "./mounted";

export class AgentSidePanel extends Widget {
  private mounted: { session_id: string; handle: PanelHandle } | null = null;
  private notebook_path: string | null = null;
  /** Raised by each change of mind, so that a late answer to an earlier one is dropped. */
  private turn = 0;
  private shownFor: string | null | undefined;

  constructor(
    private readonly api: AgentApi,
    private readonly choice: SessionChoice,
    /** Absent where there is no main area to open a session in. */
    private readonly onOpenMain?: (session_id: string) => void,
    /** Until then, what is in front, or nothing, may only be on its way to something else. */
    private readonly settled: Promise<void> = Promise.resolve(),
  ) {
    super();
    this.addClass("jp-agent-SidePanel");
  }

  override dispose(): void {
    if (this.isDisposed) return;
    this.unmount();
    super.dispose();
  }

  /** What commands act on; null while no session is shown. */
  get handle(): PanelHandle | null {
    return this.mounted?.handle ?? null;
  }

  /** Which session is shown. */
  get session_id(): string | null {
    return this.mounted?.session_id ?? null;
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
    const moved = await this.api.ofNotebook(from);
    await Promise.all(moved.map((session) => this.api.update(session.id, { notebook_path: to })));
  }

  async newSession(): Promise<void> {
    const turn = ++this.turn;
    const path = this.notebook_path;
    try {
      const session = await this.api.create({ notebook_path: path });
      await this.choice.choose(path, session.id);
      if (turn !== this.turn) return;
      this.shownFor = path;
      this.showSession(session.id);
    } catch (error) {
      // The session that is shown stays; nothing about it has changed.
      Notification.error(sentence(error));
    }
  }

  protected override onAfterShow(message: Message): void {
    super.onAfterShow(message);
    void this.showNotebook();
  }

  protected override onAfterAttach(message: Message): void {
    super.onAfterAttach(message);
    if (this.isVisible) void this.showNotebook();
  }

  protected override onActivateRequest(message: Message): void {
    super.onActivateRequest(message);
    this.handle?.focus();
  }

  private async showNotebook(): Promise<void> {
    const path = this.notebook_path;
    if (this.mounted !== null && this.shownFor === path) return;
    const turn = ++this.turn;
    try {
      await this.settled;
      if (turn !== this.turn) return;
      const session = await this.choice.find(path);
      if (turn !== this.turn) return;
      this.shownFor = path;
      this.showSession(session.id);
    } catch (error) {
      if (turn === this.turn) this.showFault(error);
    }
  }

  private async openSession(session_id: string): Promise<void> {
    ++this.turn;
    this.showSession(session_id);
    await this.choice.choose(this.notebook_path, session_id);
  }

  private showSession(session_id: string): void {
    // One that was deleted and came back is shown anew: its connection has ended for good.
    if (this.mounted?.session_id === session_id && !this.mounted.handle.client.view.peek().deleted) return;
    this.unmount();
    const host = document.createElement("div");
    host.className = "jp-agent-SidePanel-host";
    this.node.replaceChildren(host);
    const handle = mountSession(host, this.api, session_id, {
      surface: "side",
      onNew: () => void this.newSession(),
      onSelect: (id: string) => void this.openSession(id),
      ...(this.onOpenMain ? { onOpenMain: this.onOpenMain } : {}),
    });
    this.mounted = { session_id, handle };
  }

  private unmount(): void {
    this.mounted?.handle.dispose();
    this.mounted = null;
  }

  private showFault(error: unknown): void {
    this.unmount();
    this.shownFor = undefined;
    const box = document.createElement("div");
    box.className = "jp-agent-SidePanel-fault";
    box.setAttribute("role", "alert");
    const text = document.createElement("p");
    text.textContent = sentence(error);
    const retry = document.createElement("button");
    retry.textContent = "Try again";
    retry.className = "jp-mod-styled";
    retry.onclick = () => void this.showNotebook();
    box.append(text, retry);
    this.node.replaceChildren(box);
  }
}
