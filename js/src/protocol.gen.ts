// Made by `make protocol` from jupyter_agent/protocol. Do not edit.

/**
 * From the server.
 */
export type Frame = EventFrame | BatchFrame;
/**
 * One event.
 */
export type EventFrame = FrameHead & AgentEvent;
/**
 * Whatever the server may say.
 */
export type AgentEvent =
  | WelcomeEvent
  | SnapshotEvent
  | CaughtUpEvent
  | HbEvent
  | PongEvent
  | ResyncEvent
  | AckEvent
  | ErrorEvent
  | SessionUpdatedEvent
  | SessionDeletedEvent
  | TurnStartedEvent
  | TurnStatusChangedEvent
  | TurnEndedEvent
  | StepStartedEvent
  | StepEndedEvent
  | StepResetEvent
  | MessageAddedEvent
  | MessageUpdatedEvent
  | MessageRemovedEvent
  | PartAddedEvent
  | PartDeltaEvent
  | PartDoneEvent
  | ToolStateChangedEvent
  | ApprovalRequestedEvent
  | ApprovalResolvedEvent
  | QueueUpdatedEvent
  | TaskUpdatedEvent
  | NoticeEvent;
export type Mode = 'plan' | 'build';
export type SessionStatus =
  'ready' | 'submitted' | 'streaming' | 'awaiting' | 'recovering' | 'error';
export type MessageStatus =
  'pending' | 'streaming' | 'complete' | 'stopped' | 'interrupted' | 'failed';
export type Part = TextPart | ReasoningPart | ToolPart | FilePart | NoticePart;
export type Effect = 'read' | 'idempotent' | 'write' | 'execute';
export type ToolState =
  | 'input-streaming'
  | 'input-available'
  | 'approval-requested'
  | 'approval-responded'
  | 'output-available'
  | 'output-error'
  | 'output-denied';
export type Display =
  DisplayText | DisplayMarkdown | DisplayCode | DisplayDiff | DisplayImage | DisplayTable;
export type ToolReason = 'interrupted' | 'stopped' | 'never_ran' | 'denied';
export type Scope = 'once' | 'session' | 'always';
export type Level = 'info' | 'warning' | 'error';
export type Trigger = 'user' | 'queue' | 'task' | 'recovery' | 'continue';
export type TurnStatus = 'running' | 'awaiting' | 'recovering' | 'stopping' | 'ended';
export type WhenBusy = 'queue' | 'steer' | 'reject';
export type Decision = 'allow' | 'deny';
export type TaskStatus = 'pending' | 'running' | 'done' | 'failed' | 'cancelled';
export type OutcomeKind = 'completed' | 'stopped' | 'failed' | 'interrupted' | 'step_limit';
export type Road = 'panel' | 'comm' | 'rest';
/**
 * Whatever a view may ask for.
 */
export type AgentCommand =
  | HelloCommand
  | SubscribeCommand
  | HistoryCommand
  | MessageSendCommand
  | QueueEditCommand
  | QueueRemoveCommand
  | QueueReorderCommand
  | QueueSendNowCommand
  | QueueResumeCommand
  | TurnStopCommand
  | TurnContinueCommand
  | TurnRetryCommand
  | ApprovalAnswerCommand
  | SessionSetCommand
  | SessionClearCommand
  | SessionRewindCommand
  | SessionForkCommand
  | TaskCreateCommand
  | TaskUpdateCommand
  | TaskRunCommand
  | PingCommand;

/**
 * What travels between a view and a session.
 */
export interface Wire {
  frame: Frame;
  command: AgentCommand;
}
/**
 * On every frame from the server.
 */
export interface FrameHead {
  v: 1;
  sid: string;
  ep: string;
}
export interface WelcomeEvent {
  type: 'welcome';
  d: Welcome;
  ts: number;
  turn: string | null;
  /**
   * Its place in the session; transient events have none.
   */
  seq?: number;
  /**
   * Instead of seq: the range that a merged event stands for.
   *
   * @minItems 2
   * @maxItems 2
   */
  covers?: [number, number];
}
/**
 * Answers ``hello``.
 */
