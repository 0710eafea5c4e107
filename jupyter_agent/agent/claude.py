"""The one door to ``anthropic``: a step's question in, ``ModelEvent`` out.

::

    stream(request)
      └─ until closed or failed:
           attempt ── StepOpened, blocks, deltas … StepClosed          done
              │ fault before the first byte ── RetryNotice, wait ──┐   at most max_attempts in a row
              │ fault in mid-stream ────────── AttemptReset, wait ─┤   at most max_cuts a step, twice for a stall
              │ a parameter is not taken ───── leave it out ───────┤   once each, remembered for the model
              │ thinking bound elsewhere ───── drop those blocks ──┘   once, remembered for the session
              └ anything else ──────────────── StepFailed              done

The SDK does not retry here (``max_retries=0``): each wait is told to the user.
Importing it takes seconds, so that happens in a thread, with a rehearsal of
one small stream, which fills the caches that the first tokens would wait for.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ..errors import ModelError
from ..settings import Settings
from . import faults
from .choose import sends_a_key
from .dialect import Dialect
from .faults import Fault
from .model import (
    AttemptReset,
    ModelEvent,
    ModelInfo,
    ModelRequest,
    RetryNotice,
    StepClosed,
    StepFailed,
    StepOpened,
)
from .patience import Patience
from .reading import Reading, calls_in, usage_of
from .rehearsal import rehearse

if TYPE_CHECKING:
    import anthropic
    import httpx2
    from anthropic.lib.streaming import AsyncMessageStream

logger = logging.getLogger(__name__)

PLACEHOLDER_KEY = "no-key-configured"
"""Sent to an endpoint of the user's own that wants no key: the SDK insists on one."""

KNOWN_MODELS = (
    ModelInfo(id="claude-sonnet-5-5", display_name="Claude Sonnet 5.5"),
    ModelInfo(id="claude-opus-5-5", display_name="Claude Opus 5.5"),
    ModelInfo(id="claude-haiku-5-5", display_name="Claude Haiku 5.5"),
)
"""The picker's lines while the endpoint's own list is not to be had."""

_MODELS_FRESH_S = 300.0
_MODELS_TIMEOUT_S = 10.0

Transport = Callable[[], "httpx2.AsyncBaseTransport"]


