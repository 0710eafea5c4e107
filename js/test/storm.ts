/**
 * Real clients behind a pipe: who writes into it is their network and their clock.
 *
 * A line in, a line out. In: one JSON object, an order to the named client or to the
 * clock. Out: a JSON array of what the clients did meanwhile. `tests/storm/client.py`
 * is the other end; nothing here knows that frames can be lost.
 */
import { createInterface } from "node:readline";
import { AgentClient } from "../src/client";
import type { Connection } from "../src/connection";
import { CommConnection, type WidgetModel } from "../src/connections/comm";
import { SocketConnection } from "../src/connections/socket";
import { Outbox } from "../src/outbox";
import type { View } from "../src/view";
import { clock } from "./clock"; // first: the client takes its timers from the globals

let said: object[] = [];

/** A WebSocket whose other end is the pipe. */
class PipedSocket {
  static latest = new Map<string, PipedSocket>();
  readyState = 0;
  onopen: (() => void) | null = null;
  onclose: ((event: { code: number }) => void) | null = null;
  onmessage: ((event: { data: string }) => void) | null = null;

  constructor(private readonly name: string) {
    PipedSocket.latest.set(name, this);
    said.push({ name, socket: "open" });
  }
  send(text: string): void {
    said.push({ name: this.name, up: JSON.parse(text) });
  }
  close(): void {
    if (this.readyState < 2) said.push({ name: this.name, socket: "close" });
    this.readyState = 3;
  }
  opened(): void {
    if (this.readyState > 0) return;
    this.readyState = 1;
    this.onopen?.();
  }
  closed(code: number): void {
    this.readyState = 3;
    this.onclose?.({ code });
  }
}

/** The front end of a widget whose kernel is the pipe. */
class PipedModel implements WidgetModel {
  readonly listeners = new Map<string, Set<(value: unknown) => void>>();

  constructor(private readonly name: string) {}

  get(): unknown {
    return null;
  }
  send(content: object): void {
    said.push({ name: this.name, up: content });
  }
  on(event: string, listener: (value: unknown) => void): void {
    this.listeners.set(event, (this.listeners.get(event) ?? new Set()).add(listener));
  }
  off(event: string, listener?: ((value: unknown) => void) | null): void {
    if (listener) this.listeners.get(event)?.delete(listener);
  }
  custom(content: unknown): void {
    for (const listener of this.listeners.get("msg:custom") ?? []) listener(content);
  }
}

interface Piped {
  client: AgentClient;
  outbox: Outbox;
  model: PipedModel | null;
}

const piped = new Map<string, Piped>();

function open(name: string, road: string, session_id: string): void {
  const outbox = new Outbox(null);
  let model: PipedModel | null = null;
  let connection: Connection;
  if (road === "comm") {
    model = new PipedModel(name);
    connection = new CommConnection(model, null);
  } else {
    const Socket = PipedSocket as unknown as typeof WebSocket;
    connection = new SocketConnection({ session_id, url: () => name, WebSocket: Socket });
  }
  piped.set(name, { client: new AgentClient(connection, { outbox }), outbox, model });
}

interface Order {
  name: string;
  open?: { road: string; session_id: string };
  advance?: number;
  socket?: "opened" | number;
  down?: unknown;
  send?: string;
  answer?: "allow" | "deny";
  stop?: true;
  tell?: true;
  close?: true;
}

function obey(order: Order): void {
  const { name } = order;
  if (order.open) open(name, order.open.road, order.open.session_id);
  if (order.advance) clock.advance(order.advance);
  const at = piped.get(name);
  if (at === undefined) return;
  if (order.socket === "opened") PipedSocket.latest.get(name)?.opened();
  else if (order.socket) PipedSocket.latest.get(name)?.closed(order.socket);
  if (order.down !== undefined) down(name, at, order.down);
  act(at.client, order);
  if (order.tell) said.push({ name, ...tell(at) });
  if (order.close) {
    at.client.dispose();
    piped.delete(name);
  }
}

function down(name: string, { model }: Piped, content: unknown): void {
  const socket = PipedSocket.latest.get(name);
  if (model !== null) model.custom(content);
  else if (socket?.readyState === 1) socket.onmessage?.({ data: JSON.stringify(content) });
}

function act(client: AgentClient, { send, answer, stop }: Order): void {
  if (send !== undefined) void client.send(send);
  const approval = client.view.peek().approvals[0];
  if (answer && approval) void client.answer(approval, answer);
  if (stop) client.stop();
}

function tell({ client, outbox }: Piped): object {
  const view: View = client.view.peek();
  return { view, status: client.status.peek(), waiting: outbox.waiting.length, fault: client.fault.peek() };
}

/** Let promises come to rest: the pipe's answer tells all that an order led to. */
const settled = () => new Promise<void>((resolve) => setImmediate(resolve));

for await (const line of createInterface({ input: process.stdin })) {
  for (const order of JSON.parse(line) as Order[]) {
    obey(order);
    await settled();
  }
  process.stdout.write(`${JSON.stringify(said)}\n`);
  said = [];
}