export interface Welcome {
  protocol: number;
  server: string;
  features: string[];
  limits: Limits;
  user: string;
}
/**
 * What one frame, one page and one attachment may hold.
 */
export interface Limits {
  frame_bytes: number;
  page: number;
  attachment_bytes: number;
}
export interface SnapshotEvent {
  type: 'snapshot';
  d: Snapshot;
  ts: number;
  turn: string | null;
  /**
   * Its place in the session; transient events have none.
   */
  seq?: number;
  /**
   * Instead of seq: the range that a merged event stands for.
   *
   * @minItems 2
   * @maxItems 2
   */
  covers?: [number, number];
}
/**
 * The whole truth at ``as_of``; open parts carry their text so far.
 */
export interface Snapshot {
  as_of: number;
  session: Session;
  messages: Message[];
  page: Page;
  turn: Turn | null;
  queue: QueueItem[];
  paused: boolean;
  approvals: Approval[];
  tasks: Task[];
  last_outcome: TurnEnded | null;
}
/**
 * A session's own facts, as lists and headers show them.
 */
export interface Session {
  id: string;
  title: string;
  mode: Mode;
  model: string;
  status: SessionStatus;
  archived_at: number | null;
  notebook_path: string | null;
  created_at: number;
  updated_at: number;
  rev: number;
  usage: Usage;
}
/**
 * Tokens as the API counts them; ``cost_usd`` is None where no price is known.
 */
export interface Usage {
  input_tokens: number;
  output_tokens: number;
  cache_read_input_tokens: number;
  cache_creation_input_tokens: number;
  cost_usd: number | null;
}
/**
 * One entry of the transcript; ``parts`` in the order of their ``idx``.
 */
export interface Message {
  id: string;
  role: 'user' | 'assistant';
  status: MessageStatus;
  turn_id: string | null;
  parent_id: string | null;
  created_at: number;
  parts: Part[];
  meta: {
    [k: string]: unknown;
  };
  truncated: boolean;
}
/**
 * Something said, by the user or the model; markdown. ``whole``: see ``ToolPart``.
 */
export interface TextPart {
  id: string;
  idx: number;
  text: string;
  state: 'streaming' | 'done';
  superseded: boolean;
  truncated: boolean;
  whole?: string | null;
  type: 'text';
}
/**
 * The model's summarised thinking.
 */
export interface ReasoningPart {
  id: string;
  idx: number;
  text: string;
  state: 'streaming' | 'done';
  superseded: boolean;
  truncated: boolean;
  type: 'reasoning';
}
/**
 * One tool call and everything that became of it.
 *
 * ``truncated``: what stands here is a preview. ``whole`` is the sha256 of the
 * file that holds the rest; REST gives the part with it put back.
 */
export interface ToolPart {
  id: string;
  idx: number;
  tool_call_id: string;
  name: string;
  effect: Effect;
  state: ToolState;
  running: boolean;
  superseded: boolean;
  truncated: boolean;
  whole?: string | null;
  input: unknown;
  input_json?: string | null;
  output: ToolOutput | null;
  error: string | null;
  reason: ToolReason | null;
  progress?: unknown;
  approval_id: string | null;
  allowed: Scope | null;
  rev: number;
  started_at: number | null;
  ended_at: number | null;
  type: 'tool';
}
/**
 * A result's two faces: ``model`` is the exact ``tool_result`` content, ``display`` is for the eye.
 */
export interface ToolOutput {
  model: unknown;
  display: Display[];
}
/**
 * Plain text in a monospaced block; ANSI colours allowed, HTML is not read.
 */
export interface DisplayText {
  text: string;
  type: 'text';
}
/**
 * Prose, e.g. a plan; sanitised like any answer.
 */
export interface DisplayMarkdown {
  text: string;
  type: 'markdown';
}
/**
 * Source that was or will be run; ``label`` says where, e.g. ``"cell 3"``.
 */
