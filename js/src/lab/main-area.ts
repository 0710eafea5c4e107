/**
 * Sessions in JupyterLab's main area: one a tab, opened once, brought back by the
 * layout restorer after a reload.
 *
 *     open(id) ── has it a tab? ── yes ─► that comes to the front
 *                               └─ no ──► SessionView ── first seen ──► mountSession
 *
 * A tab keeps its session: choosing another one in its list opens that one's tab.
 */
import type { ILayoutRestorer, JupyterFrontEnd } from "@jupyterlab/application";
import { Notification, WidgetTracker } from "@jupyterlab/apputils";
import type { Message } from "@lumino/messaging";
import { Widget } from "@lumino/widgets";
import { effect } from "@preact/signals";
import type { PanelHandle } from "../panel";
import { UNTITLED } from "../panel/sessions";
import { type AgentApi, ApiError, sentence } from "./api";
import { agentIcon } from "./icon";
import { mountSession } from "./mounted";

const NAMESPACE = "jupyter-agent";
const NOT_FOUND = 404;

/** One session, whatever notebook is in front. A tab that was never looked at costs no socket. */
export class SessionView extends Widget {
  handle: PanelHandle | null = null;

  constructor(
    readonly session_id: string,
    title: string,
    private readonly mount: (host: HTMLElement) => PanelHandle,
  ) {
    super();
    this.addClass("jp-agent-SessionView");
    this.id = `jupyter-agent-${session_id}`;
    this.node.tabIndex = -1;
    this.title.icon = agentIcon;
    this.title.closable = true;
    this.name(title);
  }

  override dispose(): void {
    if (this.isDisposed) return;
    this.handle?.dispose();
    super.dispose();
  }

  protected override onCloseRequest(message: Message): void {
    super.onCloseRequest(message);
    this.dispose();
  }

  protected override onAfterShow(message: Message): void {
    super.onAfterShow(message);
    this.reveal();
  }

  protected override onAfterAttach(message: Message): void {
    super.onAfterAttach(message);
    if (this.isVisible) this.reveal();
  }

  protected override onActivateRequest(message: Message): void {
    super.onActivateRequest(message);
    this.node.focus({ preventScroll: true });
    this.handle?.focus();
  }

  private reveal(): void {
    if (this.handle !== null) return;
    const handle = this.mount(this.node);
    this.handle = handle;
    const stop = effect(() => {
      const session = handle.client.view.value.session;
      if (session !== null) this.name(session.title);
    });
    this.disposed.connect(stop);
  }

  private name(title: string): void {
    this.title.label = title || UNTITLED;
    this.title.caption = `Agent: ${title || UNTITLED}`;
  }
}

export class SessionTabs {
  private readonly tracker = new WidgetTracker<SessionView>({ namespace: NAMESPACE });

  constructor(
    private readonly app: JupyterFrontEnd,
    private readonly api: AgentApi,
  ) {}

  /** Bring back the tabs that were open; `command` opens one. */
  restore(restorer: ILayoutRestorer, command: string): void {
    void restorer.restore(this.tracker, {
      command,
      args: ({ session_id }) => ({ session_id, restoring: true }),
      name: ({ session_id }) => session_id,
    });
  }

  /** The tab in front, if it is one of ours. */
  get current(): SessionView | null {
    const view = this.tracker.currentWidget;
    return view !== null && view === this.app.shell.currentWidget ? view : null;
  }

  /** Show a session; one that is gone is told of, unless it is only missing from a layout of before. */
  async open(session_id: string, restoring = false): Promise<void> {
    const open = this.tracker.find((view) => view.session_id === session_id);
    if (open !== undefined) return this.app.shell.activateById(open.id);
    let title = "";
    try {
      title = (await this.api.session(session_id)).title;
    } catch (error) {
      const gone = error instanceof ApiError && error.status === NOT_FOUND;
      if (!restoring) Notification.error(sentence(error));
      if (gone || !restoring) return;
    }
    const view = this.tracker.find((other) => other.session_id === session_id) ?? (await this.add(session_id, title));
    if (!restoring) this.app.shell.activateById(view.id);
  }

  private async add(session_id: string, title: string): Promise<SessionView> {
    const view = new SessionView(session_id, title, (host) =>
      mountSession(host, this.api, session_id, {
        surface: "main",
        onNew: () => void this.startBeside(view),
        onSelect: (id) => void this.open(id),
      }),
    );
    await this.tracker.add(view);
    this.app.shell.add(view, "main", { type: "Agent" });
    return view;
  }

  /** A new session of the same notebook, in a tab of its own. */
  private async startBeside(view: SessionView): Promise<void> {
    const notebook_path = view.handle?.client.view.peek().session?.notebook_path ?? null;
    try {
      await this.open((await this.api.create({ notebook_path })).id);
    } catch (error) {
      Notification.error(sentence(error));
    }
  }
}
