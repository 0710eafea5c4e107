/**
 * The entry for JupyterLab and Notebook 7: puts the side panel together and lets
 * the server reach the notebooks that are open in this page.
 */
import { ILabShell, ILayoutRestorer, type JupyterFrontEnd, type JupyterFrontEndPlugin } from "@jupyterlab/application";
import { ICommandPalette, ToolbarButton } from "@jupyterlab/apputils";
import { IMainMenu } from "@jupyterlab/mainmenu";
import { INotebookTracker, type NotebookPanel } from "@jupyterlab/notebook";
import { IStateDB } from "@jupyterlab/statedb";
import { DisposableDelegate } from "@lumino/disposable";
import { startBridge } from "./bridge";
import { AgentApi } from "./lab/api";
import { SessionChoice } from "./lab/choice";
import { addCommands, addEntries, CommandIds } from "./lab/commands";
import { agentIcon } from "./lab/icon";
import { SessionTabs } from "./lab/main-area";
import { AgentSidePanel } from "./lab/side-panel";
import { openedNotebook, opensAtStart, serverRoot } from "./lab/start";
import "./lab/side-panel.css";

const PANEL_ID = "jupyter-agent-panel";
const SIDE_RANK = 900;
const MIN_WIDTH = "320px";
const NOTEBOOK_MS = 10_000;

/** The path that the server knows a notebook by: without the drive that shows it. */
function pathOf(app: JupyterFrontEnd, notebook: NotebookPanel | null): string | null {
  return notebook === null ? null : app.serviceManager.contents.localPath(notebook.context.path);
}

/**
 * Until the page shows what it was opened with: others that were open before may come first.
 * A notebook that never comes is not waited for longer than this.
 */
async function settled(app: JupyterFrontEnd, tracker: INotebookTracker): Promise<void> {
  await app.restored;
  const path = openedNotebook();
  if (path === null || pathOf(app, tracker.currentWidget) === path) return;
  await new Promise<void>((done) => {
    const look = () => {
      if (pathOf(app, tracker.currentWidget) === path) finish();
    };
    const finish = () => {
      tracker.currentChanged.disconnect(look);
      done();
    };
    setTimeout(finish, NOTEBOOK_MS);
    tracker.currentChanged.connect(look);
  });
}

/** Keep the panel on the notebook in front, by whatever name it goes. */
function followNotebooks(app: JupyterFrontEnd, tracker: INotebookTracker, panel: AgentSidePanel): void {
  tracker.currentChanged.connect((_, notebook) => panel.follow(pathOf(app, notebook)));
  tracker.widgetAdded.connect((_, notebook) => {
    let path = pathOf(app, notebook);
    notebook.context.pathChanged.connect(() => {
      const renamed = pathOf(app, notebook);
      if (path !== null && renamed !== null && path !== renamed)
        void panel.renamed(path, renamed).catch(() => undefined);
      path = renamed;
    });
  });
  panel.follow(pathOf(app, tracker.currentWidget));
}

/** Notebook 7 has no side bar to click on, so the notebook's toolbar gets a button. */
function addToolbarButton(app: JupyterFrontEnd): void {
  app.docRegistry.addWidgetExtension("Notebook", {
    createNew: (notebook: NotebookPanel) => {
      const button = new ToolbarButton({
        icon: agentIcon,
        tooltip: "Open Agent",
        onClick: () => void app.commands.execute(CommandIds.open),
      });
      notebook.toolbar.insertBefore("spacer", "agent", button) || notebook.toolbar.addItem("agent", button);
      return new DisposableDelegate(() => button.dispose());
    },
  });
}

const sidePanel: JupyterFrontEndPlugin<void> = {
  id: "jupyter-agent-panel:side-panel",
  description: "The Agent's side panel, its commands and menu entries.",
  autoStart: true,
  requires: [INotebookTracker],
  optional: [ILabShell, ILayoutRestorer, ICommandPalette, IMainMenu, IStateDB],
  activate: (
    app: JupyterFrontEnd,
    tracker: INotebookTracker,
    labShell: ILabShell | null,
    restorer: ILayoutRestorer | null,
    palette: ICommandPalette | null,
    menus: IMainMenu | null,
    state: IStateDB | null,
  ) => {
    const api = new AgentApi(app.serviceManager.serverSettings);
    const { baseUrl } = app.serviceManager.serverSettings;
    // Notebook 7 has one document a page, and no place beside it.
    const tabs = labShell === null ? null : new SessionTabs(app, api);
    const choice = new SessionChoice(api, state, undefined, new URL(baseUrl).pathname, serverRoot());
    const openMain = tabs ? (session_id: string) => void tabs.open(session_id) : undefined;
    const panel = new AgentSidePanel(api, choice, openMain, settled(app, tracker));
    panel.id = PANEL_ID;
    panel.title.icon = agentIcon;
    panel.title.caption = "Agent";
    app.shell.add(panel, "right", { rank: SIDE_RANK, type: "Agent" });
    restorer?.add(panel, PANEL_ID);
    addCommands(app, panel, tabs);
    if (restorer !== null) tabs?.restore(restorer, CommandIds.openMain);
    addEntries(app, palette, menus);
    // Inline, because the layout asks before the style sheet has come. Notebook 7 has a width of its own.
    if (labShell !== null) panel.node.style.minWidth = MIN_WIDTH;
    else addToolbarButton(app);
    followNotebooks(app, tracker, panel);
    if (opensAtStart()) void app.restored.then(() => app.commands.execute(CommandIds.open));
  },
};

const notebooks: JupyterFrontEndPlugin<void> = {
  id: "jupyter-agent-panel:notebooks",
  description: "Lets the Agent read, edit and run the notebooks that are open in this page.",
  autoStart: true,
  requires: [INotebookTracker],
  activate: (app: JupyterFrontEnd, tracker: INotebookTracker) => {
    startBridge(app, tracker, app.serviceManager.serverSettings);
  },
};

export default [sidePanel, notebooks];