export interface DisplayCode {
  text: string;
  language: string;
  label: string;
  type: 'code';
}
/**
 * A cell's source before and after; an insertion has ``before == ""``.
 */
export interface DisplayDiff {
  before: string;
  after: string;
  language: string;
  label: string;
  type: 'diff';
}
/**
 * A raster image or SVG as base64; shown by ``<img>`` from a ``data:`` URL.
 */
export interface DisplayImage {
  mime: string;
  data: string;
  alt: string;
  type: 'image';
}
/**
 * Rows of short strings under a header, e.g. the variables of the kernel.
 */
export interface DisplayTable {
  header: string[];
  rows: string[][];
  type: 'table';
}
/**
 * An attachment, by reference.
 */
export interface FilePart {
  id: string;
  idx: number;
  mime: string;
  name: string;
  sha256: string;
  bytes: number;
  type: 'file';
}
/**
 * A remark of ours inside a message.
 */
export interface NoticePart {
  id: string;
  idx: number;
  level: Level;
  code: string;
  text: string;
  type: 'notice';
}
/**
 * Where older messages are: ``before`` is the oldest one sent, or its first part if that has earlier ones.
 */
export interface Page {
  before: string | null;
  has_more: boolean;
}
/**
 * One user message to rest.
 */
export interface Turn {
  id: string;
  trigger: Trigger;
  message_id: string;
  mode: Mode;
  status: TurnStatus;
  step: number;
  attempt: number;
  started_at: number;
  user: string;
}
/**
 * A message that waits for the running turn to end; ``task_id`` when it is a task's.
 */
export interface QueueItem {
  id: string;
  message_id: string;
  parts: (TextPart | FilePart)[];
  when_busy: WhenBusy;
  rev: number;
  created_at: number;
  user: string;
  task_id: string | null;
}
/**
 * A question to the user: may this call run? ``preview`` is what will happen.
 *
 * ``input_hash`` is the sha256 of the call's input: the answer is one to that input and no other.
 */
export interface Approval {
  id: string;
  part_id: string;
  tool_call_id: string;
  rev: number;
  options: Decision[];
  scopes: Scope[];
  preview: Display[];
  input_hash: string;
  requested_at: number;
  expires_at: number | null;
}
/**
 * Something to do later, written down by the model or the user.
 */
export interface Task {
  id: string;
  title: string;
  description: string;
  mode: Mode;
  status: TaskStatus;
  created_at: number;
  completed_at: number | null;
  turn_id: string | null;
  rev: number;
}
/**
 * Exactly one a turn, its last event; settles every open part.
 */
export interface TurnEnded {
  turn: string;
  outcome: OutcomeKind;
  error: TurnError | null;
  usage: Usage;
  message_ids: string[];
  ended_at: number;
}
/**
 * Why a turn failed, for the user; ``request_id`` is the API's.
 */
export interface TurnError {
  code: string;
  message: string;
  retryable: boolean;
  request_id?: string | null;
  hint?: string | null;
}
export interface CaughtUpEvent {
  type: 'caught_up';
  d: CaughtUp;
  ts: number;
  turn: string | null;
  /**
   * Its place in the session; transient events have none.
   */
  seq?: number;
  /**
   * Instead of seq: the range that a merged event stands for.
   *
   * @minItems 2
   * @maxItems 2
   */
  covers?: [number, number];
}
/**
 * End of a snapshot or replay.
 */
export interface CaughtUp {
  seq: number;
}
export interface HbEvent {
  type: 'hb';
  d: Hb;
  ts: number;
  turn: string | null;
  /**
   * Its place in the session; transient events have none.
   */
  seq?: number;
  /**
   * Instead of seq: the range that a merged event stands for.
   *
   * @minItems 2
   * @maxItems 2
   */
  covers?: [number, number];
}
/**
 * Heartbeat with the last seq: shows a lost tail.
 */
