/**
 * One view of one session: folds what a road delivers, and says what the user wants.
 *
 *     connection ──frames──► receive ──reduce──► view ──signal──► panel
 *     connection ◄──post──── delivery ◄────────────── commands ── panel
 *
 * It subscribes when the road opens, from its cursor; when that can't be served or
 * a hole remains, from nothing.
 */
import { computed, effect, type ReadonlySignal, type Signal, signal } from "@preact/signals";
import { type Connection, command } from "./connection";
import { fetchPart } from "./connections/page";
import { type AckBody, Delivery, type Fault, type SendOptions, type SentMessage, type UnsentMessage } from "./delivery";
import type { Outbox } from "./outbox";
import { Painter } from "./painter";
import type {
  AgentCommand,
  AgentEvent,
  Approval,
  ApprovalAnswer,
  Decision,
  Frame,
  Message,
  Mode,
  Part,
  QueueItem,
  Welcome,
} from "./protocol.gen";
import { eventsOf, prependHistory, reduce } from "./reduce";
import { type ClientStatus, clientStatus, emptyView, type View } from "./view";

export {
  ACK_TIMEOUT_MS,
  type AckBody,
  type Fault,
  type SendOptions,
  type SentMessage,
  type UnsentMessage,
} from "./delivery";
export const SYNC_TIMEOUT_MS = 5_000;
const HEARTBEAT_GRACE_MS = 1_000;
/** What a server takes that hasn't said it yet. */
const FRAME_BYTES = 1 << 20;
const VERSION = 1;
const OTHER_VERSION: Fault = {
  code: "version",
  message: "This panel and the Jupyter server speak different versions.",
  hint: "Install the same jupyter-agent-panel in the notebook's and the server's environment, restart both, and reload the page.",
};
/** Why a session is only shown; told again after each look at it, as long as it holds. */
const READ_ONLY: ReadonlySet<string> = new Set(["open_elsewhere", "store_too_new", "store_unwritable"]);
/** What the user should know once, and can do without. */
const WARNINGS: ReadonlySet<string> = new Set(["plain_journal"]);
/** How an answer differs from a plain one. */
export type AnswerOptions = Partial<Pick<ApprovalAnswer, "scope" | "reason" | "edited_input" | "pattern">>;

export class AgentClient {
  readonly view: ReadonlySignal<View>;
  readonly status: ReadonlySignal<ClientStatus>;
  readonly welcome: ReadonlySignal<Welcome | null>;
  readonly sent: ReadonlySignal<readonly SentMessage[]>;
  readonly unsent: ReadonlySignal<readonly UnsentMessage[]>;
  readonly fault: Signal<Fault | null> = signal(null);
  /** Why the session can be looked at and not changed, while that is so. */
  readonly readOnly: Signal<Fault | null> = signal(null);
  readonly warning: Signal<Fault | null> = signal(null);

