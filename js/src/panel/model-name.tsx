/** Who answers, and who could. The demo model never passes for Claude. */
import { useComputed } from "@preact/signals";
import { useState } from "preact/hooks";
import { fetchModels, type JupyterPage, type ModelInfo } from "../connections/page";
import { setModel } from "../orders";
import { usePanel } from "./context";
import { type Choice, Menu } from "./menu";

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
  const page = client.connection.page;
  if (page && model) return <ModelPicker model={model} page={page} />;
  return (
    <span class="jp-agent-model" title={model}>
      {model}
    </span>
  );
}

function ModelPicker({ model, page }: { model: string; page: JupyterPage }) {
  const { client } = usePanel();
  const [models, setModels] = useState<readonly ModelInfo[] | null>(null);
  const load = () => {
    if (models !== null) return;
    fetchModels(page).then(setModels, (error: Error) => {
      client.fault.value = { code: "models", message: error.message };
      setModels([]);
    });
  };
  const known = models?.filter(({ id, deprecated }) => !deprecated || id === model) ?? [];
  const others = known.some(({ id }) => id === model) ? known : [{ id: model, display_name: model }, ...known];
  const choices = others.map(
    ({ id, display_name }): Choice => ({
      name: display_name || id,
      checked: id === model,
      act: () => {
        if (id !== model) void setModel(client, id);
      },
    }),
  );
  return (
    <span class="jp-agent-model">
      <Menu name={`Model: ${model}`} choices={choices} class="jp-agent-model-button" onOpen={load}>
        {model}
      </Menu>
    </span>
  );
}
