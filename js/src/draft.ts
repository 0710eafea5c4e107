/**
 * What stands in a composer and is not said yet.
 *
 * It rests in `sessionStorage`, one a session, so that it outlives its panel:
 * another notebook comes to the front, the page reloads.
 */
import { batch, effect, type ReadonlySignal, type Signal } from "@preact/signals";
import { type Store, sessionStore } from "./outbox";
import type { SentFile } from "./protocol.gen";

/** Longer texts are not written away at every key. */
const MOST_CHARS = 500_000;

export interface Draft {
  text: Signal<string>;
  /** What goes along. */
  files: Signal<readonly SentFile[]>;
}

/** Bring back what was half-typed in this session, and keep what is; returns what ends that. */
export function keepDraft(
  session_id: ReadonlySignal<string | null>,
  { text, files }: Draft,
  store: Store | null = sessionStore(),
): () => void {
  let key: string | null = null;
  return effect(() => {
    const now = { text: text.value, files: files.value };
    if (session_id.value === null || store === null) return;
    const known = key;
    key = `jupyter_agent:draft:${session_id.value}`;
    if (known === key) {
      save(store, key, now);
      return;
    }
    const kept = load(store, key);
    if (now.text !== "" || now.files.length > 0 || kept === null) return;
    batch(() => {
      text.value = kept.text;
      files.value = kept.files;
    });
  });
}

function load(store: Store, key: string): { text: string; files: SentFile[] } | null {
  try {
    const kept = JSON.parse(store.getItem(key) ?? "null") as { text?: unknown; files?: unknown } | null;
    if (typeof kept?.text !== "string" || !Array.isArray(kept.files)) return null;
    return { text: kept.text, files: kept.files as SentFile[] };
  } catch {
    return null;
  }
}

function save(store: Store, key: string, draft: { text: string; files: readonly SentFile[] }): void {
  try {
    if (draft.text === "" && draft.files.length === 0) store.removeItem(key);
    else if (draft.text.length <= MOST_CHARS) store.setItem(key, JSON.stringify(draft));
  } catch {
    // Full or forbidden: it lives as long as its panel.
  }
}