class ClaudeModel:
    """Claude over the Messages API; with a ``transport`` of its own, the demo under the same client."""

    def __init__(
        self,
        settings: Settings,
        *,
        kind: Literal["claude", "demo"] = "claude",
        transport: Transport | None = None,
    ) -> None:
        self._settings = settings
        self._kind: Literal["claude", "demo"] = kind
        self._transport = transport
        self._loading: asyncio.Task[_Sdk] | None = None
        self._dialect = Dialect(settings, kind)
        self._models: tuple[float, list[ModelInfo]] | None = None

    @property
    def kind(self) -> Literal["claude", "demo"]:
        """Who answers: the panel says so."""
        return self._kind

    async def warm_up(self) -> None:
        """Import what the first step will need, off the event loop. Failures wait for that step."""
        try:
            await self._sdk()
        except _Failed as failed:
            logger.warning("The model client is not ready: %s", failed.fault.error)

    async def close(self) -> None:
        """Close connections."""
        loading, self._loading = self._loading, None
        if loading is None:
            return
        await asyncio.wait([loading])
        if not loading.cancelled() and loading.exception() is None:
            await loading.result().client.close()

    async def list_models(self) -> list[ModelInfo]:
        """Return the endpoint's models, newest first; what is configured is always among them."""
        if self._models is None or time.monotonic() - self._models[0] > _MODELS_FRESH_S:
            try:
                self._models = (time.monotonic(), await self._fetch_models())
            except _Failed as failed:
                logger.info("The endpoint's list of models is not available: %s", failed.fault.error)
        models = self._models[1] if self._models else list(KNOWN_MODELS if self._kind == "claude" else ())
        return self._with_configured(models)

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """Ask one step; see ``model``. Close the iterator to cut the connection."""
        patience = Patience(self._settings)
        while True:
            opened = False
            try:
                async with aclosing(self._attempt(request)) as attempt:
                    async for event in attempt:
                        opened = opened or type(event) is StepOpened
                        yield event
                return
            except _Failed as failed:
                fault = failed.fault
            remedy = self._dialect.remedy(request, fault, own_endpoint=self._own_endpoint())
            if remedy is not None:
                yield RetryNotice(code=remedy[0], text=remedy[1], delay=0.0)
                continue
            delay = patience.delay(fault, opened=opened)
            if delay is None:
                yield StepFailed(error=patience.last_word(fault))
                return
            text = f"{fault.error.message} Asking again."
            if opened:
                yield AttemptReset(code=fault.code, text=text)
            else:
                yield RetryNotice(code=fault.code, text=text, delay=delay)
            await asyncio.sleep(delay)

    async def say(self, request: ModelRequest, *, max_tokens: int) -> str:
        """Answer a small question at once, with neither tools nor retries. Raises ``ModelError``."""
        try:
            sdk = await self._sdk()
            parameters: dict[str, Any] = {
                **self._parameters(sdk, request),
                "max_tokens": max_tokens,
            }
            for name in ("thinking", "cache_control", "output_config"):
                parameters.pop(name, None)
            try:
                create: Any = sdk.client.messages.create  # Its overloads want to know about streaming.
                message = await create(**parameters)
            except Exception as error:
                raise _Failed(self._classify(sdk, error, Reading(), request.model)) from error
        except _Failed as failed:
            raise failed.fault.error from failed
        if message.stop_reason == "refusal":
            raise ModelError("Claude does not answer this.", code="refused")
        return "".join(str(block.text) for block in message.content if block.type == "text")

    # -- one attempt ---------------------------------------------------------------

    async def _attempt(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        sdk = await self._sdk()
        offered = frozenset(str(tool.get("name")) for tool in request.tools)
        reading = Reading(offered=offered, taken=calls_in(request.messages))
        try:
            async with sdk.client.messages.stream(**self._parameters(sdk, request)) as stream:
                reading.request_id = stream.request_id
                self._check_content_type(sdk, stream)
                async for event in stream:
                    translated = reading.translate(event)
                    if translated is not None:
                        yield translated
                closed = self._closed(stream, reading)
        except _Failed:
            raise
        except Exception as error:
            raise _Failed(self._classify(sdk, error, reading, request.model)) from error
        # Only now: who stops listening at the last event leaves no connection open.
        yield closed

    def _check_content_type(self, sdk: _Sdk, stream: AsyncMessageStream[Any]) -> None:
        content_type = stream.response.headers.get("content-type", "")
        if content_type and "event-stream" not in content_type:
            kind = content_type.partition(";")[0]
            raise _Failed(faults.not_an_api(_shown(sdk.client.base_url), kind, stream.request_id))

    def _closed(self, stream: AsyncMessageStream[Any], reading: Reading) -> StepClosed:
        if not reading.stopped:
            raise _Failed(faults.truncated(reading.request_id))
        message = stream.current_message_snapshot
        if message.stop_reason is None:
            raise _Failed(faults.truncated(reading.request_id))
        if reading.unknown is not None:
            raise _Failed(faults.unknown_tool(reading.unknown, reading.request_id))
        if reading.broken and message.stop_reason == "tool_use":
            name = next(iter(reading.broken.values()))
            raise _Failed(faults.bad_input(name, reading.request_id))
        details = message.stop_details
        return StepClosed(
            stop_reason=str(message.stop_reason),
            content=list(reading.content.values()),
            usage=usage_of(message.usage),
            request_id=reading.request_id,
            stop_details=None if details is None else details.to_dict(),
        )

    def _parameters(self, sdk: _Sdk, request: ModelRequest) -> dict[str, Any]:
        return self._dialect.parameters(request, key=sdk.client.api_key)

    def _own_endpoint(self) -> bool:
        loading = self._loading
        if loading is None or not loading.done() or loading.cancelled() or loading.exception():
            return False
        return "anthropic.com" not in loading.result().client.base_url.host

    def _classify(self, sdk: _Sdk, error: Exception, reading: Reading, model: str) -> Fault:
        api, http = sdk.anthropic, sdk.httpx2
        base_url = _shown(sdk.client.base_url)
        match error:
            case api.APIStatusError():
                return faults.of_status(
                    error.status_code,
                    error.type,
                    sdk.without_keys(error.api_message or _plain(error.body)),
                    request_id=error.request_id or reading.request_id,
                    headers=error.response.headers,
                    model=model,
                )
            case api.APITimeoutError():
                return faults.of_connection(str(error.__cause__ or error), base_url=base_url, timed_out=True)
            case api.APIConnectionError():
                return faults.of_connection(str(error.__cause__ or error), base_url=base_url)
            case http.TimeoutException():
                return faults.stalled(self._settings.read_timeout_s, reading.request_id)
            case http.TransportError() | http.StreamError() | http.DecodingError():
                return faults.cut(str(error), reading.request_id)
            case api.CredentialsError():
                return faults.no_credentials(str(error))
            case TypeError() if "authentication method" in str(error):
                return faults.no_credentials()
            case AssertionError() if not reading.started:
                return faults.truncated(reading.request_id)
            case _:
                # The SDK's own surprises at a stream that is not as promised: JSONDecodeError,
                # IndexError, AssertionError … and, should we have made one, our mistake.
                logger.debug("The answer could not be read", exc_info=error)
                return faults.malformed(f"{type(error).__name__}: {error}", reading.request_id)

    # -- models ----------------------------------------------------------------------

    async def _fetch_models(self) -> list[ModelInfo]:
        sdk = await self._sdk()
        models: list[ModelInfo] = []
        try:
            async with asyncio.timeout(_MODELS_TIMEOUT_S):
                async for model in sdk.client.models.list():
                    self._note_capabilities(model)
                    if getattr(model, "lifecycle", None) != "retired":
                        models.append(_model_info(model))
        except Exception as error:
            raise _Failed(self._classify(sdk, error, Reading(), "")) from error
        return models

    def _note_capabilities(self, model: anthropic.types.ModelInfo) -> None:
        # Endpoints other than Anthropic's leave most of this out, whatever the types promise.
        thinking = getattr(getattr(model, "capabilities", None), "thinking", None)
        adaptive = getattr(getattr(thinking, "types", None), "adaptive", None)
        if getattr(adaptive, "supported", None) is False:
            self._dialect.leave_out(model.id, "thinking")

    def _with_configured(self, models: list[ModelInfo]) -> list[ModelInfo]:
        configured = self._settings.model
        if self._kind == "demo" or any(model.id == configured for model in models):
            return list(models)
        return [ModelInfo(id=configured, display_name=configured), *models]

    # -- the SDK ---------------------------------------------------------------------

    async def _sdk(self) -> _Sdk:
        if self._loading is None:
            self._loading = asyncio.ensure_future(asyncio.to_thread(self._load))
        loading = self._loading
        try:
            # A turn that is stopped while the import runs must not stop the import.
            return await asyncio.shield(loading)
        except _Failed:
            if self._loading is loading:
                self._loading = None
            raise

    def _load(self) -> _Sdk:
        """Import and set up the SDK. Runs in a thread."""
        try:
            modules = [importlib.import_module(name) for name in _MODULES]
            rehearse(modules[0], modules[1])
            return _Sdk(anthropic=modules[0], httpx2=modules[1], client=self._client(modules[0], modules[1]))
        except _Failed:
            raise
        except Exception as error:
            logger.exception("The SDK could not be loaded")
            raise _Failed(faults.not_loaded(f"{type(error).__name__}: {error}")) from error

    def _client(self, sdk: Any, http: Any) -> anthropic.AsyncAnthropic:
        settings = self._settings
        options: dict[str, Any] = {
            "max_retries": 0,
            "timeout": http.Timeout(settings.read_timeout_s, connect=settings.connect_timeout_s),
        }
        if self._transport is not None:
            carrier = http.AsyncClient(transport=self._transport(), trust_env=False)
            return sdk.AsyncAnthropic(api_key="demo", base_url="http://demo.localhost", http_client=carrier, **options)
        options["base_url"] = settings.base_url
        options["default_headers"] = settings.default_headers or None
        try:
            client = sdk.AsyncAnthropic(api_key=settings.api_key, **options)
            if client.api_key or client.auth_token or client.credentials or sends_a_key(settings.default_headers):
                return client
            if "anthropic.com" not in client.base_url.host:
                return sdk.AsyncAnthropic(api_key=PLACEHOLDER_KEY, **options)
        except (sdk.AnthropicError, ValueError) as error:
            raise _Failed(faults.no_credentials(str(error))) from error
        raise _Failed(faults.no_credentials())


_MODULES = (
    "anthropic",
    "httpx2",
    "anthropic.types",
    "anthropic.resources.messages",
    "anthropic.resources.models",
    "anthropic.lib.streaming",
    "jiter",
)


@dataclass(slots=True)
class _Sdk:
    """The lazily imported modules, and the client that is made of them."""

    anthropic: Any
    httpx2: Any
    client: anthropic.AsyncAnthropic

    def without_keys(self, text: str) -> str:
        """Return the endpoint's words without the key, should it repeat it."""
        for key in (self.client.api_key, self.client.auth_token):
            if key:
                text = text.replace(key, "[key removed]")
        return text


class _Failed(Exception):
    """Carries a fault out of an attempt."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.error.message)
        self.fault = fault


def _model_info(model: Any) -> ModelInfo:
    return ModelInfo(
        id=model.id,
        display_name=getattr(model, "display_name", None) or model.id,
        deprecated=getattr(model, "lifecycle", None) == "deprecated",
    )


def _shown(url: Any) -> str:
    """Return an endpoint's address without the user and password that it may hold."""
    return f"{url.scheme}://{url.netloc.decode('ascii', 'replace')}{url.path}".rstrip("/")


def _plain(body: object) -> str:
    return body if isinstance(body, str) else ""
