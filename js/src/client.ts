/**
 * One view of one session: folds what a road delivers, and says what the user wants.
 *
 *     connection ──frames──► receive ──reduce──► view ──signal──► panel
 *     connection ◄──post──── outbox ◄──────────────── commands ── panel
 *
 * It subscribes when the road opens, from its cursor; when that can't be served or
 * a hole remains, from nothing. What matters is resent until acknowledged.
 */
import { computed, effect, type ReadonlySignal, type Signal, signal } from "@preact/signals";
import { type Command, type Connection, command, newId } from "./connection";
import { fetchPart, uploadText } from "./connections/page";
import { Outbox } from "./outbox";
import { Painter } from "./painter";
import type {
  Ack,
  AgentCommand,
  AgentEvent,
  Approval,
  ApprovalAnswer,
  Decision,
  Frame,
  Message,
  Mode,
  Part,
  SentFile,
  SentText,
  Welcome,
  WhenBusy,
} from "./protocol.gen";
import { eventsOf, prependHistory, reduce } from "./reduce";
import { type ClientStatus, clientStatus, emptyView, type View } from "./view";

export const ACK_TIMEOUT_MS = 5_000;
export const SYNC_TIMEOUT_MS = 5_000;
const HEARTBEAT_GRACE_MS = 1_000;
const REQUEST_TIMEOUT_MS = 20_000;
/** What a server takes that hasn't said it yet. */
const FRAME_BYTES = 1 << 20;
/** A command around its text. */
const ENVELOPE_BYTES = 1024;
const BEGINNING = 500;
const MESSAGE_FILE = "message.txt";

/** A message that left the composer and isn't in the transcript or the queue yet. */
export interface SentMessage {
  id: string;
  text: string;
}

/** Something to tell the user that isn't part of the session. */
export interface Fault {
  code: string;
  message: string;
  hint?: string | null;
}

/** How an answer differs from a plain one. */
export type AnswerOptions = Partial<Pick<ApprovalAnswer, "scope" | "reason" | "edited_input">>;

/** What becomes of a message while a turn runs. */
export interface SendOptions {
  when_busy?: WhenBusy;
  /** Deny what waits for an answer; the model reads this message instead. */
  deny_pending?: boolean;
}

export type AckBody = Pick<Ack, "cmd_id" | "status"> & Partial<Ack>;

export class AgentClient {
  readonly view: ReadonlySignal<View>;
  readonly status: ReadonlySignal<ClientStatus>;
  readonly welcome: ReadonlySignal<Welcome | null>;
  readonly sent: ReadonlySignal<readonly SentMessage[]>;
  readonly fault: Signal<Fault | null> = signal(null);

  private readonly shown = signal<View>(emptyView);
  private readonly greeting = signal<Welcome | null>(null);
  private readonly sentMessages = signal<readonly SentMessage[]>([]);
  private readonly client: string;
  private readonly outbox: Outbox;
  private readonly postedAt = new Map<string, number>();
  private readonly replies = new Map<string, (ack: AckBody) => void>();
  private readonly disposers: (() => void)[] = [];
  private readonly paint: Painter;
  private current: View = emptyView;
  private subscription: { cmd_id: string; since: boolean } | null = null;
  private syncTimer: ReturnType<typeof setTimeout> | undefined;
  private tailTimer: ReturnType<typeof setTimeout> | undefined;
  private readonly resendTimer: ReturnType<typeof setInterval>;

  constructor(
    readonly connection: Connection,
    options: { outbox?: Outbox; client?: string } = {},
  ) {
    this.client = options.client ?? "panel";
    this.outbox = options.outbox ?? new Outbox();
    this.paint = new Painter(() => {
      this.shown.value = this.current;
    });
    this.view = this.shown;
    this.welcome = this.greeting;
    this.sent = this.sentMessages;
    this.status = computed(() =>
      clientStatus(this.shown.value, connection.status.value.state, this.sentMessages.value.length > 0),
    );
    this.disposers.push(
      connection.subscribe((frame) => this.receive(frame)),
      effect(() => this.onSession(connection.session_id.value)),
      effect(() => this.onTransport(connection.status.value.state)),
    );
    this.resendTimer = setInterval(() => this.resend(), ACK_TIMEOUT_MS);
  }

  dispose(): void {
    for (const dispose of this.disposers) dispose();
    clearInterval(this.resendTimer);
    clearTimeout(this.syncTimer);
    clearTimeout(this.tailTimer);
    this.paint.dispose();
    this.connection.close();
  }

  // -- what the user does ---------------------------------------------------------

  /** Say something. Shown at once; resolves when the server has it, or refuses it. */
  send(text: string, options: SendOptions = {}): Promise<AckBody> {
    const id = newId("msg");
    if (this.tooLong(text)) return this.sendAttached(id, text, options);
    this.sentMessages.value = [...this.sentMessages.peek(), { id, text }];
    return this.say(id, [{ type: "text", text }], options);
  }

