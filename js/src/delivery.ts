/**
 * What the user wants, on its way to the server.
 *
 *     send, order ─► outbox ─ post ─► ack: accepted ──────────► settled
 *                      ▲                ├─ refused for what passes ─► held, sent again
 *                      │                └─ refused for good ──┬─ a message ─► unsent
 *                      └──────────── sendAgain ◄──────────────┘  another ───► a fault
 *
 * Messages arrive in the order in which they were said: while one is held, or its
 * long text goes up as a file, later ones stay behind it.
 */
import { type Signal, signal } from "@preact/signals";
import { type Connection, command, newId } from "./connection";
import { Backoff } from "./connections/backoff";
import { NotNow, uploadText } from "./connections/page";
import { type Entry, Outbox, type Refusal } from "./outbox";
import type { Ack, AgentCommand, QueueItem, SentFile, SentText, WhenBusy } from "./protocol.gen";
import type { View } from "./view";

export const ACK_TIMEOUT_MS = 5_000;
const REQUEST_TIMEOUT_MS = 20_000;
/** A command around its text. */
const ENVELOPE_BYTES = 1024;
const BEGINNING = 500;
const MESSAGE_FILE = "message.txt";
const ATTACHED = `[The whole message is attached: ${MESSAGE_FILE}]`;
const REFUSED: Refusal = { code: "rejected", message: "The server refused that." };

/** A message that left the composer and isn't in the transcript or the queue yet. */
export interface SentMessage {
  id: string;
  text: string;
  files: readonly SentFile[];
  /** Why the server hasn't taken it so far; it is sent again. */
  held?: Fault;
}

/** A message that was refused for good. */
export interface UnsentMessage {
  id: string;
  text: string;
  /** Whether `text` and `files` are all of it, so that it can be written on. */
  whole: boolean;
  files: readonly SentFile[];
  why: Fault;
}

/** Something to tell the user that isn't part of the session. */
export type Fault = Refusal;

/** What becomes of a message while a turn runs. */
export interface SendOptions {
  when_busy?: WhenBusy;
  /** Deny what waits for an answer; the model reads this message instead. */
  deny_pending?: boolean;
  /** What goes along; it is at the server already. */
  files?: readonly SentFile[];
}

export type AckBody = Pick<Ack, "cmd_id" | "status"> & Partial<Ack>;

interface Said extends Omit<SendOptions, "files"> {
  id: string;
  parts: (SentText | SentFile)[];
}

export class Delivery {
  readonly sent = signal<readonly SentMessage[]>([]);
  readonly unsent = signal<readonly UnsentMessage[]>([]);

  private readonly held = new Map<string, Fault>();
  private readonly patience = new Backoff();
  private readonly postedAt = new Map<string, number>();
  private readonly replies = new Map<string, (ack: AckBody) => void>();
  /** The words of messages that go up as a file, by message. */
  private readonly longTexts = new Map<string, string>();
  /** The commands whose text goes up now. */
  private readonly goingUp = new Set<string>();
  private heldTimer: ReturnType<typeof setTimeout> | undefined;
  private readonly resendTimer = setInterval(() => this.resend(), ACK_TIMEOUT_MS);

  constructor(
    private readonly connection: Connection,
    private readonly fault: Signal<Fault | null>,
    private readonly frameBytes: () => number,
    private readonly outbox = new Outbox(),
  ) {}

  dispose(): void {
    clearInterval(this.resendTimer);
    clearTimeout(this.heldTimer);
  }

  // -- in -------------------------------------------------------------------------

  /** Say something. Shown at once; resolves when the server has it, or refuses it for good: see `unsent`. */
  send(text: string, { files = [], ...options }: SendOptions = {}): Promise<AckBody> {
    const words: SentText[] = text === "" && files.length > 0 ? [] : [{ type: "text", text }];
    const said = { ...options, id: newId("msg"), parts: [...words, ...files] };
    if (!this.tooLong(text)) return this.say(said);
    this.longTexts.set(said.id, text);
    return this.say(said, beginningOf(text), { upload: true });
  }

  /** Send what must arrive: it stays in the outbox until it is taken, or refused for good. */
  order(type: AgentCommand["type"], d: object = {}, how: Pick<Entry, "upload"> = {}): Promise<AckBody> {
    const order: Entry = { ...command(type, d), ...how };
    const behind = isMessage(order) && this.outbox.waiting.some((entry) => isMessage(entry) && this.isHeld(entry));
    this.outbox.add(order);
    const reply = new Promise<AckBody>((resolve) => this.replies.set(order.cmd_id, resolve));
    if (!behind) this.post(order);
    return reply;
  }