export interface Hb {
  seq: number;
}
export interface PongEvent {
  type: 'pong';
  d: Pong;
  ts: number;
  turn: string | null;
  /**
   * Its place in the session; transient events have none.
   */
  seq?: number;
  /**
   * Instead of seq: the range that a merged event stands for.
   *
   * @minItems 2
   * @maxItems 2
   */
  covers?: [number, number];
}
/**
 * Answers ``ping`` without waking a session.
 */
export interface Pong {}
export interface ResyncEvent {
  type: 'resync';
  d: Resync;
  ts: number;
  turn: string | null;
  /**
   * Its place in the session; transient events have none.
   */
  seq?: number;
  /**
   * Instead of seq: the range that a merged event stands for.
   *
   * @minItems 2
   * @maxItems 2
   */
  covers?: [number, number];
}
/**
 * The client must subscribe anew.
 */
export interface Resync {
  reason: 'slow' | 'gap' | 'epoch' | 'migrated';
}
export interface AckEvent {
  type: 'ack';
  d: Ack;
  ts: number;
  turn: string | null;
  /**
   * Its place in the session; transient events have none.
   */
  seq?: number;
  /**
   * Instead of seq: the range that a merged event stands for.
   *
   * @minItems 2
   * @maxItems 2
   */
  covers?: [number, number];
}
/**
 * Sent after the commit: the command took effect, had done so before, or never will.
 */
export interface Ack {
  cmd_id: string;
  status: 'accepted' | 'duplicate' | 'rejected';
  original?: ('accepted' | 'rejected') | null;
  result: {
    [k: string]: unknown;
  } | null;
  error: ErrorInfo | null;
}
/**
 * Code and sentence, as acks carry them.
 *
 * ``retryable``: the command is neither done nor on record, and will be taken once what is in its way has
 * passed. A client keeps it, and sends it again under the same ``cmd_id``.
 */
export interface ErrorInfo {
  code: string;
  message: string;
  hint?: string | null;
  retryable: boolean;
}
export interface ErrorEvent {
  type: 'error';
  d: Error;
  ts: number;
  turn: string | null;
  /**
   * Its place in the session; transient events have none.
   */
  seq?: number;
  /**
   * Instead of seq: the range that a merged event stands for.
   *
   * @minItems 2
   * @maxItems 2
   */
  covers?: [number, number];
}
/**
 * Told to one connection.
 */
export interface Error {
  code: string;
  message: string;
  hint?: string | null;
}
export interface SessionUpdatedEvent {
  type: 'session.updated';
  d: SessionUpdated;
  ts: number;
  turn: string | null;
  /**
   * Its place in the session; transient events have none.
   */
  seq?: number;
  /**
   * Instead of seq: the range that a merged event stands for.
   *
   * @minItems 2
   * @maxItems 2
   */
  covers?: [number, number];
}
/**
 * Fields of ``Session`` that changed.
 */
export interface SessionUpdated {
  patch: {
    [k: string]: unknown;
  };
  rev: number;
}
export interface SessionDeletedEvent {
  type: 'session.deleted';
  d: SessionDeleted;
  ts: number;
  turn: string | null;
  /**
   * Its place in the session; transient events have none.
   */
  seq?: number;
  /**
   * Instead of seq: the range that a merged event stands for.
   *
   * @minItems 2
   * @maxItems 2
   */
  covers?: [number, number];
}
/**
 * The session is gone; the socket closes with 4404.
 */
export interface SessionDeleted {}
export interface TurnStartedEvent {
  type: 'turn.started';
  d: TurnStarted;
  ts: number;
  turn: string | null;
  /**
   * Its place in the session; transient events have none.
   */
  seq?: number;
  /**
   * Instead of seq: the range that a merged event stands for.
   *
   * @minItems 2
   * @maxItems 2
   */
  covers?: [number, number];
}
/**
 * A turn exists, before the first byte of the model.
 */