  private say(id: string, parts: (SentText | SentFile)[], options: SendOptions): Promise<AckBody> {
    return this.order("message.send", { id, parts, when_busy: "queue", ...options });
  }

  private tooLong(text: string): boolean {
    const limit = (this.greeting.peek()?.limits.frame_bytes ?? FRAME_BYTES) - ENVELOPE_BYTES;
    if (text.length * 6 <= limit) return false; // even if each character had to be escaped
    return new TextEncoder().encode(JSON.stringify(text)).length > limit;
  }

  /** A text over the limit of a frame goes up as a file, and its beginning with it. */
  private async sendAttached(id: string, text: string, options: SendOptions): Promise<AckBody> {
    const beginning = `${cutAt(text, BEGINNING)}…\n\n[The whole message is attached: ${MESSAGE_FILE}]`;
    this.sentMessages.value = [...this.sentMessages.peek(), { id, text: beginning }];
    try {
      const { page, session_id } = this.connection;
      const session = session_id.peek();
      if (!page || session === null) throw new Error("This message is too long to be sent from here.");
      const file = await uploadText(page, session, MESSAGE_FILE, text);
      return await this.say(id, [{ type: "text", text: beginning }, file], options);
    } catch (error) {
      this.sentMessages.value = this.sentMessages.peek().filter((message) => message.id !== id);
      const fault = { code: "too_large", message: (error as Error).message, hint: "Shorten it, or save it as a file." };
      this.fault.value = fault;
      return { cmd_id: id, status: "rejected", error: fault };
    }
  }

  /** Whether `wholePart` has a way to the server. */
  get canFetch(): boolean {
    return !!this.connection.page && this.connection.session_id.value !== null;
  }

  /** The whole of a part that came cut. Throws a sentence for the user. */
  async wholePart(message_id: string, part_id: string): Promise<Part> {
    const { page, session_id } = this.connection;
    const session = session_id.peek();
    if (!page || session === null) throw new Error("This page has no way to the rest.");
    return fetchPart(page, session, message_id, part_id);
  }

  /** Stop the running turn, and only that one. */
  stop(): void {
    const turn = this.current.turn;
    if (turn !== null) void this.order("turn.stop", { turn: turn.id });
  }

  /** Allow or deny the input that was looked at, or allow another in its place. */
  answer(approval: Approval, decision: Decision, more: AnswerOptions = {}): Promise<AckBody> {
    const { id, rev, input_hash } = approval;
    const seen = input_hash ? { input_hash } : {};
    return this.order("approval.answer", { id, rev, decision, scope: "once", ...seen, ...more });
  }

  setMode(mode: Mode): Promise<AckBody> {
    return this.order("session.set", { mode });
  }

  /** Fetch the page before the oldest message we have. */
  async loadOlder(): Promise<void> {
    const { before, has_more } = this.current.page;
    if (!has_more) return;
    const ack = await this.request("history", { before, limit: 25 });
    const page = ack?.result as { messages: Message[]; has_more: boolean; before: string | null } | null | undefined;
    if (page && this.current.page.before === before) this.update(prependHistory(this.current, page));
  }

  // -- commands -------------------------------------------------------------------

  /** Send what must arrive: it stays in the outbox until its ack. */
  order(type: AgentCommand["type"], d: object = {}): Promise<AckBody> {
    const order = command(type, d);
    this.outbox.add(order);
    this.postedAt.set(order.cmd_id, Date.now());
    const reply = new Promise<AckBody>((resolve) => this.replies.set(order.cmd_id, resolve));
    this.connection.post(order);
    return reply;
  }

