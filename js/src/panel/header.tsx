/** Title, the list of sessions, a new one, and what can be done with this one. */
import { useComputed } from "@preact/signals";
import { useRef, useState } from "preact/hooks";
import { rename, rewind } from "../orders";
import { usePanel } from "./context";
import { DetailsBox } from "./details";
import { Icon } from "./icons";
import { type Choice, Menu } from "./menu";
import { OPEN_MAIN, SessionList, TitleBox, UNTITLED } from "./sessions";
import { offerBack } from "./undo";

export function Header() {
  const { client, options } = usePanel();
  const title = useComputed(() => client.view.value.session?.title ?? "").value;
  const [open, setOpen] = useState<"sessions" | "details" | null>(null);
  const [renaming, setRenaming] = useState(false);
  const list = useRef<HTMLButtonElement>(null);
  const header = useRef<HTMLElement>(null);
  const close = (back: boolean) => {
    setOpen(null);
    if (!back) return;
    if (open === "sessions") list.current?.focus();
    else menuButton(header.current)?.focus();
  };
  return (
    <header ref={header} class="jp-agent-header">
      {renaming ? (
        <TitleBox
          title={title}
          onKeep={(text, back) => {
            setRenaming(false);
            if (text && text !== title) void rename(client, text);
            if (back) menuButton(header.current)?.focus();
          }}
        />
      ) : (
        // biome-ignore lint/a11y/noStaticElementInteractions: a shortcut; the menu has it for the keyboard
        <span class="jp-agent-title" title={title} onDblClick={() => setRenaming(true)}>
          {title || UNTITLED}
        </span>
      )}
      <SessionMenu onRename={() => setRenaming(true)} onDetails={() => setOpen("details")} />
      {options.library ? (
        <button
          ref={list}
          type="button"
          class="jp-agent-tool-button"
          aria-label="Sessions"
          title="Sessions"
          aria-expanded={open === "sessions"}
          aria-haspopup="dialog"
          onClick={() => setOpen(open === "sessions" ? null : "sessions")}
        >
          <Icon name="list" />
        </button>
      ) : null}
      {options.onNew ? (
        <button
          type="button"
          class="jp-agent-tool-button"
          aria-label="New session"
          title="New session"
          onClick={() => options.onNew?.()}
        >
          <Icon name="plus" />
        </button>
      ) : null}
      {open === "sessions" && options.library ? <SessionList library={options.library} onClose={close} /> : null}
      {open === "details" ? <DetailsBox onClose={close} /> : null}
    </header>
  );
}

const MENU = "This session";

function menuButton(header: HTMLElement | null): HTMLElement | null {
  return header?.querySelector<HTMLElement>(`[aria-label="${MENU}"]`) ?? null;
}

interface SessionMenuProps {
  onRename: () => void;
  onDetails: () => void;
}

function SessionMenu({ onRename, onDetails }: SessionMenuProps) {
  const context = usePanel();
  const { client, options } = context;
  const choices = (): Choice[] => {
    const { messages, session } = client.view.peek();
    const clear = () => {
      context.focusComposer();
      offerBack(context, "Cleared.");
      void rewind(client, null);
    };
    const openMain = options.onOpenMain;
    return [
      { name: "Details", act: onDetails },
      { name: "Rename", act: onRename },
      { name: "Add a task", act: () => (context.writingTask.value = true) },
      ...(openMain && session ? [{ name: OPEN_MAIN, act: () => openMain(session.id) }] : []),
      ...(messages.length > 0 ? [{ name: "Clear the conversation", act: clear }] : []),
    ];
  };
  if (client.view.value.session === null) return null;
  return <Menu name={MENU} choices={choices} keepFocus />;
}
