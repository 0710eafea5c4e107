"""A session as a file: out as JSON or as Markdown, in as a new session."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from ...protocol.plain import to_plain
from .base import AgentHandler, BadRequest, guarded, of_session, to_json

_TITLE_CHARS = 500
_FORMATS = {"json": "application/json", "markdown": "text/markdown; charset=utf-8"}
_SUFFIXES = {"json": "json", "markdown": "md"}


class ExportHandler(AgentHandler):
    """All of a session as one document, or what people want to read of it."""

    @guarded
    @of_session
    async def get(self, session_id: str) -> None:
        kind = self.get_query_argument("format", "json")
        if kind not in _FORMATS:
            raise BadRequest(f"format is one of {', '.join(_FORMATS)}.")
        host = await self.engine.host()
        document = await host.export(session_id)
        if kind == "json":
            text = await asyncio.to_thread(to_json, document)
        else:
            from ...protocol.markdown import as_markdown

            text = await asyncio.to_thread(as_markdown, document["session"], document["messages"])
        self.set_header("Content-Disposition", f'attachment; filename="{session_id}.{_SUFFIXES[kind]}"')
        self.finish(text, set_content_type=_FORMATS[kind])


class ImportHandler(AgentHandler):
    """A new session of an export, or of a ``.chat`` file of jupyterlab-chat. It brings no permission with it."""

    @guarded
    async def post(self) -> None:
        title = self.get_query_argument("title", None)
        if title is not None and len(title) > _TITLE_CHARS:
            raise BadRequest(f"title has {_TITLE_CHARS} characters at most.")
        document = await asyncio.to_thread(self.json_object)
        host = await self.engine.host()
        self.reply({"session": to_plain(await host.take_in(document, title))}, HTTPStatus.CREATED)
