"""A history that the API refuses, whatever stands in it: the session goes on all the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from jupyter_agent.session.host import SessionHost
from jupyter_agent.store.blobs import Blobs
from tests.model_server import HttpError, ModelServer, Reply, Request, Text
from tests.session.test_host import hosting, viewing
from tests.stranger import Stranger

Json = dict[str, Any]
pytestmark = pytest.mark.timeout(60)
NO_IMAGE = HttpError(400, message="Could not process image")


def picture(host: SessionHost, session_id: str, content: bytes) -> Json:
    """A picture as the user attached it: a part to send."""
    address = Blobs(host.blobs(session_id)).save(content)
    return {"type": "file", "sha256": address, "mime": "image/png", "name": "plot.png", "bytes": len(content)}


async def show(view: Stranger, file: Json, said: str) -> None:
    """Send a picture and wait for what becomes of it."""
    here = len(view.events)
    parts = [{"type": "text", "text": said}, file]
    ack = await view.ask("message.send", id=f"msg_{said.replace(' ', '_')}", parts=parts)
    assert ack["status"] == "accepted"
    await view.event("turn.ended", after=here, outcome="completed")


def no_pictures(refusal: HttpError) -> Any:
    """An API that cannot read any picture."""

    def answer(request: Request) -> Reply | HttpError:
        return refusal if '"image"' in json.dumps(request.body["messages"]) else Reply(Text("I see none."))

    return answer


@pytest.mark.parametrize("refusal", [NO_IMAGE, HttpError(413)], ids=["unreadable", "too large"])
async def test_a_picture_that_the_api_does_not_take_is_told_of_and_left_out(
    model_server: ModelServer, tmp_path: Path, refusal: HttpError
) -> None:
    model_server.default = no_pictures(refusal)
    async with hosting(model_server, tmp_path) as host:
        session = await host.create()
        async with viewing(host, session.id) as view:
            await show(view, picture(host, session.id, b"this is no picture"), "look at this")
            assert view.text == "I see none."
            asked = len(model_server.requests)
            await view.say("and now?")
            await view.event("turn.ended", after=len(view.events), outcome="completed")
    assert len(model_server.requests) == asked + 1, "what is known to be refused is not sent again"
    (said, *_) = model_server.requests[-1].body["messages"]
    assert [block["type"] for block in said["content"]] == ["text", "text", "text"]
    assert "picture" in json.dumps(said)


def wants_only(word: str) -> Any:
    """An API that takes nothing but what begins with this."""

    def answer(request: Request) -> Reply | HttpError:
        first = json.dumps(request.body["messages"][0]["content"])
        return Reply(Text("A new beginning.")) if word in first else HttpError(400, message="messages.0: no")

    return answer


async def test_where_nothing_of_the_past_is_taken_the_model_begins_anew_and_the_user_is_told(
    model_server: ModelServer, tmp_path: Path
) -> None:
    model_server.script(["One.", "Two."])
    async with hosting(model_server, tmp_path) as host:
        session = await host.create()
        async with viewing(host, session.id) as view:
            for said in ("first", "second"):
                here = len(view.events)
                await view.say(said)
                await view.event("turn.ended", after=here, outcome="completed")
            model_server.default = wants_only("third")
            await view.say("third")
            ended = await view.event(lambda e: e["type"] == "turn.ended" and len(view.ended) == 3)
            assert ended["d"]["outcome"] == "completed"
            assert view.text == "A new beginning."
            (told,) = [event["d"] for event in view.of("notice") if event["d"]["code"] == "begun_anew"]
            assert told["level"] == "warning"
            assert len(view.view["messages"]) == 6, "for the user all of it stays"
        asked = len(model_server.requests)
        async with viewing(host, session.id) as view:
            await view.say("fourth")
            await view.event("turn.ended", outcome="completed")
            # Behind the new beginning the history is a whole one again.
            assert len(model_server.requests) == asked + 1
            assert [m["role"] for m in model_server.requests[-1].body["messages"]] == ["user", "assistant", "user"]
            # Whoever leaves the refused part behind has what came before it back.
            question = view.view["messages"][2]["id"]
            model_server.default = wants_only("first")
            here = len(view.events)
            assert (await view.ask("turn.retry", message_id=view.view["messages"][3]["id"]))["status"] == "accepted"
            await view.event("turn.ended", after=here, outcome="completed")
            assert [m["id"] for m in view.view["messages"]][2] == question
    said = json.dumps(model_server.requests[-1].body["messages"])
    assert "first" in said
    assert "third" not in said


async def test_an_endpoint_that_refuses_everything_ends_the_turn_and_takes_nothing_of_the_past_away(
    model_server: ModelServer, tmp_path: Path
) -> None:
    model_server.script(["One."])
    async with hosting(model_server, tmp_path) as host:
        session = await host.create()
        async with viewing(host, session.id) as view:
            await view.say("first")
            await view.event("turn.ended", outcome="completed")
            model_server.default = HttpError(400, message="messages.0: never")
            await view.say("second")
            ended = await view.event("turn.ended", outcome="failed")
            assert ended["d"]["error"]["code"] == "bad_history"
            model_server.default = Reply(Text("All is well."))
            here = len(view.events)
            await view.say("third")
            await view.event("turn.ended", after=here, outcome="completed")
    assert "first" in json.dumps(model_server.requests[-1].body["messages"])
