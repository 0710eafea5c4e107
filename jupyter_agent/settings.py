"""All that can be configured, as one frozen value.

Hosts fill it from traits (``AgentExtension``); nothing below them reads the
environment or a config file. Defaults are for one user on one machine.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

DEFAULT_MODEL = "claude-sonnet-5-5"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """See ``hosts/server/app.py`` for the trait behind each field."""

    data_dir: Path

    # -- the model -----------------------------------------------------------------
    model: str = DEFAULT_MODEL
    demo: bool | None = None
    """True: always the demo model; None: only when nothing to reach Claude is configured."""
    base_url: str | None = None
    api_key: str | None = field(default=None, repr=False)
    """Only from ``api_key_file``; otherwise the SDK reads its own environment."""
    default_headers: dict[str, str] = field(default_factory=dict[str, str])
    max_tokens: int = 32_000
    effort: str | None = None
    connect_timeout_s: float = 10.0
    read_timeout_s: float = 120.0
    """The stall watchdog: no byte, not even a ping, for this long."""
    max_attempts: int = 6
    max_cuts: int = 3
    """How often a step that broke off mid-stream is asked again."""
    max_retry_delay_s: float = 60.0

    # -- turns ---------------------------------------------------------------------
    mode: str = "build"
    max_steps: int = 50
    system_prompt_extra: str = ""

    # -- the stream ----------------------------------------------------------------
    flush_ms: int = 16
    flush_deltas: int = 32
    flush_bytes: int = 16_384
    page: int = 25
    page_bytes: int = 200 * 1024
    replay_events: int = 2_000
    replay_bytes: int = 1 << 20
    frame_bytes: int = 1 << 20
    part_bytes: int = 128 * 1024
    """A part with more is shown cut; the whole is a file, and comes by REST."""
    comm_frame_bytes: int = 256 * 1024
    attachment_bytes: int = 20 << 20
    pending_frames: int = 500
    pending_bytes: int = 1 << 20
    heartbeat_s: float = 15.0
    comm_heartbeat_s: float = 5.0
    comm_flush_ms: int = 50

    # -- sessions ------------------------------------------------------------------
    idle_s: float = 10.0
    activate_timeout_s: float = 30.0
    auto_title: bool = True
    """Let the model name a session after its first exchange."""
    archive_after_days: float = 14.0
    """0: never."""
    purge_after_days: float = 0.0
    """How long an archived session is kept; 0: for ever."""
    undo_delete_s: float = 600.0
    """How long a deleted session can be brought back."""
    snapshot_days: float = 30.0
    """How long daily snapshots are kept; 0: none are made."""
    approval_expires_s: float | None = None
    job_timeout_s: float = 900.0
    """How long a job may take before it has failed, and is tried again."""
    storage: str = "auto"
    """``local``, ``network``, or ``auto``: by the type of the data directory's file system."""

    # -- after a crash ---------------------------------------------------------------
    recovery: str = "auto"
    """``auto``: go on if the user was here lately, else offer Continue; ``ask``: offer it; ``never``: not even that."""
    recovery_window_s: float = 900.0
    recovery_backoff_s: float = 2.0
    """The pause before a turn is taken up; twice as long each time, 5 minutes at most."""
    max_recoveries: int = 10
    max_interruptions: int = 5
    recovery_stall_s: float = 300.0
    """No progress for this long ends a recovery."""
    max_reruns: int = 2
    """How often a reading tool that a crash cut off is run again."""
    wake_at_once: int = 4
    """How many sessions are woken at the same time when the server starts."""

    # -- tools ---------------------------------------------------------------------
    tab_timeout_s: float = 5.0
    run_timeout_s: float | None = None
    """None: a cell may run as long as it likes; Stop interrupts it."""
    max_output_chars: int = 20_000
    max_image_bytes: int = 2 << 20

    # -- what follows from these -----------------------------------------------------

    @property
    def part_room(self) -> int:
        """How much of a part's contents a frame shows, in bytes of JSON."""
        return min(self.part_bytes, self.frame_bytes // 4)

    @property
    def message_room(self) -> int:
        """How much of a message's parts a frame shows, in bytes of JSON (``cut.frames_of`` knows it too)."""
        return self.frame_bytes // 2

    def recovery_delay(self, attempt: int) -> float:
        """Return how long to wait before a turn is taken up for the ``attempt``-th time in a row."""
        return min(self.recovery_backoff_s * 2.0 ** (max(attempt, 1) - 1), 300.0)