export interface TurnStarted {
  turn: Turn;
}
export interface TurnStatusChangedEvent {
  type: 'turn.status';
  d: TurnStatusChanged;
  ts: number;
  turn: string | null;
  /**
   * Its place in the session; transient events have none.
   */
  seq?: number;
  /**
   * Instead of seq: the range that a merged event stands for.
   *
   * @minItems 2
   * @maxItems 2
   */
  covers?: [number, number];
}
/**
 * The turn runs, awaits a human, recovers or stops.
 */
export interface TurnStatusChanged {
  status: TurnStatus;
  attempt: number;
}
export interface TurnEndedEvent {
  type: 'turn.ended';
  d: TurnEnded;
  ts: number;
  turn: string | null;
  /**
   * Its place in the session; transient events have none.
   */
  seq?: number;
  /**
   * Instead of seq: the range that a merged event stands for.
   *
   * @minItems 2
   * @maxItems 2
   */
  covers?: [number, number];
}
export interface StepStartedEvent {
  type: 'step.started';
  d: StepStarted;
  ts: number;
  turn: string | null;
  /**
   * Its place in the session; transient events have none.
   */
  seq?: number;
  /**
   * Instead of seq: the range that a merged event stands for.
   *
   * @minItems 2
   * @maxItems 2
   */
  covers?: [number, number];
}
/**
 * One request to the model begins.
 */
export interface StepStarted {
  step: number;
  model: string;
}
export interface StepEndedEvent {
  type: 'step.ended';
  d: StepEnded;
  ts: number;
  turn: string | null;
  /**
   * Its place in the session; transient events have none.
   */
  seq?: number;
  /**
   * Instead of seq: the range that a merged event stands for.
   *
   * @minItems 2
   * @maxItems 2
   */
  covers?: [number, number];
}
/**
 * The model's answer of this step is complete.
 */
export interface StepEnded {
  step: number;
  stop_reason: string | null;
  usage: Usage;
  request_id?: string | null;
}
export interface StepResetEvent {
  type: 'step.reset';
  d: StepReset;
  ts: number;
  turn: string | null;
  /**
   * Its place in the session; transient events have none.
   */
  seq?: number;
  /**
   * Instead of seq: the range that a merged event stands for.
   *
   * @minItems 2
   * @maxItems 2
   */
  covers?: [number, number];
}
/**
 * The step is asked again: ``parts`` are superseded, greyed, kept.
 */
export interface StepReset {
  step: number;
  parts: string[];
}
export interface MessageAddedEvent {
  type: 'message.added';
  d: MessageAdded;
  ts: number;
  turn: string | null;
  /**
   * Its place in the session; transient events have none.
   */
  seq?: number;
  /**
   * Instead of seq: the range that a merged event stands for.
   *
   * @minItems 2
   * @maxItems 2
   */
  covers?: [number, number];
}
/**
 * A message joins the transcript (upsert).
 */
export interface MessageAdded {
  message: Message;
}
export interface MessageUpdatedEvent {
  type: 'message.updated';
  d: MessageUpdated;
  ts: number;
  turn: string | null;
  /**
   * Its place in the session; transient events have none.
   */
  seq?: number;
  /**
   * Instead of seq: the range that a merged event stands for.
   *
   * @minItems 2
   * @maxItems 2
   */
  covers?: [number, number];
}
/**
 * The message as it is now.
 */
export interface MessageUpdated {
  message: Message;
}
export interface MessageRemovedEvent {
  type: 'message.removed';
  d: MessageRemoved;
  ts: number;
  turn: string | null;
  /**
   * Its place in the session; transient events have none.
   */
  seq?: number;
  /**
   * Instead of seq: the range that a merged event stands for.
   *
   * @minItems 2
   * @maxItems 2
   */
  covers?: [number, number];
}
/**
 * The message left the visible branch.
 */
export interface MessageRemoved {
  message_id: string;
}
export interface PartAddedEvent {
  type: 'part.added';
  d: PartAdded;
  ts: number;
  turn: string | null;
  /**
   * Its place in the session; transient events have none.
   */
  seq?: number;
  /**
   * Instead of seq: the range that a merged event stands for.
   *
   * @minItems 2
   * @maxItems 2
   */
  covers?: [number, number];
}
/**
 * A part opens, before its first delta.
 */
