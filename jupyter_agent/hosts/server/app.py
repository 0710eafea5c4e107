"""The server extension: traits in, routes out.

Loading it costs a server next to nothing (see ``engine``). Everything that is
built later hangs below ``AgentExtension.engine`` and goes down with it.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

from jupyter_core.paths import jupyter_data_dir
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.extension.application import ExtensionApp
from tornado import web
from traitlets import Bool, Dict, Enum, Float, Int, Unicode, default

from ... import __version__, conflicting_distribution
from ... import settings as defaults
from ...errors import AgentError
from ...settings import Settings
from ..kernel import FRAME, RELAY
from .attachments import AttachmentHandler, AttachmentsHandler
from .base import AUTH_RESOURCE, AgentHandler, guarded
from .details import DetailsHandler
from .engine import Engine
from .list_socket import ListSocket
from .relay import Relay
from .rest import (
    ArchiveHandler,
    BranchHandler,
    CommandsHandler,
    MessagesHandler,
    ModelsHandler,
    PartHandler,
    SessionHandler,
    SessionsHandler,
    StatusHandler,
    UndeleteHandler,
    UnknownHandler,
)
from .safekeeping import RestoreHandler, SnapshotsHandler, TakeOverHandler
from .socket import SessionSocket
from .standing import RuleHandler, RulesHandler
from .stream import StreamHandler
from .tabs import TabSocket
from .todo import JobsHandler, TaskHandler, TaskRunHandler, TasksHandler
from .transfer import ExportHandler, ImportHandler

API = "jupyter-agent/api/v1"
STATIC = "jupyter-agent/static"
STATIC_DIR = Path(__file__).parents[2] / "static"
_TYPES = {".js": "text/javascript", ".css": "text/css"}
_SESSION = r"/sessions/([^/]+)"


class AgentExtension(ExtensionApp):
    """A Claude agent in Jupyter. Configure it as ``c.AgentExtension.…``."""

    name = "jupyter_agent"
    description = "A Claude agent that lives in Jupyter."
    load_other_extensions = True

    # -- where things are kept -------------------------------------------------------
    data_dir = Unicode(help="Where sessions are kept. Default: jupyter_agent in Jupyter's data directory.").tag(
        config=True
    )

    # -- the model -------------------------------------------------------------------
    model = Unicode(defaults.DEFAULT_MODEL, help="The model that new sessions use.").tag(config=True)
    demo = Bool(
        None,
        allow_none=True,
        help="True: always the demo model. False: never. None: when nothing to reach Claude is configured.",
    ).tag(config=True)
    base_url = Unicode(
        None, allow_none=True, help="An Anthropic-compatible endpoint; default: the SDK's own environment."
    ).tag(config=True)
    api_key_file = Unicode(
        None,
        allow_none=True,
        help="A file that holds the API key, for those who want it out of the environment that kernels inherit.",
    ).tag(config=True)
    default_headers = Dict(
        key_trait=Unicode(), value_trait=Unicode(), help="Headers sent with every request to the model."
    ).tag(config=True)
    max_tokens = Int(32_000, min=1, help="The longest answer of one step, in tokens.").tag(config=True)
    effort = Unicode(None, allow_none=True, help="How hard the model thinks; None: the model's own default.").tag(
        config=True
    )
    connect_timeout_s = Float(10.0, min=0.1, help="How long to wait for the endpoint to accept a connection.").tag(
        config=True
    )
    read_timeout_s = Float(120.0, min=1, help="A stream silent for this long, pings included, has stalled.").tag(
        config=True
    )
    max_attempts = Int(6, min=1, help="How often a request is tried when the endpoint is busy.").tag(config=True)
    max_cuts = Int(3, min=0, help="How often a step that broke off is asked again; twice at most after a silence.").tag(
        config=True
    )
    max_retry_delay_s = Float(60.0, min=0, help="The longest pause between two tries.").tag(config=True)

    # -- turns -----------------------------------------------------------------------
    mode = Enum(["plan", "build"], "build", help="The mode of new sessions.").tag(config=True)
    max_steps = Int(50, min=1, help="How many requests one turn may take.").tag(config=True)
    system_prompt_extra = Unicode("", help="Added to the system prompt of new sessions.").tag(config=True)

    # -- the stream ------------------------------------------------------------------
    flush_ms = Int(16, min=0, help="How long text is gathered before it is stored and shown.").tag(config=True)
    flush_deltas = Int(32, min=1, help="… or how many pieces.").tag(config=True)
    flush_bytes = Int(16_384, min=1, help="… or how many bytes.").tag(config=True)
    page = Int(25, min=1, max=200, help="How many messages a page holds.").tag(config=True)
    page_bytes = Int(200 * 1024, min=1024, help="How large a page may grow.").tag(config=True)
    replay_events = Int(2_000, min=0, help="A view further behind than this gets a snapshot instead.").tag(config=True)
    replay_bytes = Int(1 << 20, min=0, help="… or than this many bytes.").tag(config=True)
    frame_bytes = Int(1 << 20, min=64 * 1024, help="The largest frame on a socket.").tag(config=True)
    part_bytes = Int(
        128 * 1024, min=4096, help="A part of a message with more is shown cut; its whole comes by REST."
    ).tag(config=True)
    comm_frame_bytes = Int(256 * 1024, min=16 * 1024, help="The largest message to an inline panel.").tag(config=True)
    attachment_bytes = Int(20 << 20, min=0, help="The largest file a user may attach.").tag(config=True)
    pending_frames = Int(500, min=10, help="A view that leaves more frames unread has to start over.").tag(config=True)
    pending_bytes = Int(1 << 20, min=64 * 1024, help="… or more bytes.").tag(config=True)
    heartbeat_s = Float(15.0, min=1, help="The heartbeat of sockets while a turn lives.").tag(config=True)
    comm_heartbeat_s = Float(5.0, min=1, help="The heartbeat of inline panels while a turn lives.").tag(config=True)
    comm_flush_ms = Int(50, min=20, help="How long frames to an inline panel are gathered.").tag(config=True)

    # -- sessions --------------------------------------------------------------------
    idle_s = Float(10.0, min=0, help="An idle session's database is closed after this long.").tag(config=True)
    activate_timeout_s = Float(30.0, min=1, help="How long a session may take to wake.").tag(config=True)
    auto_title = Bool(default_value=True, help="Let the model name a session after its first exchange.").tag(
        config=True
    )
    archive_after_days = Float(14.0, min=0, help="Sessions unused for so many days are archived; 0: never.").tag(
        config=True
    )
    purge_after_days = Float(0.0, min=0, help="Archived sessions are deleted after so many days; 0: never.").tag(
        config=True
    )
    undo_delete_s = Float(600.0, min=0, help="How long a deleted session can be brought back.").tag(config=True)
    snapshot_days = Float(30.0, min=0, help="How long daily snapshots are kept; 0: none are made.").tag(config=True)
    approval_expires_s = Float(None, allow_none=True, help="Unanswered questions are denied after this long.").tag(
        config=True
    )
    job_timeout_s = Float(900.0, min=0.1, help="What is due and takes longer has failed, and is tried again.").tag(
        config=True
    )
    storage = Enum(
        ["auto", "local", "network"],
        "auto",
        help="How databases are locked; auto: by the data directory's file system.",
    ).tag(config=True)

    # -- after a crash -----------------------------------------------------------------
    recovery = Enum(
        ["auto", "ask", "never"],
        "auto",
        help="auto: a turn that the server's end cut off goes on if the user was here lately. "
        "ask: the panel offers Continue. never: it stays as it is, and nothing is offered.",
    ).tag(config=True)
    recovery_window_s = Float(900.0, min=0, help="How long ago “lately” is.").tag(config=True)
    recovery_backoff_s = Float(2.0, min=0, help="The pause before a turn is taken up; it doubles each time.").tag(
        config=True
    )
    max_recoveries = Int(10, min=0, help="How often one turn is taken up again.").tag(config=True)
    max_interruptions = Int(5, min=0, help="How often the server may die during one turn.").tag(config=True)
    recovery_stall_s = Float(300.0, min=1, help="A recovery without progress for this long ends.").tag(config=True)
    max_reruns = Int(2, min=0, help="How often a reading tool that was cut off is run again.").tag(config=True)
    wake_at_once = Int(4, min=1, help="How many sessions are woken at once when the server starts.").tag(config=True)

    # -- tools -----------------------------------------------------------------------
    tab_timeout_s = Float(5.0, min=0.1, help="How long an open notebook may take to answer an edit.").tag(config=True)
    run_timeout_s = Float(None, allow_none=True, help="The longest a cell may run; None: until Stop.").tag(config=True)
    max_output_chars = Int(20_000, min=100, help="How much of a cell's text output the model reads.").tag(config=True)
    max_image_bytes = Int(2 << 20, min=0, help="The largest image the model is shown.").tag(config=True)

    # -- the page --------------------------------------------------------------------
    open_panel = Bool(default_value=False, help="Open the side panel when JupyterLab has loaded.").tag(config=True)

    engine: Engine
    relay: Relay | None = None
    _waking: asyncio.Task[None] | None = None

    @default("data_dir")
    def _default_data_dir(self) -> str:
        return str(Path(jupyter_data_dir()) / "jupyter_agent")

    def read_settings(self) -> Settings:
        """Return what the traits say, the key read from its file."""
        names = [name for name in Settings.__dataclass_fields__ if name not in ("data_dir", "api_key")]
        values: dict[str, Any] = {name: getattr(self, name) for name in names}
        values["default_headers"] = dict(values["default_headers"])
        return Settings(data_dir=Path(self.data_dir).expanduser(), api_key=self._read_key(), **values)

    def _read_key(self) -> str | None:
        if self.api_key_file is None:
            return None
        try:
            key = Path(self.api_key_file).expanduser().read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "not a text file"
            raise AgentError(
                f"The API key file cannot be read: {why}.",
                code="api_key_file",
                hint="Check c.AgentExtension.api_key_file in the server's configuration.",
            ) from None
        if not key:
            raise AgentError("The API key file is empty.", code="api_key_file")
        return key

    # -- loading ---------------------------------------------------------------------

    def initialize_settings(self) -> None:
        """Tell the front end that we are here, and keep our traffic out of kernel activity."""
        manager = self._server.kernel_manager
        untracked = getattr(manager, "untracked_message_types", None)
        page_config = self._server.web_app.settings.setdefault("page_config_data", {})
        # The same dict under both names, whichever extension loads first: ours or JupyterLab.
        self.settings["page_config_data"] = page_config
        page_config["jupyter_agent"] = {
            "api": API,
            "static": STATIC,
            "version": __version__,
            "open_panel": self.open_panel,
            "root": getattr(self._server.contents_manager, "root_dir", ""),
        }
        if untracked is None:
            return
        manager.untracked_message_types = [*untracked, *(t for t in (RELAY, FRAME) if t not in untracked)]
        # JupyterLab copies the trait when it loads; if it has already, correct its copy.
        page_config["untracked_message_types"] = list(manager.untracked_message_types)

    def initialize_handlers(self) -> None:
        """Register the routes, or the one sentence that says why there are none."""
        if (sentence := conflicting_distribution()) is not None:
            self.log.error(sentence)
            self.handlers.append((rf"{API}/(.*)", _ConflictHandler, {"engine": None}))
            return
        server = self._server
        self.engine = Engine(
            self.read_settings,
            contents_manager=server.contents_manager,
            session_manager=server.session_manager,
            kernel_manager=server.kernel_manager,
            url=lambda: getattr(server, "connection_url", None),
        )
        engine = {"engine": self.engine}
        self.handlers.extend(
            [
                (rf"{API}/status", StatusHandler, engine),
                (rf"{API}/models", ModelsHandler, engine),
                (rf"{API}/notebooks", TabSocket, engine),
                (rf"{API}/connect", ListSocket, engine),
                (rf"{API}/sessions", SessionsHandler, engine),
                (rf"{API}/sessions/import", ImportHandler, engine),
                (rf"{API}{_SESSION}", SessionHandler, engine),
                (rf"{API}{_SESSION}/details", DetailsHandler, engine),
                (rf"{API}{_SESSION}/messages", MessagesHandler, engine),
                (rf"{API}{_SESSION}/messages/([^/]+)/parts/([^/]+)", PartHandler, engine),
                (rf"{API}{_SESSION}/(archive|unarchive)", ArchiveHandler, engine),
                (rf"{API}{_SESSION}/take-over", TakeOverHandler, engine),
                (rf"{API}{_SESSION}/(rewind|clear|fork|duplicate)", BranchHandler, engine),
                (rf"{API}{_SESSION}/undelete", UndeleteHandler, engine),
                (rf"{API}{_SESSION}/snapshots", SnapshotsHandler, engine),
                (rf"{API}{_SESSION}/restore", RestoreHandler, engine),
                (rf"{API}{_SESSION}/commands", CommandsHandler, engine),
                (rf"{API}{_SESSION}/tasks", TasksHandler, engine),
                (rf"{API}{_SESSION}/tasks/([^/]+)", TaskHandler, engine),
                (rf"{API}{_SESSION}/tasks/([^/]+)/run", TaskRunHandler, engine),
                (rf"{API}{_SESSION}/jobs", JobsHandler, engine),
                (rf"{API}{_SESSION}/export", ExportHandler, engine),
                (rf"{API}/rules", RulesHandler, engine),
                (rf"{API}/rules/([^/]+)", RuleHandler, engine),
                (rf"{API}{_SESSION}/attachments", AttachmentsHandler, engine),
                (rf"{API}{_SESSION}/attachments/([^/]+)", AttachmentHandler, engine),
                (rf"{API}{_SESSION}/connect", SessionSocket, engine),
                (rf"{API}{_SESSION}/stream", StreamHandler, engine),
                (rf"{API}(?:/.*)?", UnknownHandler, engine),
                (rf"{STATIC}/(.*)", PanelFiles, {"path": str(STATIC_DIR)}),
            ]
        )
        self.relay = Relay(
            self.engine,
            kernel_manager=server.kernel_manager,
            session_manager=server.session_manager,
            authorizer=server.authorizer,
            log=self.log,
        )
        self.relay.listen(server.event_logger)

    async def _start_jupyter_server_extension(self, serverapp: Any) -> None:  # noqa: ARG002
        """Meet the kernels that run already, and take up the turns that a former server left."""
        if self.relay is None:
            return
        await self.relay.watch_running()
        self._waking = asyncio.get_running_loop().create_task(self._wake_unfinished())

    async def _wake_unfinished(self) -> None:
        try:
            await self.engine.wake_unfinished()
        except AgentError as error:
            self.log.warning("Unfinished replies were not taken up: %s", error.message)

    async def stop_extension(self) -> None:
        """Let sessions commit and links close."""
        if self.relay is None:
            return
        self.relay.close()
        if self._waking is not None:
            self._waking.cancel()
        await self.engine.close()

    @property
    def _server(self) -> Any:
        return cast("Any", self.serverapp)


class PanelFiles(JupyterHandler, web.StaticFileHandler):  # pyright: ignore[reportIncompatibleMethodOverride] -- Jupyter's own mix
    """The built front end, for signed-in users."""

    auth_resource = AUTH_RESOURCE

    @guarded
    async def get(self, path: str) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Serve one file."""
        await web.StaticFileHandler.get(self, path)

    @guarded
    async def head(self, path: str) -> None:
        """Serve its headers."""
        await web.StaticFileHandler.get(self, path, include_body=False)

    def get_content_type(self) -> str:
        """Name scripts and styles ourselves: Windows' registry may say text/plain, and ``nosniff`` believes it."""
        return _TYPES.get(Path(self.absolute_path or "").suffix) or super().get_content_type()

    def set_extra_headers(self, path: str) -> None:  # noqa: ARG002 -- Tornado names it
        """Revalidate what carries no version: a new server must not meet an old bundle."""
        if "v" not in self.request.arguments:
            self.set_header("Cache-Control", "no-cache")
        self.set_header("X-Content-Type-Options", "nosniff")


class _ConflictHandler(AgentHandler):
    """Says to every request why the agent does not run."""

    @guarded
    async def get(self, *_path: str) -> None:
        raise AgentError(conflicting_distribution() or "Restart the server.", code="conflicting_distribution")

    post = put = patch = delete = get
