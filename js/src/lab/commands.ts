/** The commands of the category "Agent", and where they can be found. */
import type { JupyterFrontEnd } from "@jupyterlab/application";
import type { ICommandPalette } from "@jupyterlab/apputils";
import type { IMainMenu } from "@jupyterlab/mainmenu";
import { Menu } from "@lumino/widgets";
import { agentIcon } from "./icon";
import type { SessionTabs } from "./main-area";
import type { AgentSidePanel } from "./side-panel";

const CATEGORY = "Agent";

export const CommandIds = {
  open: "jupyter-agent:open",
  newSession: "jupyter-agent:new-session",
  focusComposer: "jupyter-agent:focus-composer",
  toggleMode: "jupyter-agent:toggle-mode",
  stop: "jupyter-agent:stop",
  openMain: "jupyter-agent:open-in-main-area",
} as const;

/** `tabs` is null where there is no main area to open a session in. They act on the session that is looked at. */
export function addCommands(app: JupyterFrontEnd, panel: AgentSidePanel, tabs: SessionTabs | null): void {
  const open = () => app.shell.activateById(panel.id);
  const handle = () => tabs?.current?.handle ?? panel.handle;
  app.commands.addCommand(CommandIds.open, {
    label: "Open Agent",
    caption: "Open the Agent's side panel",
    icon: agentIcon,
    execute: open,
  });
  app.commands.addCommand(CommandIds.newSession, {
    label: "New Agent Session",
    caption: "Start a new session for the notebook in front",
    execute: () => {
      open();
      return panel.newSession();
    },
  });
  app.commands.addCommand(CommandIds.focusComposer, {
    label: "Focus the Message Box",
    caption: "Write to the Agent",
    execute: () => {
      if (!tabs?.current) open();
      handle()?.focus();
    },
  });
  app.commands.addCommand(CommandIds.toggleMode, {
    label: "Switch Between Plan and Build",
    caption: "Plan looks only; Build acts, and asks first",
    execute: () => handle()?.toggleMode(),
  });
  app.commands.addCommand(CommandIds.stop, {
    label: "Stop the Agent",
    caption: "Stop the running turn",
    execute: () => handle()?.stop(),
  });
  if (tabs === null) return;
  app.commands.addCommand(CommandIds.openMain, {
    label: "Open the Agent's Session in the Main Area",
    caption: "Show the side panel's session in a tab",
    icon: agentIcon,
    isEnabled: ({ session_id }) => typeof session_id === "string" || panel.session_id !== null,
    execute: ({ session_id, restoring }) => {
      const wanted = typeof session_id === "string" ? session_id : panel.session_id;
      return wanted === null ? undefined : tabs.open(wanted, restoring === true);
    },
  });
}

export function addEntries(app: JupyterFrontEnd, palette: ICommandPalette | null, menus: IMainMenu | null): void {
  const all = Object.values(CommandIds).filter((command) => app.commands.hasCommand(command));
  for (const command of all) palette?.addItem({ command, category: CATEGORY });
  if (menus === null) return;
  const submenu = new Menu({ commands: app.commands });
  submenu.title.label = CATEGORY;
  for (const command of all) submenu.addItem({ command });
  menus.viewMenu.addGroup([{ type: "submenu", submenu }], 20);
}