export interface PartAdded {
  message_id: string;
  part: Part;
}
export interface PartDeltaEvent {
  type: 'part.delta';
  d: PartDelta;
  ts: number;
  turn: string | null;
  /**
   * Its place in the session; transient events have none.
   */
  seq?: number;
  /**
   * Instead of seq: the range that a merged event stands for.
   *
   * @minItems 2
   * @maxItems 2
   */
  covers?: [number, number];
}
/**
 * Text for a part; ``at`` is the part's length before it in UTF-16 units.
 */
export interface PartDelta {
  part_id: string;
  at: number;
  field: 'text' | 'input_json';
  delta: string;
}
export interface PartDoneEvent {
  type: 'part.done';
  d: PartDone;
  ts: number;
  turn: string | null;
  /**
   * Its place in the session; transient events have none.
   */
  seq?: number;
  /**
   * Instead of seq: the range that a merged event stands for.
   *
   * @minItems 2
   * @maxItems 2
   */
  covers?: [number, number];
}
/**
 * The complete part: overwrites whatever deltas built.
 */
export interface PartDone {
  message_id: string;
  part: Part;
}
export interface ToolStateChangedEvent {
  type: 'tool.state';
  d: ToolStateChanged;
  ts: number;
  turn: string | null;
  /**
   * Its place in the session; transient events have none.
   */
  seq?: number;
  /**
   * Instead of seq: the range that a merged event stands for.
   *
   * @minItems 2
   * @maxItems 2
   */
  covers?: [number, number];
}
/**
 * A tool call moved along its edges; a None field is one that did not change.
 *
 * One that only brings ``progress`` is transient: it has no seq and is not stored.
 */
export interface ToolStateChanged {
  part_id: string;
  state: ToolState;
  running: boolean;
  rev: number;
  input?: unknown;
  output?: ToolOutput | null;
  error?: string | null;
  reason?: ToolReason | null;
  progress?: unknown;
  approval_id?: string | null;
  allowed?: Scope | null;
  truncated?: boolean | null;
  whole?: string | null;
  started_at?: number | null;
  ended_at?: number | null;
}
export interface ApprovalRequestedEvent {
  type: 'approval.requested';
  d: ApprovalRequested;
  ts: number;
  turn: string | null;
  /**
   * Its place in the session; transient events have none.
   */
  seq?: number;
  /**
   * Instead of seq: the range that a merged event stands for.
   *
   * @minItems 2
   * @maxItems 2
   */
  covers?: [number, number];
}
/**
 * The turn waits for an answer.
 */
export interface ApprovalRequested {
  approval: Approval;
}
export interface ApprovalResolvedEvent {
  type: 'approval.resolved';
  d: ApprovalResolved;
  ts: number;
  turn: string | null;
  /**
   * Its place in the session; transient events have none.
   */
  seq?: number;
  /**
   * Instead of seq: the range that a merged event stands for.
   *
   * @minItems 2
   * @maxItems 2
   */
  covers?: [number, number];
}
/**
 * Somebody answered.
 */
export interface ApprovalResolved {
  id: string;
  rev: number;
  decision: Decision | 'cancelled';
  by: string;
  road: Road;
  reason: string | null;
}
export interface QueueUpdatedEvent {
  type: 'queue.updated';
  d: QueueUpdated;
  ts: number;
  turn: string | null;
  /**
   * Its place in the session; transient events have none.
   */
  seq?: number;
  /**
   * Instead of seq: the range that a merged event stands for.
   *
   * @minItems 2
   * @maxItems 2
   */
  covers?: [number, number];
}
/**
 * The whole queue, in order.
 */
