/**
 * One open notebook, as the server asks for it: cells by id, changes by hash.
 *
 * Checks and changes happen in one go, without waiting in between, so nothing
 * can slip in; each change is one step of the notebook's own undo.
 */
import type { ISharedCell, ISharedNotebook } from "@jupyter/ydoc";
import type { ISessionContext } from "@jupyterlab/apputils";
import { type Cell, CodeCell, type ICodeCellModel, MarkdownCell } from "@jupyterlab/cells";
import type { NotebookPanel } from "@jupyterlab/notebook";
import type { Kernel } from "@jupyterlab/services";
import { baseHash } from "./hash";

export type Json = Record<string, unknown>;

/** A refusal in the server's terms. */
export class Refusal extends Error {
  constructor(
    readonly code: string,
    message: string,
    readonly hash?: string,
  ) {
    super(message);
  }
}

export interface CellAsRead {
  id: string;
  index: number;
  cell_type: string;
  source: string;
  execution_count: number | null;
  outputs: unknown[];
}

export interface Cuts {
  output_chars: number;
  image_bytes: number;
}

const NO_OUTPUTS: Cuts = { output_chars: 0, image_bytes: 0 };

export class OpenNotebook {
  constructor(private readonly panel: NotebookPanel) {}

  get readOnly(): boolean {
    return this.panel.model?.readOnly === true || this.panel.context.contentsModel?.writable === false;
  }

  get language(): string {
    return this.panel.model?.defaultKernelLanguage || "python";
  }

  get kernelId(): string | null {
    return this.panel.sessionContext.session?.kernel?.id ?? null;
  }

  read(cuts: Cuts, cell_id?: string): CellAsRead[] {
    const cells = this.shared.cells.map((cell, index) => asRead(cell, index, cuts));
    return cell_id === undefined ? cells : cells.filter((cell) => cell.id === cell_id);
  }

  insert(cell: { id: string; cell_type: string; source: string }, after: string | null, before: string | null) {
    this.mustBeWritable();
    const there = this.shared.cells.findIndex((other) => other.getId() === cell.id);
    // The same insertion once more, e.g. after the page was reloaded.
    if (there >= 0) return this.readBack(there);
    const index = this.place(after, before);
    this.undoable(() => {
      const metadata = cell.cell_type === "code" ? { trusted: true } : {};
      this.shared.insertCell(index, { ...cell, metadata } as Parameters<ISharedNotebook["insertCell"]>[1]);
    });
    this.render(index);
    this.reveal(index);
    return this.readBack(index);
  }

  edit(cell_id: string, base_hash: string, source: string) {
    this.mustBeWritable();
    const [cell, index] = this.find(cell_id, base_hash);
    if (cell.getMetadata("editable") === false) throw new Refusal("read_only", "This cell is locked for editing.");
    this.undoable(() => replaceText(cell, source), cell);
    this.render(index);
    this.reveal(index);
    return this.readBack(index);
  }

  delete(cell_id: string, base_hash: string) {
    this.mustBeWritable();
    const [cell, index] = this.find(cell_id, base_hash);
    if (cell.getMetadata("deletable") === false)
      throw new Refusal("read_only", "This cell is protected from deletion.");
    const was = this.readBack(index);
    this.undoable(() => this.shared.deleteCell(index));
    return was;
  }

  setOutputs(cell_id: string, base_hash: string, outputs: unknown[], execution_count: number | null) {
    const [, index] = this.find(cell_id, base_hash);
    const model = this.widget(index)?.model as ICodeCellModel | undefined;
    if (model?.type !== "code") throw new Refusal("failed", "Only code cells have outputs.");
    model.trusted = true;
    model.outputs.fromJSON(outputs as Parameters<ICodeCellModel["outputs"]["fromJSON"]>[0]);
    model.executionCount = execution_count;
    model.executionState = "idle";
    return this.readBack(index);
  }

  async ensureKernel(): Promise<string> {
    const context = this.panel.sessionContext;
    await context.ready;
    if (this.kernelId === null) {
      const name = context.kernelPreference.name || this.panel.model?.defaultKernelName;
      await context.changeKernel(name ? { name } : {});
    }
    const id = this.kernelId;
    if (id === null) throw new Refusal("no_kernel", "The notebook has no kernel, and none could be started.");
    return id;
  }

  /** Run the cell as the notebook itself does; `onSent` hears the request's id before the kernel answers. */
  async run(
    cell_id: string,
    base_hash: string,
    onSent: (msg_id: string, kernel_id: string) => void,
  ): Promise<"ok" | "error" | "aborted" | "empty"> {
    const [, index] = this.find(cell_id, base_hash);
    const widget = this.widget(index);
    if (!(widget instanceof CodeCell)) throw new Refusal("failed", "Only code cells can be run.");
    const kernel = this.panel.sessionContext.session?.kernel;
    if (!kernel) throw new Refusal("no_kernel", "The notebook has no kernel.");
    this.reveal(index);
    const reply = await CodeCell.execute(widget, listening(kernel, onSent));
    this.reveal(index);
    if (!reply) return "empty";
    const status = reply.content.status as string;
    return status === "ok" || status === "error" ? status : "aborted";
  }

  // -- inside ----------------------------------------------------------------------

  private get shared(): ISharedNotebook {
    const model = this.panel.model;
    if (!model) throw new Refusal("not_open", "The notebook is still being opened.");
    return model.sharedModel;
  }

