"""The demo model: no key, no network, and never taken for Claude.

::

    ClaudeModel ─ AsyncAnthropic ─ transport ─ talk ─ jobs ─ facts, repair
    (the same)    (the same)       SSE bytes   what    the    what tool results say
                                               was     script
                                               said

It answers over the real event stream through the real client, and works on
the real notebook with the real tools; only the thinking is a script. It knows
nothing but what tool results tell it, so what it says about the data is true.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ...settings import Settings
from ..claude import ClaudeModel

if TYPE_CHECKING:
    import httpx2

TOKENS_PER_S = 60.0
"""A pace that can be read along with."""
PACE_VARIABLE = "JUPYTER_AGENT_DEMO_TOKENS_PER_S"
"""Overrides the pace; 0 is as fast as it goes."""


def demo_model(settings: Settings, *, tokens_per_s: float | None = None) -> ClaudeModel:
    """Return the demo under the same client as Claude."""
    speed = pace() if tokens_per_s is None else tokens_per_s

    def transport() -> httpx2.AsyncBaseTransport:
        from .transport import DemoTransport

        return DemoTransport(tokens_per_s=speed)

    return ClaudeModel(settings, kind="demo", transport=transport)


def pace() -> float:
    """Return the tokens a second that are wanted."""
    try:
        return max(0.0, float(os.environ.get(PACE_VARIABLE, TOKENS_PER_S)))
    except ValueError:
        return TOKENS_PER_S
