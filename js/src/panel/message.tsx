/** One entry of the transcript and its parts. */
import type { ComponentChild } from "preact";
import { useState } from "preact/hooks";
import type { SentMessage } from "../client";
import type { Approval, Message, NoticePart, Part, ReasoningPart, TextPart, ToolPart } from "../protocol.gen";
import { ApprovalCard } from "./approval-card";
import { Unsupported } from "./display";
import { FileChip } from "./files";
import { Icon } from "./icons";
import { Markdown } from "./markdown-view";
import { memo } from "./memo";
import { MessageMenu } from "./message-menu";
import { ToolCard } from "./tool-card";
import { Held } from "./unsent";
import { UserText } from "./user-text";
import { isCut, useWhole } from "./whole";

interface MessageProps {
  message: Message;
  approvals: readonly Approval[];
  /** How it was cut off, where nothing else says so. */
  cut: string | null;
}

export const MessageView = memo(function MessageView({ message, approvals, cut }: MessageProps) {
  const author = message.role === "user" ? "You" : "Agent";
  return (
    <article
      class="jp-agent-message"
      data-message-id={message.id}
      data-role={message.role}
      data-message-status={message.status}
      aria-label={author}
    >
      <MessageMenu message={message} />
      {message.parts.map((part) => (
        <PartView
          key={part.id}
          part={part}
          message_id={message.id}
          role={message.role}
          approval={approvals.find((approval) => approval.part_id === part.id) ?? null}
        />
      ))}
      {message.truncated && !message.parts.some(isCut) ? (
        <div class="jp-agent-muted">This message is shortened.</div>
      ) : null}
      {cut !== null ? <div class="jp-agent-muted">{cut}</div> : null}
    </article>
  );
});

/** What the user said, before the server has it. */
export function SentMessageView({ message }: { message: SentMessage }) {
  const { id, text, files, held } = message;
  return (
    <article
      class="jp-agent-message"
      data-message-id={id}
      data-role="user"
      data-message-status="sending"
      aria-label="You"
    >
      <div data-part="text" class="jp-agent-part">
        <UserText text={text} />
      </div>
      {files.map((file) => (
        <div key={file.sha256} data-part="file" class="jp-agent-part">
          <FileChip file={file} />
        </div>
      ))}
      {held ? <Held id={id} why={held} /> : null}
    </article>
  );
}

interface PartProps {
  part: Part;
  message_id: string;
  role: Message["role"];
  approval: Approval | null;
}

const PartView = memo(function PartView({ part: told, message_id, role, approval }: PartProps) {
  const { part, more } = useWhole(told, message_id);
  const superseded = "superseded" in part && part.superseded;
  const tool = part.type === "tool" ? { "data-tool": part.name, "data-state": part.state } : {};
  return (
    <div
      class="jp-agent-part"
      data-part={part.type}
      data-part-id={part.id}
      data-superseded={superseded || undefined}
      {...tool}
    >
      <PartBody part={part} role={role} more={more} />
      {approval !== null && part.type === "tool" ? <ApprovalCard approval={approval} part={part} /> : null}
    </div>
  );
});

interface BodyProps {
  part: Part;
  role: Message["role"];
  more: ComponentChild;
}

function PartBody({ part, role, more }: BodyProps) {
  switch (part.type) {
    case "text":
      if (role === "user") return <UserText text={part.text} more={more} />;
      return (
        <>
          <Said part={part} />
          {more}
        </>
      );
    case "reasoning":
      return <Reasoning part={part} more={more} />;
    case "tool":
      return <ToolCard part={part as ToolPart} more={more} />;
    case "file":
      return <FileChip file={part} />;
    case "notice":
      return <NoticeLine part={part} />;
    default:
      return <Unsupported type={(part as { type: string }).type} />;
  }
}

function Said({ part }: { part: TextPart }) {
  return <Markdown text={part.text} streaming={part.state === "streaming"} />;
}

function Reasoning({ part, more }: { part: ReasoningPart; more: ComponentChild }) {
  const [open, setOpen] = useState(false);
  const thinking = part.state === "streaming";
  return (
    <div class="jp-agent-card">
      <button type="button" class="jp-agent-line" aria-expanded={open} onClick={() => setOpen(!open)}>
        <span class="jp-agent-mark" data-mark={thinking ? "busy" : "thought"} aria-hidden="true" />
        <span class="jp-agent-line-title">{thinking ? "Thinking" : "Thought"}</span>
        <span class="jp-agent-line-summary">{thinking ? lastLine(part.text) : firstLine(part.text)}</span>
        <Icon name="chevron" />
      </button>
      {open ? (
        <div class="jp-agent-body jp-agent-thoughts">
          <Markdown text={part.text} streaming={thinking} />
          {more}
        </div>
      ) : null}
    </div>
  );
}

function firstLine(text: string): string {
  return plain(text.split("\n").find((line) => line.trim() !== "") ?? "");
}

function lastLine(text: string): string {
  return plain(text.split("\n").findLast((line) => line.trim() !== "") ?? "").slice(-160);
}

function plain(line: string): string {
  return line.replace(/[*_`#>]/g, "").trim();
}

function NoticeLine({ part }: { part: NoticePart }) {
  return (
    <div class="jp-agent-notice" data-level={part.level}>
      {part.text}
    </div>
  );
}