  private mustBeWritable(): void {
    if (this.readOnly) throw new Refusal("read_only", "This notebook is read-only, so it cannot be changed.");
  }

  private find(cell_id: string, base_hash: string): [ISharedCell, number] {
    const index = this.shared.cells.findIndex((cell) => cell.getId() === cell_id);
    const cell = this.shared.cells[index];
    if (cell === undefined) throw new Refusal("cell_not_found", `There is no cell ${cell_id}.`);
    const now = baseHash(cell.cell_type as string, cell.getSource());
    if (now !== base_hash) throw new Refusal("cell_changed", `Cell ${cell_id} changed.`, now);
    return [cell, index];
  }

  private place(after: string | null, before: string | null): number {
    const anchor = after ?? before;
    if (anchor === null) return this.shared.cells.length;
    const index = this.shared.cells.findIndex((cell) => cell.getId() === anchor);
    if (index < 0) throw new Refusal("cell_not_found", `There is no cell ${anchor}.`);
    return after !== null ? index + 1 : index;
  }

  private readBack(index: number): CellAsRead {
    return asRead(this.shared.cells[index] as ISharedCell, index, NO_OUTPUTS);
  }

  /** Make the change a step of its own, apart from what the user typed just before or types next. */
  private undoable(change: () => void, cell?: ISharedCell): void {
    const managers = [this.shared, cell].map((owner) => (owner as unknown as Undoable | undefined)?.undoManager);
    for (const manager of managers) manager?.stopCapturing();
    (cell ?? this.shared).transact(change);
    for (const manager of managers) manager?.stopCapturing();
  }

  private widget(index: number): Cell | undefined {
    return this.panel.content.widgets[index];
  }

  private render(index: number): void {
    const widget = this.widget(index);
    const notebook = this.panel.content;
    // Where the user is writing, nothing is turned over under their hands.
    const writing = notebook.mode === "edit" && notebook.activeCell === widget;
    if (widget instanceof MarkdownCell && !writing) widget.rendered = true;
  }

  /** Bring the cell into view; selection and focus stay where the user has them. */
  private reveal(index: number): void {
    if (this.panel.isVisible) void this.panel.content.scrollToItem(index, "smart").catch(() => undefined);
  }
}

interface Undoable {
  undoManager?: { stopCapturing(): void } | null;
}

/** A session whose kernel tells of the request, and in which a cell may not ask for keyboard input. */
function listening(
  kernel: Kernel.IKernelConnection,
  onSent: (msg_id: string, kernel_id: string) => void,
): ISessionContext {
  const requestExecute: Kernel.IKernelConnection["requestExecute"] = (content, disposeOnDone, metadata) => {
    const future = kernel.requestExecute({ ...content, allow_stdin: false }, disposeOnDone, metadata);
    onSent(future.msg.header.msg_id, kernel.id);
    return future;
  };
  // Everything but this one method is the kernel's own.
  const watched = new Proxy(kernel, {
    get(target, name) {
      if (name === "requestExecute") return requestExecute;
      const value = Reflect.get(target, name, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
  return { session: { kernel: watched } } as unknown as ISessionContext;
}

/** Replace only what differs, so that cursors and marks elsewhere in the cell stay. */
function replaceText(cell: ISharedCell, source: string): void {
  const old = cell.getSource();
  const most = Math.min(old.length, source.length);
  let start = 0;
  while (start < most && old[start] === source[start]) start++;
  let end = 0;
  while (end < most - start && old[old.length - 1 - end] === source[source.length - 1 - end]) end++;
  // Never between the halves of a character.
  if (start > 0 && /[\ud800-\udbff]/.test(old[start - 1] as string)) start--;
  if (end > 0 && /[\udc00-\udfff]/.test(old[old.length - end] as string)) end--;
  cell.updateSource(start, old.length - end, source.slice(start, source.length - end));
}

// -- reading -----------------------------------------------------------------------

function asRead(cell: ISharedCell, index: number, cuts: Cuts): CellAsRead {
  const json = cell.toJSON() as { outputs?: Json[]; execution_count?: number | null };
  return {
    id: cell.getId(),
    index,
    cell_type: cell.cell_type as string,
    source: cell.getSource(),
    execution_count: json.execution_count ?? null,
    outputs: cuts.output_chars > 0 ? (json.outputs ?? []).map((output) => cut(output, cuts)) : [],
  };
}

/** What is far more than anybody asked for stays here: messages to the server are bounded. */
function cut(output: Json, cuts: Cuts): Json {
  if (output.output_type === "stream") return { ...output, text: middleOut(joined(output.text), cuts.output_chars) };
  const data = output.data as Json | undefined;
  if (data === undefined) return output;
  const kept = Object.entries(data).map(([mime, value]) => {
    const text = typeof value === "string" || Array.isArray(value) ? joined(value) : JSON.stringify(value);
    if (!mime.startsWith("image/")) return [mime, middleOut(text, cuts.output_chars)];
    const fits = text.length <= cuts.image_bytes * 1.4;
    return fits ? [mime, text] : ["text/plain", `[${mime}, about ${Math.round(text.length * 0.75)} bytes, too large]`];
  });
  return { ...output, data: Object.fromEntries(kept) };
}

function joined(value: unknown): string {
  return Array.isArray(value) ? value.join("") : String(value ?? "");
}

function middleOut(text: string, limit: number): string {
  if (text.length <= limit) return text;
  const half = limit >> 1;
  return `${text.slice(0, half)}\n[… ${text.length - 2 * half} characters left out here …]\n${text.slice(-half)}`;
}
