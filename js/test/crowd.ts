/**
 * Many real clients over real sockets, and when each of them tried, got through and was up to date.
 *
 *     node crowd.mjs '{"base": "http://…/", "token": "…", "sessions": ["ses_…", …]}'
 *
 * One client a session named; a line of JSON for each thing that happens, until standard input ends.
 * `tests/bench/returns.py` is the other end.
 */
import { effect } from "@preact/signals";
import { AgentClient } from "../src/client";
import { socketUrl } from "../src/connections/page";
import { SocketConnection } from "../src/connections/socket";
import { Outbox } from "../src/outbox";

const { base, token, sessions } = JSON.parse(process.argv[2] ?? "{}") as {
  base: string;
  token: string;
  sessions: string[];
};

function tell(client: number, what: string): void {
  process.stdout.write(`${JSON.stringify({ client, what, at: Date.now() })}\n`);
}

function open(session_id: string, number: number): AgentClient {
  const page = { base_url: base, token };
  const url = () => {
    tell(number, "tries"); // asked before each try
    return socketUrl(page, session_id);
  };
  const connection = new SocketConnection({ session_id, url });
  const client = new AgentClient(connection, { outbox: new Outbox(null), client: "crowd" });
  effect(() => tell(number, connection.status.value.state));
  effect(() => tell(number, client.status.value));
  return client;
}

const clients = sessions.map(open);
process.stdin.on("end", () => {
  for (const client of clients) client.dispose();
  process.exit(0);
});
process.stdin.resume();
