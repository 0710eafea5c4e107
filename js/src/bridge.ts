/**
 * The server's hand in this page: reads, edits and runs the notebooks that are open in it.
 *
 *     page ──documents──► server        what is open here, and when it was looked at last
 *     page ◄──request──── server        read insert edit delete run … of one of them
 *     page ──event──────► server        a run was sent to the kernel, under this id
 *     page ──response───► server
 *
 * The messages are described at the head of `jupyter_agent/notebook/tabs.py`.
 * A change is named by its `op_id`; asked again, e.g. after the socket broke, it
 * is answered with what it came to the first time.
 *
 * Saving: after a change the notebook is saved, so that a reload loses nothing,
 * unless the user wrote something that is not saved yet: then saving is left to
 * the user, or to JupyterLab's autosave.
 */
import type { JupyterFrontEnd } from "@jupyterlab/application";
import { URLExt } from "@jupyterlab/coreutils";
import type { INotebookTracker, NotebookPanel } from "@jupyterlab/notebook";
import type { ServerConnection } from "@jupyterlab/services";
import { DisposableDelegate, type IDisposable } from "@lumino/disposable";
import { type Cuts, type Json, OpenNotebook, Refusal } from "./bridge/document";
import { Backoff } from "./connections/backoff";

const KEPT_ANSWERS = 500;
const ANNOUNCE_MS = 50;
const SAVE_MS = 200;
/** The server expects pages back within a few seconds, so that is how often they try. */
const RETURN = {
  base_ms: 500,
  max_ms: 2_000,
  factor: 2,
  jitter: 0.3,
  tries: 20,
  uptime_ms: 0,
  slow_ms: [30_000, 60_000] as const,
};
/** Documents of other drives are not files that the server could name. */
const DRIVES = ["", "RTC"];

interface Request {
  id: string;
  op_id: string;
  method: string;
  params: Json & { path: string };
}

type Answer = { result: Json } | { error: { code: string; message: string; hash?: string } };

interface Operation {
  answer: Promise<Answer>;
  /** Set once a run was sent. */
  event?: Json;
}

/** Start serving; lasts as long as the page. */
export function startBridge(
  app: JupyterFrontEnd,
  tracker: INotebookTracker,
  settings: ServerConnection.ISettings,
): IDisposable {
  const bridge = new Bridge(app, tracker, settings);
  return new DisposableDelegate(() => bridge.dispose());
}

class Bridge {
  private readonly page = crypto.getRandomValues(new Uint32Array(4)).join("-");
  private readonly operations = new Map<string, Operation>();
  private readonly cancelled = new Set<string>();
  private readonly focused = new WeakMap<NotebookPanel, number>();
  /** What each notebook's cells were when it was last saved, or as we left them since. */
  private readonly settled = new WeakMap<NotebookPanel, string>();
  private readonly saves = new WeakMap<NotebookPanel, { active: boolean; timer?: ReturnType<typeof setTimeout> }>();
  private readonly backoff = new Backoff(RETURN);
  private socket: WebSocket | null = null;
  private retry: ReturnType<typeof setTimeout> | undefined;
  private announcing: ReturnType<typeof setTimeout> | undefined;
  private announced = "";
  private disposed = false;

  constructor(
    private readonly app: JupyterFrontEnd,
    private readonly tracker: INotebookTracker,
    private readonly settings: ServerConnection.ISettings,
  ) {
    tracker.forEach((panel) => {
      this.follow(panel);
    });
    tracker.widgetAdded.connect(this.onAdded, this);
    tracker.currentChanged.connect(this.onFocus, this);
    window.addEventListener("focus", this.onFocus);
    window.addEventListener("pagehide", this.onHide);
    window.addEventListener("pageshow", this.onShow);
    this.connect();
  }

  dispose(): void {
    this.disposed = true;
    this.tracker.widgetAdded.disconnect(this.onAdded, this);
    this.tracker.currentChanged.disconnect(this.onFocus, this);
    window.removeEventListener("focus", this.onFocus);
    window.removeEventListener("pagehide", this.onHide);
    window.removeEventListener("pageshow", this.onShow);
    clearTimeout(this.retry);
    clearTimeout(this.announcing);
    this.send({ type: "bye" });
    this.socket?.close();
  }

  // -- the socket --------------------------------------------------------------------

