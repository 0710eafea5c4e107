/** What the server says to the page that it serves, before anything is asked. */
import { PageConfig } from "@jupyterlab/coreutils";

interface Told {
  open_panel?: unknown;
  root?: unknown;
}

/** Whether the panel is to be open when the page has loaded: for `c.AgentExtension.open_panel = True`, and `?agent=open`. */
export function opensAtStart(search: string = window.location.search): boolean {
  return new URLSearchParams(search).get("agent") === "open" || told().open_panel === true;
}

/** The folder that the server's notebooks are below; empty where it doesn't say. */
export function serverRoot(): string {
  const { root } = told();
  return typeof root === "string" ? root : "";
}

/** The notebook that the page was opened on, if it was: it may take its time to come. */
export function openedNotebook(): string | null {
  const path = PageConfig.getOption("treePath");
  return path.endsWith(".ipynb") ? path : null;
}

function told(): Told {
  try {
    return (JSON.parse(PageConfig.getOption("jupyter_agent") || "{}") ?? {}) as Told;
  } catch {
    return {};
  }
}
