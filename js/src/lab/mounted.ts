/** A session, shown in an element of JupyterLab. */
import { SocketConnection } from "../connections/socket";
import { mountPanel, type PanelHandle, type PanelOptions } from "../panel";
import type { AgentApi } from "./api";

export function mountSession(host: HTMLElement, api: AgentApi, session_id: string, options: PanelOptions): PanelHandle {
  const connection = new SocketConnection({ session_id, url: () => api.socketUrl(session_id), page: api.page });
  return mountPanel(host, connection, { library: api.library, ...options });
}