  private readonly shown = signal<View>(emptyView);
  private readonly greeting = signal<Welcome | null>(null);
  private readonly client: string;
  private readonly delivery: Delivery;
  private readonly warned = new Set<string>();
  private readonly disposers: (() => void)[] = [];
  private readonly paint: Painter;
  private current: View = emptyView;
  private subscription: { cmd_id: string; since: boolean } | null = null;
  private syncTimer: ReturnType<typeof setTimeout> | undefined;
  private tailTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    readonly connection: Connection,
    options: { outbox?: Outbox; client?: string } = {},
  ) {
    this.client = options.client ?? "panel";
    const frameBytes = () => this.greeting.peek()?.limits.frame_bytes ?? FRAME_BYTES;
    this.delivery = new Delivery(connection, this.fault, frameBytes, options.outbox);
    this.paint = new Painter(() => {
      this.shown.value = this.current;
    });
    this.view = this.shown;
    this.welcome = this.greeting;
    this.sent = this.delivery.sent;
    this.unsent = this.delivery.unsent;
    this.status = computed(() => {
      const sending = this.sent.value.some((message) => message.held === undefined);
      return clientStatus(this.shown.value, connection.status.value.state, sending);
    });
    this.disposers.push(
      connection.subscribe((frame) => this.receive(frame)),
      effect(() => this.onSession(connection.session_id.value)),
      effect(() => this.onTransport(connection.status.value.state)),
    );
  }

  dispose(): void {
    for (const dispose of this.disposers) dispose();
    this.delivery.dispose();
    clearTimeout(this.syncTimer);
    clearTimeout(this.tailTimer);
    this.paint.dispose();
    this.connection.close();
  }

  // -- what the user does ---------------------------------------------------------

  /** Say something. Shown at once; resolves when the server has it, or refuses it for good: see `unsent`. */
  send(text: string, options: SendOptions = {}): Promise<AckBody> {
    return this.delivery.send(text, options);
  }

  /** Say once more what was refused for good. */
  sendAgain(id: string): void {
    this.delivery.sendAgain(id);
  }

  /** Keep in sight what waited, and waits no more. */
  keep(items: readonly QueueItem[], why: Fault): void {
    this.delivery.keep(items, why);
  }

  /** Forget a message that the server hasn't taken; tell what it was. */
  discard(id: string): UnsentMessage | undefined {
    return this.delivery.discard(id);
  }

  /** Send what must arrive: it stays in the outbox until it is taken, or refused for good. */
  order(type: AgentCommand["type"], d: object = {}): Promise<AckBody> {
    return this.delivery.order(type, d);
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
    const ack = await this.delivery.request("history", { before, limit: 25 });
    const page = ack?.result as { messages: Message[]; has_more: boolean; before: string | null } | null | undefined;
    if (page && this.current.page.before === before) this.update(prependHistory(this.current, page));
  }

  // -- what the server says -------------------------------------------------------

  private receive(frame: Frame): void {
    if (frame.v !== VERSION) {
      this.fault.value = OTHER_VERSION; // what its fields mean nobody here knows
      return;
    }
    const before = this.current;
    for (const event of eventsOf(frame)) this.hear(event);
    if (eventsOf(frame).some(isStored)) this.readOnly.value = null;
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
        this.troubled(event.d);
        break;
      case "hb":
        this.checkTail(event.d.seq);
        break;
    }
  }

  private troubled(why: Fault): void {
    if (READ_ONLY.has(why.code)) this.readOnly.value = why;
    else if (!WARNINGS.has(why.code)) this.fault.value = why;
    else if (!this.warned.has(why.code)) {
      this.warned.add(why.code);
      this.warning.value = why;
    }
  }

  private acknowledged(ack: AckBody): void {
    if (ack.status === "rejected" && ack.cmd_id === this.subscription?.cmd_id) this.fault.value = ack.error ?? null;
    this.delivery.acknowledged(ack);
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
    this.delivery.seen(view);
    this.paint.request(opens);
  }

  // -- following ------------------------------------------------------------------

  private onSession(session_id: string | null): void {
    if (session_id === null) return;
    if (this.current.session !== null && this.current.session.id !== session_id) {
      this.update(emptyView); // the road now leads to another session
      if (this.connection.status.peek().state === "connected") this.subscribe(false);
    }
    this.delivery.open(session_id);
  }

  private onTransport(state: string): void {
    clearTimeout(this.syncTimer);
    this.subscription = null;
    if (state !== "connected") return;
    this.fault.value = null;
    this.readOnly.value = null;
    this.greet();
    this.subscribe(true);
    this.delivery.resume();
  }

  private greet(): void {
    this.connection.post(command("hello", { protocol: [VERSION], client: this.client, features: [] }));
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
    this.delivery.resumeHeld();
  }
}

/** Something new was stored, or the view is up to date: whatever kept the session from changing, it may be over. */
function isStored(event: AgentEvent): boolean {
  return event.seq !== undefined || event.type === "caught_up";
}

/** Whether something new stands there, not only more of what did: rare, and waited for. */
function opensSomething(before: View, after: View): boolean {
  return (
    before.messages.length !== after.messages.length ||
    before.messages.at(-1)?.parts.length !== after.messages.at(-1)?.parts.length ||
    before.approvals.length !== after.approvals.length
  );
}
