/** A part that came cut: its preview, and a way to all of it. */
import type { ComponentChild } from "preact";
import { useState } from "preact/hooks";
import type { Part } from "../protocol.gen";
import { usePanel } from "./context";

type Fetched = { state: "asked" } | { state: "here"; part: Part } | { state: "failed"; why: string };

/** Whether only a preview of this part came. */
export function isCut(part: Part): boolean {
  return "truncated" in part && part.truncated;
}

/** The part to show, and what stands below it: nothing once it is whole. */
export function useWhole(told: Part, message_id: string): { part: Part; more: ComponentChild } {
  const { client } = usePanel();
  const [answer, setAnswer] = useState<{ of: Part; fetched: Fetched } | null>(null);
  if (!isCut(told)) return { part: told, more: null };
  const fetched = answer?.of === told ? answer.fetched : null; // of what it was before says nothing of it now
  if (fetched?.state === "here") return { part: fetched.part, more: null };
  if (!client.canFetch) return { part: told, more: <Elsewhere /> };
  const ask = async () => {
    const set = (next: Fetched) => setAnswer({ of: told, fetched: next });
    set({ state: "asked" });
    try {
      set({ state: "here", part: await client.wholePart(message_id, told.id) });
    } catch (error) {
      set({ state: "failed", why: (error as Error).message });
    }
  };
  return { part: told, more: <ShowAll fetched={fetched} ask={() => void ask()} /> };
}

function ShowAll({ fetched, ask }: { fetched: Fetched | null; ask: () => void }) {
  const asked = fetched?.state === "asked";
  return (
    <div class="jp-agent-show-all">
      <button type="button" class="jp-agent-button" disabled={asked} onClick={ask}>
        {asked ? "Loading…" : "Show all"}
      </button>
      {fetched?.state === "failed" ? (
        <span class="jp-agent-muted" role="alert">
          {fetched.why}
        </span>
      ) : null}
    </div>
  );
}

function Elsewhere() {
  return (
    <div class="jp-agent-show-all jp-agent-muted">
      This is shortened. JupyterLab's Agent side panel can show all of it.
    </div>
  );
}