export interface QueueUpdated {
  items: QueueItem[];
  paused: boolean;
  rev: number;
}
export interface TaskUpdatedEvent {
  type: 'task.updated';
  d: TaskUpdated;
  ts: number;
  turn: string | null;
  /**
   * Its place in the session; transient events have none.
   */
  seq?: number;
  /**
   * Instead of seq: the range that a merged event stands for.
   *
   * @minItems 2
   * @maxItems 2
   */
  covers?: [number, number];
}
/**
 * A task as it is now (upsert).
 */
export interface TaskUpdated {
  task: Task;
}
export interface NoticeEvent {
  type: 'notice';
  d: Notice;
  ts: number;
  turn: string | null;
  /**
   * Its place in the session; transient events have none.
   */
  seq?: number;
  /**
   * Instead of seq: the range that a merged event stands for.
   *
   * @minItems 2
   * @maxItems 2
   */
  covers?: [number, number];
}
/**
 * Something worth knowing that ended nothing, e.g. a retry.
 */
export interface Notice {
  level: Level;
  code: string;
  text: string;
}
/**
 * Several events, in order.
 */
export interface BatchFrame {
  v: 1;
  sid: string;
  ep: string;
  batch: AgentEvent[];
}
export interface HelloCommand {
  v: 1;
  cmd_id: string;
  type: 'hello';
  d: Hello;
}
/**
 * Opens a connection.
 */
export interface Hello {
  protocol: number[];
  client?: string;
  features?: string[];
}
export interface SubscribeCommand {
  v: 1;
  cmd_id: string;
  type: 'subscribe';
  d: Subscribe;
}
/**
 * From now on tell me everything; begin after ``since`` or with a snapshot.
 */
export interface Subscribe {
  since?: Cursor | null;
  page?: number;
}
/**
 * The last event a view has applied.
 */
export interface Cursor {
  ep: string;
  seq: number;
}
export interface HistoryCommand {
  v: 1;
  cmd_id: string;
  type: 'history';
  d: History;
}
/**
 * What is older than the cursor ``before``: a message, or a part where that one's message has earlier ones.
 */
export interface History {
  before?: string | null;
  limit?: number;
}
export interface MessageSendCommand {
  v: 1;
  cmd_id: string;
  type: 'message.send';
  d: MessageSend;
}
/**
 * Say something. ``id`` is the message's own, chosen by the view.
 *
 * ``deny_pending``: whatever waits for an answer is denied, and the model reads this instead, in the same turn.
 */
export interface MessageSend {
  id: string;
  parts: (SentText | SentFile)[];
  when_busy?: WhenBusy;
  if_mode?: Mode | null;
  deny_pending?: boolean;
}
/**
 * Text that the user wrote.
 */
export interface SentText {
  text: string;
  type: 'text';
}
/**
 * An attachment that was uploaded before.
 */
export interface SentFile {
  sha256: string;
  mime: string;
  name: string;
  bytes?: number;
  type: 'file';
}
export interface QueueEditCommand {
  v: 1;
  cmd_id: string;
  type: 'queue.edit';
  d: QueueEdit;
}
/**
 * Change a waiting message.
 */
export interface QueueEdit {
  id: string;
  rev: number;
  parts: (SentText | SentFile)[];
}
export interface QueueRemoveCommand {
  v: 1;
  cmd_id: string;
  type: 'queue.remove';
  d: QueueRemove;
}
/**
 * Take a waiting message back.
 */
export interface QueueRemove {
  id: string;
  rev: number;
}
export interface QueueReorderCommand {
  v: 1;
  cmd_id: string;
  type: 'queue.reorder';
  d: QueueReorder;
}
/**
 * Put a waiting message before another, or last.
 */
export interface QueueReorder {
  id: string;
  rev: number;
  before?: string | null;
}
export interface QueueSendNowCommand {
  v: 1;
  cmd_id: string;
  type: 'queue.send_now';
  d: QueueSendNow;
}
/**
 * Start this waiting message next; stops the running turn first.
 */
export interface QueueSendNow {
  id: string;
  rev: number;
}
export interface QueueResumeCommand {
  v: 1;
  cmd_id: string;
  type: 'queue.resume';
  d: QueueResume;
}
/**
 * Go on with a paused queue.
 */
