/** Makes the frames that a session would send; for tests and the example page. */
import type { AgentEvent, EventFrame } from "../src/protocol.gen";

type Body<T extends AgentEvent["type"]> = Extract<AgentEvent, { type: T }>["d"];

/** Number events as a session would, one frame each; for examples and tests. */
export class Recorder {
  seq = 0;

  constructor(
    readonly sid: string,
    readonly ep = "ep1",
  ) {}

  /** The next event in the session's order. */
  durable<T extends AgentEvent["type"]>(type: T, d: Body<T>, turn: string | null = null): EventFrame {
    const seq = ++this.seq;
    return { ...this.transient(type, d, turn), seq };
  }

  /** An event without a place in the order. */
  transient<T extends AgentEvent["type"]>(type: T, d: Body<T>, turn: string | null = null): EventFrame {
    return {
      v: 1,
      sid: this.sid,
      ep: this.ep,
      ts: 1_795_413_353_559 + this.seq,
      turn,
      type,
      d,
    } as unknown as EventFrame;
  }
}
