/** Who answers. The demo model never passes for Claude. */
import { useComputed } from "@preact/signals";
import { usePanel } from "./context";

export function ModelName() {
  const { client } = usePanel();
  const model = useComputed(() => client.view.value.session?.model ?? "").value;
  const demo = client.welcome.value?.features.includes("model:demo") ?? false;
  if (demo) {
    return (
      <span class="jp-agent-badge" title="A scripted stand-in that runs without a key. It is not Claude.">
        Demo model
      </span>
    );
  }
  return (
    <span class="jp-agent-model" title={model}>
      {model}
    </span>
  );
}
