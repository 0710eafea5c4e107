"""A server extension for tests: what has this server imported, and what does it cost?"""

from __future__ import annotations

import sys
from typing import Any

import psutil
from jupyter_server.auth.decorator import allow_unauthenticated
from jupyter_server.base.handlers import JupyterHandler


class ProbeHandler(JupyterHandler):
    @allow_unauthenticated
    def get(self) -> None:
        rss = psutil.Process().memory_info().rss
        page_config = self.settings.get("page_config_data", {})
        self.finish({"modules": sorted(sys.modules), "page_config": page_config, "rss": rss})  # pyright: ignore[reportUnknownMemberType]


def _load_jupyter_server_extension(serverapp: Any) -> None:  # pyright: ignore[reportUnusedFunction]
    serverapp.web_app.add_handlers(".*$", [(serverapp.base_url + "probe", ProbeHandler)])
