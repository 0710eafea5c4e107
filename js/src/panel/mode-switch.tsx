/** Plan looks; Build acts. */
import { useComputed } from "@preact/signals";
import { useEffect, useState } from "preact/hooks";
import type { Mode } from "../protocol.gen";
import { usePanel } from "./context";

const MODES: readonly { mode: Mode; name: string; title: string }[] = [
  { mode: "plan", name: "Plan", title: "Looks at the notebook and proposes; changes nothing" },
  { mode: "build", name: "Build", title: "Changes and runs cells, asking first" },
];

export function ModeSwitch() {
  const { client } = usePanel();
  const mode = useComputed(() => client.view.value.session?.mode).value;
  // Random, because side panel and widget are bundles of their own in one document: counters would meet.
  const [group] = useState(() => `jp-agent-mode-${Math.random().toString(36).slice(2)}`);
  const [wanted, setWanted] = useState<Mode | null>(null);
  useEffect(() => setWanted(null), [mode]);
  const choose = (next: Mode) => {
    setWanted(next);
    // What was accepted stays shown until its event comes: the answer may be here first, by a quicker road.
    void client.setMode(next).then((ack) => {
      if ((ack.original ?? ack.status) === "rejected") setWanted(null);
    });
  };
  return (
    <div class="jp-agent-mode" role="radiogroup" aria-label="Mode">
      {MODES.map(({ mode: value, name, title }) => (
        <label key={value} title={title}>
          <input
            type="radio"
            name={group}
            value={value}
            checked={(wanted ?? mode) === value}
            disabled={mode === undefined}
            onChange={() => choose(value)}
          />
          <span>{name}</span>
        </label>
      ))}
    </div>
  );
}