  private connect(): void {
    clearTimeout(this.retry);
    const { wsUrl, appendToken, token } = this.settings;
    const url = URLExt.join(wsUrl, "jupyter-agent/api/v1/notebooks");
    const socket = new this.settings.WebSocket(
      appendToken && token ? `${url}?token=${encodeURIComponent(token)}` : url,
    );
    this.socket = socket;
    socket.onopen = () => {
      this.backoff.reset();
      this.announced = "";
      this.announce();
    };
    socket.onmessage = (event) => this.receive(event.data);
    socket.onclose = () => {
      if (this.socket !== socket || this.disposed) return;
      this.socket = null;
      this.retry = setTimeout(() => this.connect(), this.backoff.next());
    };
  }

  private send(message: Json): void {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  private receive(data: unknown): void {
    let message: Json;
    try {
      message = JSON.parse(String(data)) as Json;
    } catch {
      return;
    }
    if (message.type === "request") void this.serve(message as unknown as Request);
    if (message.type === "cancel") this.cancelled.add(String(message.op_id));
  }

  // -- what is open ------------------------------------------------------------------

  private onAdded = (_: unknown, panel: NotebookPanel): void => this.follow(panel);

  private onFocus = (): void => {
    const panel = this.tracker.currentWidget;
    if (panel === null || !document.hasFocus()) return;
    this.focused.set(panel, Date.now());
    this.announceSoon();
  };

  private onHide = (event: PageTransitionEvent): void => {
    // A page that the browser keeps for "back" may return with all its notebooks.
    if (!event.persisted) this.send({ type: "bye" });
  };

  private onShow = (): void => {
    this.announced = "";
    this.announceSoon();
  };

  private follow(panel: NotebookPanel): void {
    const soon = () => this.announceSoon();
    if (!this.focused.has(panel)) this.focused.set(panel, this.tracker.currentWidget === panel ? Date.now() : 1);
    panel.context.pathChanged.connect(soon);
    panel.context.fileChanged.connect(soon);
    panel.disposed.connect(soon);
    void panel.context.ready.then(() => {
      if (panel.isDisposed) return;
      panel.model?.stateChanged.connect((_, change) => {
        if (change.name === "dirty" || change.name === "readOnly") soon();
      });
      this.settled.set(panel, written(panel));
      const save = { active: false };
      this.saves.set(panel, save);
      panel.context.saveState.connect((_, state) => {
        save.active = state === "started";
        if (state === "completed") this.settled.set(panel, written(panel));
      });
      this.announce();
    });
  }

  private announceSoon(): void {
    clearTimeout(this.announcing);
    this.announcing = setTimeout(() => this.announce(), ANNOUNCE_MS);
  }

  private announce(): void {
    const documents = new Map<string, Json & { focused_at: number }>();
    for (const panel of this.open()) {
      const path = this.path(panel);
      const focused_at = Math.max(this.focused.get(panel) ?? 0, documents.get(path)?.focused_at ?? 0);
      const read_only = new OpenNotebook(panel).readOnly;
      documents.set(path, { path, focused_at, dirty: panel.context.model.dirty, read_only });
    }
    const message = { type: "documents", page: this.page, documents: [...documents.values()] };
    const text = JSON.stringify(message);
    if (text === this.announced || this.socket?.readyState !== WebSocket.OPEN) return;
    this.announced = text;
    this.socket.send(text);
  }

  private open(): NotebookPanel[] {
    const panels: NotebookPanel[] = [];
    const contents = this.app.serviceManager.contents;
    this.tracker.forEach((panel) => {
      const ours = DRIVES.includes(contents.driveName(panel.context.path));
      if (!panel.isDisposed && panel.context.isReady && panel.model !== null && ours) panels.push(panel);
    });
    return panels;
  }

  private path(panel: NotebookPanel): string {
    return this.app.serviceManager.contents.localPath(panel.context.path);
  }

  /** Of several views of one notebook, the one that was looked at last. */
  private find(path: string): NotebookPanel {
    const views = this.open().filter((panel) => this.path(panel) === path);
    views.sort((a, b) => (this.focused.get(b) ?? 0) - (this.focused.get(a) ?? 0));
    const panel = views[0];
    if (panel === undefined) throw new Refusal("not_open", `${path} is not open in this tab.`);
    return panel;
  }

  // -- requests ----------------------------------------------------------------------

  private async serve(request: Request): Promise<void> {
    let operation = this.operations.get(request.op_id);
    if (operation === undefined) {
      operation = this.begin(request);
      if (request.op_id !== "") this.remember(request.op_id, operation);
    } else if (operation.event !== undefined) {
      this.send({ ...operation.event, id: request.id });
    }
    this.send({ type: "response", id: request.id, ...(await operation.answer) });
  }

  private begin(request: Request): Operation {
    const operation: Operation = { answer: Promise.resolve({ result: {} }) };
    operation.answer = this.perform(request, (event) => {
      operation.event = event;
      this.send({ ...event, id: request.id });
    }).then(
      (result) => ({ result }),
      (error: unknown) => ({ error: refused(error) }),
    );
    return operation;
  }

  private remember(op_id: string, operation: Operation): void {
    this.operations.set(op_id, operation);
    if (this.operations.size > KEPT_ANSWERS) this.operations.delete(this.operations.keys().next().value as string);
  }

  private async perform(request: Request, onEvent: (event: Json) => void): Promise<Json> {
    const { method, params } = request;
    if (this.cancelled.delete(request.op_id)) throw new Refusal("cancelled", "It was cancelled before it began.");
    const panel = this.find(params.path);
    const notebook = new OpenNotebook(panel);
    switch (method) {
      case "read": {
        const cells = notebook.read(params as unknown as Cuts, params.cell_id as string | undefined);
        return { cells, language: notebook.language, kernel_id: notebook.kernelId };
      }
      case "insert":
        return this.saving(panel, () => {
          const cell = params.cell as { id: string; cell_type: string; source: string };
          return { cell: notebook.insert(cell, text(params.after), text(params.before)) };
        });
      case "edit":
        return this.saving(panel, () => ({
          cell: notebook.edit(String(params.cell_id), String(params.base_hash), String(params.source)),
        }));
      case "delete":
        return this.saving(panel, () => ({ cell: notebook.delete(String(params.cell_id), String(params.base_hash)) }));
      case "set_outputs":
        return this.saving(panel, () => {
          const count = typeof params.execution_count === "number" ? params.execution_count : null;
          const outputs = params.outputs as unknown[];
          return { cell: notebook.setOutputs(String(params.cell_id), String(params.base_hash), outputs, count) };
        });
      case "ensure_kernel":
        return { kernel_id: await notebook.ensureKernel() };
      case "run":
        return this.saving(panel, async () => {
          const sent = (msg_id: string, kernel_id: string) => onEvent({ type: "event", msg_id, kernel_id });
          return { status: await notebook.run(String(params.cell_id), String(params.base_hash), sent) };
        });
      default:
        throw new Refusal("failed", `This page does not know how to ${method}. Reload it.`);
    }
  }

  /** Do it, then save if all that is unsaved is ours; the answer does not wait for the disk. */
  private async saving(panel: NotebookPanel, change: () => Json | Promise<Json>): Promise<Json> {
    const ours = () => this.settled.get(panel) === written(panel);
    const wasOurs = ours();
    const doing = change();
    if (wasOurs) this.settled.set(panel, written(panel));
    const result = await doing;
    if (wasOurs && ours()) this.saveSoon(panel);
    return result;
  }

  /** One save at a time, ours and the user's: two at once look to JupyterLab like a file changed by others. */
  private saveSoon(panel: NotebookPanel, waited = 0): void {
    const save = this.saves.get(panel);
    if (save === undefined) return;
    clearTimeout(save.timer);
    save.timer = setTimeout(() => {
      if (panel.isDisposed || this.settled.get(panel) !== written(panel) || new OpenNotebook(panel).readOnly) return;
      if (save.active && waited < 50) this.saveSoon(panel, waited + 1);
      if (save.active) return;
      void panel.context.save().catch(() => {
        save.active = false;
      });
    }, SAVE_MS);
  }
}

/** All that a person writes into a notebook; outputs and metadata come and go by themselves. */
function written(panel: NotebookPanel): string {
  const cells = panel.model?.sharedModel.cells ?? [];
  return JSON.stringify(cells.map((cell) => [cell.getId(), cell.cell_type, cell.getSource()]));
}

function text(value: unknown): string | null {
  return typeof value === "string" ? value : null;
}

function refused(error: unknown): { code: string; message: string; hash?: string } {
  if (error instanceof Refusal) return { code: error.code, message: error.message, hash: error.hash };
  return { code: "failed", message: error instanceof Error ? error.message : String(error) };
}