export interface QueueResume {}
export interface TurnStopCommand {
  v: 1;
  cmd_id: string;
  type: 'turn.stop';
  d: TurnStop;
}
/**
 * Stop this turn, and no other.
 */
export interface TurnStop {
  turn: string;
  clear_queue?: boolean;
}
export interface TurnContinueCommand {
  v: 1;
  cmd_id: string;
  type: 'turn.continue';
  d: TurnContinue;
}
/**
 * Go on where the turn ``after`` ended; only the session's last turn can be gone on from.
 */
export interface TurnContinue {
  after: string;
}
export interface TurnRetryCommand {
  v: 1;
  cmd_id: string;
  type: 'turn.retry';
  d: TurnRetry;
}
/**
 * Answer the message that this answer answers once more; the old answer leaves the branch.
 */
export interface TurnRetry {
  message_id: string;
}
export interface ApprovalAnswerCommand {
  v: 1;
  cmd_id: string;
  type: 'approval.answer';
  d: ApprovalAnswer;
}
/**
 * Allow or deny a call; a denial's ``reason`` is read by the model.
 *
 * ``edited_input`` replaces the call's whole input. ``input_hash``, if given, names the input that was looked at.
 * ``pattern``, with the scope ``always``: the notebooks that it holds in, as a glob that this one's path fits (``*``
 * is any text, with folders in it); without it, this one alone.
 */
export interface ApprovalAnswer {
  id: string;
  rev: number;
  decision: Decision;
  scope?: Scope;
  edited_input?: unknown;
  input_hash?: string | null;
  reason?: string | null;
  pattern?: string | null;
}
export interface SessionSetCommand {
  v: 1;
  cmd_id: string;
  type: 'session.set';
  d: SessionSet;
}
/**
 * Change mode, model or title; stale when ``if_rev`` is not the session's.
 */
export interface SessionSet {
  mode?: Mode | null;
  model?: string | null;
  title?: string | null;
  if_rev?: number | null;
}
export interface SessionClearCommand {
  v: 1;
  cmd_id: string;
  type: 'session.clear';
  d: SessionClear;
}
/**
 * Begin anew: every message leaves the branch, what waits is dropped.
 */
export interface SessionClear {}
export interface SessionRewindCommand {
  v: 1;
  cmd_id: string;
  type: 'session.rewind';
  d: SessionRewind;
}
/**
 * Make this message the last one. What came after stays stored; rewinding to it brings it back.
 */
export interface SessionRewind {
  message_id: string;
}
export interface SessionForkCommand {
  v: 1;
  cmd_id: string;
  type: 'session.fork';
  d: SessionFork;
}
/**
 * Make another session of everything up to this message, all when None; answers its id.
 */
export interface SessionFork {
  message_id?: string | null;
}
export interface TaskCreateCommand {
  v: 1;
  cmd_id: string;
  type: 'task.create';
  d: TaskCreate;
}
/**
 * Write something down to be done later.
 */
export interface TaskCreate {
  title: string;
  description?: string;
  mode?: Mode;
}
export interface TaskUpdateCommand {
  v: 1;
  cmd_id: string;
  type: 'task.update';
  d: TaskUpdate;
}
/**
 * Change a task; a None field stays as it is.
 */
export interface TaskUpdate {
  id: string;
  rev: number;
  title?: string | null;
  description?: string | null;
  mode?: Mode | null;
  status?: TaskStatus | null;
}
export interface TaskRunCommand {
  v: 1;
  cmd_id: string;
  type: 'task.run';
  d: TaskRun;
}
/**
 * Do a task now, or after the turn that runs.
 */
export interface TaskRun {
  id: string;
  rev: number;
}
export interface PingCommand {
  v: 1;
  cmd_id: string;
  type: 'ping';
  d: Ping;
}
/**
 * Are you there? Answered by the host; wakes nobody.
 */
export interface Ping {}
