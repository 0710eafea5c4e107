"""Files that users attach: content-addressed, beside their session's database.

What comes back is never trusted to say what it is: the first bytes decide.
Four kinds of raster image are shown as such; everything else is bytes to save.
"""

# Tornado types its handlers loosely:
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false

from __future__ import annotations

import asyncio
import re
from http import HTTPStatus

from tornado import httputil, web

from ...errors import SessionNotFound
from ...store.blobs import Blobs
from .base import AgentHandler, BadRequest, TooLarge, guarded, of_session

_NAME_CHARS = 200
_MIME = re.compile(r"[a-z0-9.+-]{1,100}/[a-z0-9.+-]{1,100}", re.IGNORECASE)
_ENVELOPE_BYTES = 64 * 1024
"""What a multipart form may add around the file."""


def raster_type(head: bytes) -> str | None:
    """Return the image type that ``head`` begins, of those that browsers only ever paint."""
    match head:
        case _ if head.startswith(b"\x89PNG\r\n\x1a\n"):
            return "image/png"
        case _ if head.startswith(b"\xff\xd8\xff"):
            return "image/jpeg"
        case _ if head.startswith((b"GIF87a", b"GIF89a")):
            return "image/gif"
        case _ if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
            return "image/webp"
        case _:
            return None


@web.stream_request_body
class AttachmentsHandler(AgentHandler):
    """Upload: the file as the body (``?name=``) or as the form field ``file``."""

    async def prepare(self) -> None:
        self._chunks: list[bytes] = []
        self._received = 0
        # JupyterHandler's own prepare answers 403 before any byte of the body is kept.
        await super().prepare()
        self._limit = self.engine.settings.attachment_bytes + _ENVELOPE_BYTES
        declared = self.request.headers.get("Content-Length", "")
        if declared.isdigit() and int(declared) > self._limit:
            raise self._too_large()

    def data_received(self, chunk: bytes) -> None:
        """Keep what comes, up to the limit; the rest is read and dropped."""
        self._received += len(chunk)
        if self._received <= self._limit:
            self._chunks.append(chunk)

    @guarded
    @of_session
    async def post(self, session_id: str) -> None:
        if self._received > self._limit:
            raise self._too_large()
        content, name, mime = self._file(b"".join(self._chunks))
        if len(content) > self.engine.settings.attachment_bytes:
            raise self._too_large()
        if not content:
            raise BadRequest("The attachment is empty.")
        host = await self.engine.host()
        store = Blobs(host.blobs(session_id))
        address = await asyncio.to_thread(store.save, content)
        attachment = {
            "sha256": address,
            "mime": raster_type(content[:16]) or mime,
            "name": name,
            "bytes": len(content),
        }
        self.reply({"attachment": attachment}, HTTPStatus.CREATED)

    def _file(self, body: bytes) -> tuple[bytes, str, str]:
        kind = self.request.headers.get("Content-Type", "")
        if not kind.startswith("multipart/form-data"):
            return body, safe_name(self.get_query_argument("name", "")), _mime(kind)
        fields: dict[str, list[bytes]] = {}
        files: dict[str, list[httputil.HTTPFile]] = {}
        httputil.parse_body_arguments(kind, body, fields, files)
        if not files.get("file"):
            raise BadRequest("The form has no file in its field 'file'.")
        file = files["file"][0]
        return file.body, safe_name(file.filename), _mime(file.content_type)

    def _too_large(self) -> TooLarge:
        return TooLarge(f"An attachment may have {self.engine.settings.attachment_bytes} bytes at most.")


class AttachmentHandler(AgentHandler):
    """Download."""

    @guarded
    @of_session
    async def get(self, session_id: str, address: str) -> None:
        host = await self.engine.host()
        store = Blobs(host.blobs(session_id))
        content = await asyncio.to_thread(store.load, address)
        if content is None:
            raise SessionNotFound("There is no such attachment.")
        kind = raster_type(content[:16])
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Cache-Control", "private, max-age=31536000, immutable")
        self.set_header("Content-Disposition", "inline" if kind else "attachment")
        self.write(content)
        await self.finish(set_content_type=kind or "application/octet-stream")

    @property
    def content_security_policy(self) -> str:
        """Whatever it is, it may not run."""
        return super().content_security_policy + "; sandbox"


def safe_name(name: str) -> str:
    """Return a file name to show: no directories, no control characters, not too long."""
    base = name.replace("\\", "/").rsplit("/", 1)[-1]
    printable = "".join(char for char in base if char.isprintable())
    return printable[:_NAME_CHARS] or "file"


def _mime(declared: str) -> str:
    kind = declared.split(";", 1)[0].strip().lower()
    return kind if _MIME.fullmatch(kind) else "application/octet-stream"
