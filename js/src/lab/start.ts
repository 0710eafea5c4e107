/** Whether the panel is to be open when the page has loaded: the server's wish, or the address's. */
import { PageConfig } from "@jupyterlab/coreutils";

/** True for `c.AgentExtension.open_panel = True`, and for an address with `?agent=open`. */
export function opensAtStart(search: string = window.location.search): boolean {
  if (new URLSearchParams(search).get("agent") === "open") return true;
  try {
    const option = JSON.parse(PageConfig.getOption("jupyter_agent") || "{}") as { open_panel?: unknown };
    return option.open_panel === true;
  } catch {
    return false;
  }
}
