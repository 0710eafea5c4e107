/** Mounts a scene of `example.ts`; see `harness.html`. */
import { ReplayConnection } from "../src/connections/replay";
import { mountPanel } from "../src/panel";
import type { Frame } from "../src/protocol.gen";
import { aSession, scene } from "./example";

const query = new URLSearchParams(location.search);
const host = document.getElementById("panel") as HTMLElement;
host.style.width = `${query.get("width") ?? "100%"}px`;

const connection = new ReplayConnection(scene(query.get("scene") ?? "rich"), {
  pace_ms: Number(query.get("pace") ?? 0),
});
const panel = mountPanel(host, connection, {
  surface: "side",
  library: {
    list: async () => ({
      sessions: [
        aSession({ updated_at: Date.now() - 60_000 }),
        aSession({ id: "ses_2", title: "A second one, with a rather long title that must be cut", status: "awaiting" }),
        aSession({ id: "ses_3", title: "", updated_at: Date.now() - 7_200_000, notebook_path: "work/other.ipynb" }),
      ],
      has_more: true,
    }),
    rename: async () => {},
    duplicate: async () => aSession({ id: "ses_4" }),
    archive: async () => {},
    unarchive: async () => {},
    remove: async () => {},
    bringBack: async () => {},
  },
  onNew: () => {},
  onSelect: () => {},
});
if (query.get("offline")) {
  setTimeout(() => {
    connection.status.value = { state: "disconnected", retry_at: Date.now() + 20_000 };
  });
}

Object.assign(window, { panel, connection, play: (frame: Frame) => connection.play(frame) });
