/**
 * Shows a turn of a running server on a page with a stock `useChat`; prints the message that stands there at the end.
 *
 * The page may have kept messages from before, as one does that was reloaded.
 */
import { JSDOM } from "jsdom";

const { window } = new JSDOM("<main></main>", { url: "http://127.0.0.1/" });
Object.assign(globalThis, { window, document: window.document });
// React looks for a page when it is loaded.
const { createElement, useEffect, useState } = await import("react");
const { createRoot } = await import("react-dom/client");
const { useChat } = await import("@ai-sdk/react");
const { DefaultChatTransport } = await import("ai");

const [, , url, token, kept = "[]"] = process.argv;
const end = Promise.withResolvers();

class Transport extends DefaultChatTransport {
  async reconnectToStream(options) {
    const stream = await super.reconnectToStream(options);
    if (stream === null) end.resolve({ messages: [], errors: [] });
    return stream;
  }
}

const transport = new Transport({
  prepareReconnectToStreamRequest: () => ({ api: url, headers: { Authorization: `token ${token}` } }),
});

function Chat() {
  const [over, setOver] = useState(false);
  const onFinish = () => setOver(true);
  const chat = useChat({ id: "any", transport, messages: JSON.parse(kept), resume: true, onFinish });
  const { messages, status, error } = chat;
  useEffect(() => {
    if (status === "streaming") process.stderr.write("begun\n");
  }, [status]);
  useEffect(() => {
    if (over || status === "error") end.resolve({ messages, errors: error ? [error.message] : [] });
  }, [over, messages, status, error]);
  return null;
}

createRoot(document.querySelector("main")).render(createElement(Chat));
const { messages, errors } = await end.promise;
process.stdout.write(JSON.stringify({ message: messages.at(-1) ?? null, errors, count: messages.length }), () =>
  process.exit(0),
);
