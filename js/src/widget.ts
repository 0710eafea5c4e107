/** The inline panel: the same panel, on the comm of an anywidget model. */

import type { Connection } from "./connection";
import { CommConnection, type WidgetModel } from "./connections/comm";
import { jupyterPage, socketUrl } from "./connections/page";
import { PreferredSocket } from "./connections/preferred";
import { SocketConnection } from "./connections/socket";
import { mountPanel } from "./panel/mount";

interface RenderProps {
  model: WidgetModel;
  el: HTMLElement;
}

function render({ model, el }: RenderProps): () => void {
  const host = document.createElement("div");
  host.className = "jp-agent-widget";
  const setHeight = () => {
    host.style.height = String(model.get("height") || "480px");
  };
  setHeight();
  el.append(host);
  model.on("change:height", setHeight);
  const panel = mountPanel(host, connectionOf(model), { surface: "widget", suppressShortcuts: true });
  return () => {
    model.off("change:height", setHeight);
    panel.dispose();
    host.remove();
  };
}

/** The comm, unless the cell asked for a socket and the page has a server to open it to. */
function connectionOf(model: WidgetModel): Connection {
  const page = jupyterPage();
  const comm = new CommConnection(model, page);
  if (model.get("transport") !== "socket" || page === null) return comm;
  return new PreferredSocket(
    comm,
    page,
    (session_id) => new SocketConnection({ session_id, url: () => socketUrl(page, session_id), page }),
  );
}

export default { render };
