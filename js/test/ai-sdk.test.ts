/** The AI SDK reads our recorded conversations, mapped to its chunks, to the messages that they are. */
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { DefaultChatTransport, readUIMessageStream, type UIMessage, type UIMessageChunk, validateUIMessages } from "ai";
import { describe, expect, test } from "vitest";
import type { Message, Part } from "../src/protocol.gen";

const GOLDEN = fileURLToPath(new URL("../../tests/golden/", import.meta.url));
const names = readdirSync(`${GOLDEN}/ui`).map((file) => file.replace(/\.jsonl$/, ""));

function lines(path: string): unknown[] {
  const text = readFileSync(path, "utf8");
  return text.split("\n").flatMap((line) => (line.trim() === "" ? [] : [JSON.parse(line)]));
}

function viewOf(name: string): { messages: Message[] } {
  const entries = lines(`${GOLDEN}/${name}.jsonl`) as { view?: { messages: Message[] } }[];
  const view = entries.at(-1)?.view;
  if (view === undefined) throw new Error(`${name} holds no view`);
  return view;
}

/** A server that has these chunks to say; what the SDK does with them is its own. */
function transportOf(chunks: UIMessageChunk[]): DefaultChatTransport<UIMessage> {
  const body = [...chunks.map((chunk) => JSON.stringify(chunk)), "[DONE]"].map((data) => `data: ${data}\n\n`).join("");
  const headers = { "content-type": "text/event-stream", "x-vercel-ai-ui-message-stream": "v1" };
  return new DefaultChatTransport({ api: "http://nowhere/api", fetch: async () => new Response(body, { headers }) });
}

async function readAll(chunks: UIMessageChunk[]): Promise<{ message: UIMessage; errors: string[] }> {
  const stream = await transportOf(chunks).reconnectToStream({ chatId: "ses_1" });
  if (stream === null) throw new Error("nothing to read");
  const errors: string[] = [];
  let last: UIMessage | undefined;
  const onError = (error: unknown) => errors.push(error instanceof Error ? error.message : String(error));
  for await (const message of readUIMessageStream({ stream, onError })) last = message;
  if (last === undefined) throw new Error("no message came");
  return { message: last, errors };
}

/** What both sides know of a part. */
function ours(part: Part): unknown {
  switch (part.type) {
    case "text":
    case "reasoning":
      return { type: part.type, text: part.text, state: part.state };
    case "tool":
      return {
        type: `tool-${part.name}`,
        id: part.tool_call_id,
        state: part.state,
        input: part.input,
        output: part.output ?? undefined,
        error: part.state === "output-error" ? part.error : undefined,
        approval: part.approval_id ?? undefined,
      };
    default:
      return { type: part.type };
  }
}

function theirs(part: UIMessage["parts"][number]): unknown {
  if (part.type === "text" || part.type === "reasoning") {
    return { type: part.type, text: part.text, state: part.state };
  }
  if ("toolCallId" in part) {
    const { type, toolCallId: id, state, input } = part;
    // biome-ignore lint/suspicious/noExplicitAny: the SDK's union has a shape for each state
    const { output, errorText, approval } = part as any;
    const failed = state === "output-error";
    return {
      ...{ type, id, state, input, output: failed ? undefined : output },
      ...{ error: failed ? errorText : undefined, approval: approval?.id },
    };
  }
  return { type: part.type };
}

function withoutOutputsOfFailures(part: Part): Part {
  // The SDK has one place for a result: an error has a text there, and nothing else.
  return part.type === "tool" && part.state !== "output-available" ? { ...part, output: null } : part;
}

describe("what the AI SDK makes of recorded conversations", () => {
  test.each(names)("%s", async (name) => {
    const turns = lines(`${GOLDEN}/ui/${name}.jsonl`) as UIMessageChunk[][];
    const answers = viewOf(name).messages.filter((message) => message.role === "assistant");
    expect(turns).toHaveLength(answers.length);
    for (const [n, chunks] of turns.entries()) {
      const { message, errors } = await readAll(chunks);
      const answer = answers[n];
      expect(message.id).toBe(answer?.id);
      expect(message.role).toBe("assistant");
      const kept = answer?.parts.filter((part) => !("superseded" in part && part.superseded)) ?? [];
      const read = message.parts.filter((part) => part.type !== "step-start");
      expect(read.map(theirs)).toEqual(kept.map(withoutOutputsOfFailures).map(ours));
      expect(errors).toEqual(chunks.flatMap((chunk) => (chunk.type === "error" ? [chunk.errorText] : [])));
      if (message.parts.length > 0) await validateUIMessages({ messages: [message] });
    }
  });
});
