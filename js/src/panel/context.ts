/** What every component of a panel may need. */
import type { Signal } from "@preact/signals";
import { createContext } from "preact";
import { useContext } from "preact/hooks";
import type { AgentClient } from "../client";
import type { SentFile, Session } from "../protocol.gen";
import type { SessionPage } from "../session-list";
import type { Undo } from "./undo";

export interface PanelOptions {
  /** Where the panel stands; a widget takes its height from its output. */
  surface?: "side" | "main" | "widget";
  /** The sessions there are. Without it there is no list. */
  library?: SessionLibrary;
  onNew?: () => void;
  onSelect?: (session_id: string) => void;
  /** Show a session where there is more room. */
  onOpenMain?: (session_id: string) => void;
  /** What an empty session suggests. */
  prompts?: readonly string[];
  /** Keep Jupyter's one-key shortcuts away from buttons inside a notebook. */
  suppressShortcuts?: boolean;
}

/** What happened to the list; after a `reset` it must be asked for again. */
export type SessionChange = { type: "changed"; session: Session } | { type: "removed"; id: string } | { type: "reset" };

/** The sessions beside this one. What fails throws a sentence for the user. */
export interface SessionLibrary {
  /** A page of those that aren't archived, the latest first; `query` is looked for in titles and messages. */
  list(query: string, before?: string): Promise<SessionPage>;
  rename(session_id: string, title: string): Promise<unknown>;
  duplicate(session_id: string): Promise<Session>;
  archive(session_id: string): Promise<unknown>;
  unarchive(session_id: string): Promise<unknown>;
  remove(session_id: string): Promise<unknown>;
  /** Undo `remove`; possible for a few minutes. */
  bringBack(session_id: string): Promise<unknown>;
  /** Be told how the list changes; returns what ends that. */
  watch?(told: (change: SessionChange) => void): () => void;
}

export interface PanelContext {
  client: AgentClient;
  options: PanelOptions;
  /** What stands in the composer, not yet said. */
  draft: Signal<string>;
  /** What goes along with it. */
  draftFiles: Signal<readonly SentFile[]>;
  /** What was just done and can be taken back. */
  undo: Signal<Undo | null>;
  /** A new task is being written down. */
  writingTask: Signal<boolean>;
  /** Where the keyboard goes when the element that had it is gone. */
  focusComposer: () => void;
}

export const Context = createContext<PanelContext | null>(null);

export function usePanel(): PanelContext {
  const context = useContext(Context);
  if (context === null) throw new Error("a panel component stands outside of a panel");
  return context;
}
