/** What can be done with one message. */
import { accepted, fork, lastBefore, rewind, tryAgain } from "../orders";
import type { FilePart, Message, Part, TextPart } from "../protocol.gen";
import { type PanelContext, usePanel } from "./context";
import { again, joined } from "./files";
import { type Choice, Menu } from "./menu";
import { offerBack } from "./undo";

const WAITED = { code: "rewound", message: "It waited behind what left the conversation." };

export function MessageMenu({ message }: { message: Message }) {
  const context = usePanel();
  return (
    <span class="jp-agent-message-menu">
      <Menu name="Message actions" choices={() => choicesFor(context, message)} />
    </span>
  );
}

function choicesFor(context: PanelContext, message: Message): Choice[] {
  const { client, options } = context;
  const { messages, page } = client.view.peek();
  const text = textOf(message);
  const choices: Choice[] = [];
  if (text) choices.push({ name: "Copy", act: () => void copy(context, text) });
  const at = messages.findIndex((candidate) => candidate.id === message.id);
  if (at < 0) return choices;
  const before = lastBefore(messages, message, page.has_more);
  const steered = message.role === "user" && messages[at - 1]?.turn_id === message.turn_id && message.turn_id !== null;
  if (message.role === "user" && !steered && before !== undefined && isPlain(message)) {
    choices.push({ name: "Edit and resend", act: () => editAndResend(context, before, message) });
  }
  if (message.role === "assistant") choices.push({ name: "Try again", act: () => answerAgain(context, message) });
  const within = steered || (message.role === "assistant" && messages[at + 1]?.turn_id === message.turn_id);
  if (within) return choices; // a branch ends at a whole answer, or at what asks for one
  if (at < messages.length - 1) choices.push({ name: "Rewind to here", act: () => rewindTo(context, message.id) });
  const select = options.onSelect;
  if (select) {
    const open = async () => {
      const id = await fork(client, message.id);
      if (id !== null) select(id);
    };
    choices.push({ name: "Fork from here", act: () => void open() });
  }
  return choices;
}

function textOf(message: Message): string {
  const said = message.parts.filter((part): part is TextPart => part.type === "text" && !part.superseded);
  return said.map((part) => part.text).join("\n\n");
}

/** All of what was said stands here, or is named here. */
function isPlain(message: Message): boolean {
  const isHere = (part: Part) => part.type === "file" || (part.type === "text" && !part.truncated);
  return !message.truncated && message.parts.every(isHere);
}

async function copy({ client }: PanelContext, text: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(text); // absent where the page is not secure, which throws as well
  } catch {
    client.fault.value = { code: "clipboard", message: "The browser did not allow copying." };
  }
}

function rewindTo(context: PanelContext, message_id: string): void {
  offerBack(context, "Rewound.");
  void rewind(context.client, message_id);
}

function answerAgain(context: PanelContext, message: Message): void {
  offerBack(context, "Answering again.");
  void tryAgain(context.client, message.id);
}

function editAndResend(context: PanelContext, before: string | null, message: Message): void {
  const { client, draft, draftFiles, focusComposer } = context;
  const text = textOf(message);
  offerBack(context, "Rewound to edit it.");
  const { queue } = client.view.peek();
  void rewind(client, before).then((ack) => {
    // To begin anew empties the queue, which nobody asked for here.
    if (before === null && accepted(ack)) client.keep(queue, WAITED);
  });
  draft.value = draft.peek().trim() ? `${text}\n\n${draft.peek()}` : text;
  const files = message.parts.filter((part): part is FilePart => part.type === "file");
  draftFiles.value = joined(files.map(again), draftFiles.peek());
  focusComposer();
}
