/** Follows one turn of a running server as a stock AI SDK chat does; prints the message that it made of it. */
import { DefaultChatTransport, readUIMessageStream } from "ai";

const [, , url, token] = process.argv;
const transport = new DefaultChatTransport({
  prepareReconnectToStreamRequest: () => ({ api: url, headers: { Authorization: `token ${token}` } }),
});
const stream = await transport.reconnectToStream({ chatId: "any" });
let last = null;
const errors = [];
if (stream !== null) {
  const onError = (error) => errors.push(String(error?.message ?? error));
  for await (const message of readUIMessageStream({ stream, onError })) {
    if (last === null) process.stderr.write("begun\n");
    last = message;
  }
}
process.stdout.write(JSON.stringify({ message: last, errors, count: last === null ? 0 : 1 }));