  /** Ask once; null when no answer comes. */
  request(type: string, d: object): Promise<AckBody | null> {
    const order = command(type, d);
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        this.replies.delete(order.cmd_id);
        resolve(null);
      }, REQUEST_TIMEOUT_MS);
      this.replies.set(order.cmd_id, (ack) => {
        clearTimeout(timer);
        resolve(ack);
      });
      this.connection.post(order);
    });
  }

  /** Say once more what was refused for good. */
  sendAgain(id: string): void {
    const order = this.orderOf(id);
    const message = this.discard(id);
    if (message === undefined) return;
    const { id: _, parts, ...options } = (order?.d ?? { id, parts: [] }) as Said;
    if (message.whole) void this.send(message.text, { ...options, files: message.files });
    else void this.say({ ...options, id: newId("msg"), parts }, message.text);
  }

  /** Keep the words of messages that the server let go of. */
  keep(items: readonly QueueItem[], why: Fault): void {
    const isWhole = ({ parts }: QueueItem) => !parts.some((part) => part.type === "text" && part.truncated);
    const kept = items
      .filter((item) => item.task_id === null && isWhole(item))
      .map(({ message_id, parts }) => ({
        id: message_id,
        text: textOf({ parts } as Pick<Said, "parts">),
        files: filesOf({ parts } as Pick<Said, "parts">),
        whole: true,
        why,
      }));
    this.unsent.value = [...this.unsent.peek(), ...kept];
  }

  /** Forget a message that the server hasn't taken; tell what it was. */
  discard(id: string): UnsentMessage | undefined {
    const message = this.unsent.peek().find((unsent) => unsent.id === id);
    this.unsent.value = this.unsent.peek().filter((unsent) => unsent.id !== id);
    this.sent.value = this.sent.peek().filter((sent) => sent.id !== id);
    this.longTexts.delete(id);
    const order = this.orderOf(id);
    if (order !== undefined) {
      this.outbox.settle(order.cmd_id);
      this.settled(order.cmd_id);
      if (order.upload) this.resume();
    }
    return message;
  }

  private say(said: Said, text = textOf(said), how: Pick<Entry, "upload"> = {}): Promise<AckBody> {
    this.sent.value = [...this.sent.peek(), { id: said.id, text, files: filesOf(said) }];
    return this.order("message.send", { when_busy: "queue", ...said }, how);
  }

  private tooLong(text: string): boolean {
    const limit = this.frameBytes() - ENVELOPE_BYTES;
    if (text.length * 6 <= limit) return false; // even if each character had to be escaped
    return new TextEncoder().encode(JSON.stringify(text)).length > limit;
  }

  // -- out ------------------------------------------------------------------------

  /** The road is open, or leads to the session again. */
  resume(): void {
    clearTimeout(this.heldTimer);
    this.heldTimer = undefined;
    this.resend(true);
  }

  /** The session is live again: what it refused meanwhile may go now. */
  resumeHeld(): void {
    if (this.held.size > 0) this.resume();
  }

  /** The session's name is known: take up what an earlier page left behind. */
  open(session_id: string): void {
    const left = this.outbox.open(session_id);
    const messages = left.filter((order) => isMessage(order));
    for (const { d, upload } of messages) if (upload) this.longTexts.set((d as Said).id, textOf(d as Said));
    const sent = messages.filter((order) => !order.refused).map(shownOf);
    if (sent.length > 0) this.sent.value = [...sent, ...this.sent.peek()];
    for (const order of messages) if (order.refused) this.refusedMessage(order, order.refused);
    if (this.outbox.waiting.some((order) => order.upload) || left.length > 0) this.resume();
  }

  private resend(now = false): void {
    if (this.connection.status.peek().state !== "connected") return;
    const due = Date.now() - ACK_TIMEOUT_MS + 50;
    let behind = false;
    for (const order of this.outbox.waiting) {
      if (isMessage(order) && behind) continue;
      behind ||= isMessage(order) && this.isHeld(order);
      // What is held has a timer of its own.
      if (!now && (this.isHeld(order) || (this.postedAt.get(order.cmd_id) ?? 0) > due)) continue;
      this.post(order);
    }
  }

  private post(order: Entry): void {
    if (order.upload) {
      void this.goUp(order);
      return;
    }
    this.postedAt.set(order.cmd_id, Date.now());
    this.connection.post(order);
  }

  /** A text over the limit of a frame becomes a file at the server; then its message goes, beginning first. */
  private async goUp(order: Entry): Promise<void> {
    const { page, session_id } = this.connection;
    const session = session_id.peek();
    if (session === null || this.goingUp.has(order.cmd_id)) return; // the session's name brings us back
    this.goingUp.add(order.cmd_id);
    try {
      if (!page) throw new Error("This message is too long to be sent from here.");
      const said = order.d as Said;
      const text = textOf(said);
      const file = await uploadText(page, session, MESSAGE_FILE, text);
      if (this.outbox.find(order.cmd_id) === undefined) return; // discarded meanwhile
      const parts = [{ type: "text", text: beginningOf(text) }, file, ...filesOf(said)];
      const { upload: _, ...rest } = order;
      this.outbox.replace({ ...rest, d: { ...said, parts } });
      this.letGo(order.cmd_id, said.id);
      this.resume();
    } catch (error) {
      const { message } = error as Error;
      const hint = "Shorten it, or save it as a file.";
      const why = { code: "too_large", message, hint, retryable: error instanceof NotNow };
      this.acknowledged({ cmd_id: order.cmd_id, status: "rejected", error: why });
      if (!why.retryable) this.resume();
    } finally {
      this.goingUp.delete(order.cmd_id);
    }
  }

  /** It is held no more. */
  private letGo(cmd_id: string, message_id: string): void {
    if (!this.held.delete(cmd_id)) return;
    this.patience.reset();
    this.sent.value = this.sent
      .peek()
      .map(({ held, ...sent }) => (sent.id === message_id || !held ? sent : { ...sent, held }));
  }

  private isHeld(order: Entry): boolean {
    return order.upload === true || this.held.has(order.cmd_id);
  }

  private orderOf(message_id: string): Entry | undefined {
    return this.outbox.messages.find((order) => (order.d as Said).id === message_id);
  }

  // -- answers --------------------------------------------------------------------

  /** Take an answer. */
  acknowledged(ack: AckBody): void {
    const order = this.outbox.find(ack.cmd_id);
    if ((ack.original ?? ack.status) === "rejected") {
      const why = ack.error ?? REFUSED;
      if (why.retryable && order !== undefined) {
        this.hold(order, why);
        return;
      }
      if (order !== undefined) this.refused(order, why);
    } else this.outbox.settle(ack.cmd_id);
    const reply = this.replies.get(ack.cmd_id);
    this.settled(ack.cmd_id);
    reply?.(ack);
  }

  /** Not now: it stays, and is sent again after a while, or when the road or the session is back. */
  private hold(order: Entry, why: Fault): void {
    this.held.set(order.cmd_id, why);
    if (isMessage(order)) {
      const { id } = order.d as Said;
      this.sent.value = this.sent.peek().map((sent) => (sent.id === id ? { ...sent, held: why } : sent));
    } else this.fault.value = why;
    this.heldTimer ??= setTimeout(() => this.resume(), this.patience.next());
  }

  private refused(order: Entry, why: Fault): void {
    if (isMessage(order)) {
      this.outbox.keep(order.cmd_id, why);
      this.refusedMessage(order, why);
      return;
    }
    this.outbox.settle(order.cmd_id);
    const late = order.type === "turn.stop" || order.type === "approval.answer"; // somebody was faster
    if (!late) this.fault.value = why;
  }

  private refusedMessage(order: Entry, why: Fault): void {
    const said = order.d as Said;
    const long = this.longTexts.get(said.id);
    const text = long ?? textOf(said);
    const [, ...others] = filesOf(said);
    const files = long === undefined || order.upload ? filesOf(said) : others; // the first one is the text itself
    const whole = long !== undefined || !text.endsWith(ATTACHED);
    this.giveBack({ id: said.id, text, files, whole, why });
  }

  private giveBack(message: UnsentMessage): void {
    this.sent.value = this.sent.peek().filter((sent) => sent.id !== message.id);
    this.unsent.value = [...this.unsent.peek(), message];
  }

  /** Nothing more comes of this command; what stayed behind it goes on. */
  private settled(cmd_id: string): void {
    this.postedAt.delete(cmd_id);
    this.replies.delete(cmd_id);
    const why = this.held.get(cmd_id);
    if (why === undefined) return;
    this.held.delete(cmd_id);
    this.patience.reset();
    if (this.fault.peek() === why) this.fault.value = null;
    this.resume();
  }

  /** What the view shows needs no stand-in any more. */
  seen(view: View): void {
    const sent = this.sent.peek();
    const isThere = ({ id }: SentMessage) =>
      view.messages.some((message) => message.id === id) || view.queue.some((item) => item.message_id === id);
    if (sent.some(isThere)) this.sent.value = sent.filter((message) => !isThere(message));
  }
}

function isMessage(order: Entry): boolean {
  return order.type === "message.send";
}

function shownOf({ d, upload }: Entry): SentMessage {
  const said = d as Said;
  const text = textOf(said);
  return { id: said.id, text: upload ? beginningOf(text) : text, files: filesOf(said) };
}

/** What is seen of a text that goes as a file. */
function beginningOf(text: string): string {
  return `${cutAt(text, BEGINNING)}…\n\n${ATTACHED}`;
}

function textOf({ parts }: Pick<Said, "parts">): string {
  return parts.flatMap((part) => (part.type === "text" ? [part.text] : [])).join("\n");
}

function filesOf({ parts }: Pick<Said, "parts">): SentFile[] {
  return parts.filter((part): part is SentFile => part.type === "file");
}

/** The beginning of a text, without half a character at its end. */
function cutAt(text: string, units: number): string {
  return text.slice(0, units).replace(/[\uD800-\uDBFF]$/, "");
}