  /** Ask once; null when no answer comes. */
  private request(type: string, d: object): Promise<AckBody | null> {
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

  private resend(now = false): void {
    if (this.connection.status.peek().state !== "connected") return;
    const due = Date.now() - ACK_TIMEOUT_MS + 50;
    for (const order of this.outbox.waiting) {
      if (!now && (this.postedAt.get(order.cmd_id) ?? 0) > due) continue;
      this.postedAt.set(order.cmd_id, Date.now());
      this.connection.post(order);
    }
  }

  // -- what the server says -------------------------------------------------------

  private receive(frame: Frame): void {
    const before = this.current;
    for (const event of eventsOf(frame)) this.hear(event);
    this.update(reduce(this.current, frame));
    if (this.current.stale !== null) this.resubscribe();
    else if (before.syncing && !this.current.syncing) this.synced();
  }

  /** Transient events that are not the view's: they answer this connection. */
  private hear(event: AgentEvent): void {
    switch (event.type) {
      case "welcome":
        this.greeting.value = event.d;
        break;
      case "ack":
        this.acknowledged(event.d);
        break;
      case "error":
        this.fault.value = event.d;
        break;
      case "hb":
        this.checkTail(event.d.seq);
        break;
    }
  }

  private acknowledged(ack: AckBody): void {
    const order = this.outbox.settle(ack.cmd_id);
    this.postedAt.delete(ack.cmd_id);
    if ((ack.original ?? ack.status) === "rejected") this.rejected(ack, order);
    const reply = this.replies.get(ack.cmd_id);
    this.replies.delete(ack.cmd_id);
    reply?.(ack);
  }

  private rejected(ack: AckBody, order: Command | undefined): void {
    if (order?.type === "message.send") {
      const id = (order.d as { id: string }).id;
      this.sentMessages.value = this.sentMessages.peek().filter((message) => message.id !== id);
    }
    const late = order?.type === "turn.stop" || order?.type === "approval.answer"; // somebody was faster
    const ours = order !== undefined || ack.cmd_id === this.subscription?.cmd_id;
    if (ours && !late) this.fault.value = ack.error ?? { code: "rejected", message: "The server refused that." };
  }

  /** A gap at the end has no next seq that would show it; the heartbeat does. */
  private checkTail(seq: number): void {
    if (seq <= this.current.seq || this.tailTimer !== undefined) return;
    this.tailTimer = setTimeout(() => {
      this.tailTimer = undefined;
      if (seq > this.current.seq && !this.current.syncing) this.subscribe(true);
    }, HEARTBEAT_GRACE_MS);
  }

  private update(view: View): void {
    if (view === this.current) return;
    const opens = opensSomething(this.current, view);
    this.current = view;
    this.forgetSeen(view);
    this.paint.request(opens);
  }

  private forgetSeen(view: View): void {
    const sent = this.sentMessages.peek();
    if (sent.length === 0) return;
    const unseen = sent.filter(
      ({ id }) => !view.messages.some((m) => m.id === id) && !view.queue.some((item) => item.message_id === id),
    );
    if (unseen.length < sent.length) this.sentMessages.value = unseen;
  }

  // -- following ------------------------------------------------------------------

  private onSession(session_id: string | null): void {
    if (session_id === null) return;
    const left = this.outbox.open(session_id);
    const messages = left.filter((order) => order.type === "message.send").map(sentMessage);
    if (messages.length > 0) this.sentMessages.value = [...messages, ...this.sentMessages.peek()];
    if (this.current.session !== null && this.current.session.id !== session_id) {
      this.update(emptyView); // the road now leads to another session
      if (this.connection.status.peek().state === "connected") this.subscribe(false);
    }
    if (left.length > 0) this.resend(true);
  }

  private onTransport(state: string): void {
    clearTimeout(this.syncTimer);
    this.subscription = null;
    if (state !== "connected") return;
    this.fault.value = null;
    this.greet();
    this.subscribe(true);
    this.resend(true);
  }

  private greet(): void {
    this.connection.post(command("hello", { protocol: [1], client: this.client, features: [] }));
  }

  private resubscribe(): void {
    if (this.current.syncing) return;
    const again = this.subscription?.since === true; // the replay left a hole: take everything
    this.subscribe(this.current.stale !== "epoch" && !again);
  }

  private subscribe(from_cursor: boolean): void {
    const { ep, seq } = this.current;
    const since = from_cursor && ep !== null ? { ep, seq } : null;
    const order = command("subscribe", { since, page: 25 });
    this.subscription = { cmd_id: order.cmd_id, since: since !== null };
    this.update({ ...this.current, syncing: true, stale: null });
    this.connection.post(order);
    clearTimeout(this.syncTimer);
    this.syncTimer = setTimeout(() => this.unanswered(), SYNC_TIMEOUT_MS);
  }

  private unanswered(): void {
    if (this.connection.status.peek().state !== "connected" || !this.current.syncing) return;
    if (this.greeting.peek() === null) this.greet();
    this.subscribe(false);
  }

  private synced(): void {
    clearTimeout(this.syncTimer);
    this.subscription = null;
  }
}

/** Whether something new stands there, not only more of what did: rare, and waited for. */
function opensSomething(before: View, after: View): boolean {
  return (
    before.messages.length !== after.messages.length ||
    before.messages.at(-1)?.parts.length !== after.messages.at(-1)?.parts.length ||
    before.approvals.length !== after.approvals.length
  );
}

/** The beginning of a text, without half a character at its end. */
function cutAt(text: string, units: number): string {
  return text.slice(0, units).replace(/[\uD800-\uDBFF]$/, "");
}

function sentMessage(order: Command): SentMessage {
  const { id, parts } = order.d as { id: string; parts: { text?: string }[] };
  return { id, text: parts.map((part) => part.text ?? "").join("\n") };
}
