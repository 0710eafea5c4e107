/** A session in which nothing was said yet. */
import { usePanel } from "./context";

const PROMPTS = [
  "What does this notebook do?",
  "Profile my DataFrame",
  "Plot a column",
  "Explain and fix the failing cell",
];

export function Empty() {
  const { client, options } = usePanel();
  return (
    <div class="jp-agent-empty">
      <p>Ask about your notebook. The agent can read it, change cells and run them; it asks before it does.</p>
      <ul>
        {(options.prompts ?? PROMPTS).map((prompt) => (
          <li key={prompt}>
            <button type="button" class="jp-agent-prompt" onClick={() => void client.send(prompt)}>
              {prompt}
            </button>
          </li>
        ))}
      </ul>
    </div>
  );
}
