/** What every component of a panel may need. */
import type { Signal } from "@preact/signals";
import { createContext } from "preact";
import { useContext } from "preact/hooks";
import type { AgentClient } from "../client";
import type { Session } from "../protocol.gen";

export interface PanelOptions {
  /** Where the panel stands; a widget takes its height from its output. */
  surface?: "side" | "widget";
  /** The sessions to choose from, newest first. Without it there is no list. */
  sessions?: () => Promise<readonly Session[]>;
  onNew?: () => void;
  onSelect?: (session_id: string) => void;
  /** What an empty session suggests. */
  prompts?: readonly string[];
  /** Keep Jupyter's one-key shortcuts away from buttons inside a notebook. */
  suppressShortcuts?: boolean;
}

export interface PanelContext {
  client: AgentClient;
  options: PanelOptions;
  /** What stands in the composer, not yet said. */
  draft: Signal<string>;
  /** Where the keyboard goes when the element that had it is gone. */
  focusComposer: () => void;
}

export const Context = createContext<PanelContext | null>(null);

export function usePanel(): PanelContext {
  const context = useContext(Context);
  if (context === null) throw new Error("a panel component stands outside of a panel");
  return context;
}
