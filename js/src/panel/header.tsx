/** Title, the list of sessions, a new one, and what can be done with this one. */
import { useComputed } from "@preact/signals";
import { useRef, useState } from "preact/hooks";
import { rename, rewind } from "../orders";
import { usePanel } from "./context";
import { Icon } from "./icons";
import { type Choice, Menu } from "./menu";
import { SessionList, TitleBox, UNTITLED } from "./sessions";
import { offerBack } from "./undo";

export function Header() {
  const { client, options } = usePanel();
  const title = useComputed(() => client.view.value.session?.title ?? "").value;
  const [open, setOpen] = useState(false);
  const [renaming, setRenaming] = useState(false);
  const list = useRef<HTMLButtonElement>(null);
  const close = (back: boolean) => {
    setOpen(false);
    if (back) list.current?.focus();
  };
  return (
    <header class="jp-agent-header">
      {renaming ? (
        <TitleBox
          title={title}
          onKeep={(text) => {
            setRenaming(false);
            if (text && text !== title) void rename(client, text);
          }}
        />
      ) : (
        // biome-ignore lint/a11y/noStaticElementInteractions: a shortcut; the menu has it for the keyboard
        <span class="jp-agent-title" title={title} onDblClick={() => setRenaming(true)}>
          {title || UNTITLED}
        </span>
      )}
      <SessionMenu onRename={() => setRenaming(true)} />
      {options.library ? (
        <button
          ref={list}
          type="button"
          class="jp-agent-tool-button"
          aria-label="Sessions"
          title="Sessions"
          aria-expanded={open}
          onClick={() => setOpen(!open)}
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
      {open && options.library ? <SessionList library={options.library} onClose={close} /> : null}
    </header>
  );
}

function SessionMenu({ onRename }: { onRename: () => void }) {
  const context = usePanel();
  const { client } = context;
  const choices = (): Choice[] => {
    const { messages } = client.view.peek();
    const clear = () => {
      offerBack(context, "Cleared.");
      void rewind(client, null);
    };
    return [
      { name: "Rename", act: onRename },
      { name: "Add a task", act: () => (context.writingTask.value = true) },
      ...(messages.length > 0 ? [{ name: "Clear the conversation", act: clear }] : []),
    ];
  };
  if (client.view.value.session === null) return null;
  return <Menu name="This session" choices={choices} keepFocus />;
}
