/** The panel, put into an element. The same in the side panel and in the widget. */
import { signal } from "@preact/signals";
import { render } from "preact";
import { AgentClient } from "../client";
import type { Connection } from "../connection";
import { keepDraft } from "../draft";
import type { Mode, SentFile } from "../protocol.gen";
import { Composer } from "./composer";
import { Context, type PanelContext, type PanelOptions, usePanel } from "./context";
import { Header } from "./header";
import { useKeyboardKeeper } from "./keyboard";
import { Queue } from "./queue";
import { Announcer, StatusLine } from "./status-line";
import { Tasks } from "./tasks";
import { Transcript } from "./transcript";
import { UndoLine } from "./undo";
import "./panel.css";

export interface PanelHandle {
  readonly client: AgentClient;
  focus(): void;
  toggleMode(): void;
  stop(): void;
  dispose(): void;
}

/** Show the session at the other end of `connection` in `el`. Disposing closes the connection. */
export function mountPanel(el: HTMLElement, connection: Connection, options: PanelOptions = {}): PanelHandle {
  const client = new AgentClient(connection, { client: options.surface ?? "side" });
  const input: { current: HTMLTextAreaElement | null } = { current: null };
  const focusComposer = () => input.current?.focus({ preventScroll: true });
  const draft = { text: signal(""), files: signal<readonly SentFile[]>([]) };
  const keptDraft = keepDraft(connection.session_id, draft);
  const context: PanelContext = {
    client,
    options,
    focusComposer,
    draft: draft.text,
    draftFiles: draft.files,
    undo: signal(null),
    writingTask: signal(false),
  };
  render(
    <Context.Provider value={context}>
      <Panel input={input} />
    </Context.Provider>,
    el,
  );
  return {
    client,
    focus: focusComposer,
    toggleMode: () => {
      const next: Mode = client.view.peek().session?.mode === "plan" ? "build" : "plan";
      void client.setMode(next);
    },
    stop: () => client.stop(),
    dispose: () => {
      keptDraft();
      render(null, el);
      client.dispose();
    },
  };
}

function Panel({ input }: { input: { current: HTMLTextAreaElement | null } }) {
  const { client, options, focusComposer } = usePanel();
  const root = useKeyboardKeeper(focusComposer);
  const suppress = options.suppressShortcuts ? { "data-lm-suppress-shortcuts": "true" } : {};
  return (
    <section
      ref={root}
      class="jp-agent"
      aria-label="Agent"
      data-surface={options.surface ?? "side"}
      data-session={client.connection.session_id.value ?? undefined}
      data-status={client.status.value}
      {...suppress}
    >
      <Header />
      <Transcript />
      <footer class="jp-agent-footer">
        <Tasks />
        <Queue />
        <UndoLine />
        <StatusLine />
        <Composer input={input} />
      </footer>
      <Announcer />
    </section>
  );
}
