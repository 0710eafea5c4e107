"""What is too large for a frame: shown cut, kept whole, and told the same way to every view."""

from __future__ import annotations

import asyncio
import base64
import copy
import json
import random
import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jupyter_agent.errors import SessionNotFound, StoreError
from jupyter_agent.protocol.frames import Frame
from jupyter_agent.session.host import SessionHost
from tests.model_server import Gate, ModelServer, Reply, Request, Text, Think, ToolUse
from tests.roads import CELLS, write_notebook
from tests.session.test_host import hosting
from tests.stranger import Stranger

pytestmark = pytest.mark.timeout(120)

SMALL: dict[str, Any] = {"frame_bytes": 64 * 1024, "page_bytes": 16 * 1024, "part_bytes": 8 * 1024}


class Measuring(Stranger):
    """A view that remembers how long its longest frame was."""

    longest = 0


@asynccontextmanager
async def measuring(host: SessionHost, session_id: str) -> AsyncGenerator[Measuring, None]:
    """A view of a session."""
    stranger = Measuring(lambda command: connection.receive(command))

    def hear(frame: Frame) -> None:
        stranger.longest = max(stranger.longest, len(frame.text))
        stranger.hear(json.loads(frame.text))

    connection = host.connect(session_id, hear, user="me", road="panel")
    await stranger.open()
    yield stranger
    connection.close()


def printing(folder: Path, name: str, *outputs: dict[str, Any], source: str = "x") -> None:
    """A notebook whose second cell has these outputs."""
    write_notebook(folder, name)
    path = folder / name
    body = json.loads(path.read_text(encoding="utf-8"))
    body["cells"][1] |= {"outputs": list(outputs), "source": source}
    path.write_text(json.dumps(body), encoding="utf-8")


def stream(text: str) -> dict[str, Any]:
    """What a cell printed."""
    return {"output_type": "stream", "name": "stdout", "text": text}


def picture(size: int) -> dict[str, Any]:
    """A PNG as far as its first bytes say."""
    raw = b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + (64).to_bytes(4, "big") * 2 + random.Random(1).randbytes(size)
    data = {"image/png": base64.b64encode(raw).decode(), "text/plain": "<Figure>"}
    return {"output_type": "display_data", "data": data, "metadata": {}}


LOOK = ToolUse("read_cell", {"cell_id": CELLS[1]["id"]})


async def test_a_large_result_is_shown_cut_and_given_whole(model_server: ModelServer, tmp_path: Path) -> None:
    text = "".join(f"line {n}\n" for n in range(150_000)) + "the end"
    printing(tmp_path, "a.ipynb", stream(text))
    model_server.script([Reply(LOOK), Reply(Text("Long."))])
    async with hosting(model_server, tmp_path, max_output_chars=3_000_000) as host:
        session = await host.create(notebook_path="a.ipynb")
        async with measuring(host, session.id) as view:
            await view.say("look")
            await view.event("turn.ended", outcome="completed")
            shown = view.tools[0]
            assert shown["truncated"]
            assert view.view["messages"][-1]["truncated"]
            assert len(json.dumps(shown)) < 140 * 1024
            preview = shown["output"]["display"][-1]["text"]
            assert preview.startswith("line 0\n")
            assert preview.endswith("the end"), "the end of an output often says most"
            view.same_story_as(await view.subscribe())
            view.same_story_as(await view.subscribe(page=1))
            whole = await host.part(session.id, view.view["messages"][-1]["id"], shown["id"])
        assert whole["output"]["display"][-1]["text"].rstrip("\n") == text
        assert not whole["truncated"]
        told = json.dumps(model_server.requests[-1].body["messages"])
        assert "line 75000\\\\n" in told or "line 75000\\n" in told, "the model reads what the tool gave it"


async def test_a_plot_of_usual_size_stays_and_a_huge_one_is_named(model_server: ModelServer, tmp_path: Path) -> None:
    printing(tmp_path, "a.ipynb", picture(60_000))
    printing(tmp_path, "b.ipynb", picture(1_500_000))
    for path, kind in (("a.ipynb", "image"), ("b.ipynb", "text")):
        model_server.script([Reply(LOOK), Reply(Text("Nice."))])
        async with hosting(model_server, tmp_path) as host:
            session = await host.create(notebook_path=path)
            async with measuring(host, session.id) as view:
                await view.say("look")
                await view.event("turn.ended", outcome="completed")
                shown = view.tools[0]["output"]["display"][-1]
                assert shown["type"] == kind, shown["type"]
                if kind == "text":
                    assert "image/png" in shown["text"]
                    assert "1.4 MB" in shown["text"]
                    whole = await host.part(session.id, view.view["messages"][-1]["id"], view.tools[0]["id"])
                    assert len(whole["output"]["display"][-1]["data"]) > 1_500_000
                view.same_story_as(await view.subscribe())


async def test_a_history_beyond_a_rows_size_is_resent_verbatim_after_a_restart(
    model_server: ModelServer, tmp_path: Path
) -> None:
    printing(tmp_path, "a.ipynb", picture(1_500_000))
    model_server.script([Reply(LOOK, LOOK), Reply(Text("Seen.")), Reply(Text("Again."))])
    async with hosting(model_server, tmp_path) as host:
        session = await host.create(notebook_path="a.ipynb")
        async with measuring(host, session.id) as view:
            await view.say("look twice")
            await view.event("turn.ended", outcome="completed")
    before = model_server.requests[-1].body["messages"]
    folder = tmp_path / "data" / "sessions" / session.id
    assert (folder / "session.db").stat().st_size < 1 << 20
    # A copy of the folder is the whole session.
    shutil.copytree(folder, tmp_path / "copied")
    shutil.rmtree(folder)
    shutil.copytree(tmp_path / "copied", folder)
    async with hosting(model_server, tmp_path) as host, measuring(host, session.id) as view:
        await view.say("and?")
        await view.event("turn.ended", outcome="completed")
    after = model_server.requests[-1].body["messages"]
    assert [_without_cache(m) for m in after[: len(before)]][:-1] == [_without_cache(m) for m in before][:-1]
    images = json.dumps(after).count("image/png")
    assert images >= 2
    assert model_server.refusals == []


def _without_cache(value: Any) -> Any:
    match value:
        case dict():
            items = cast("dict[str, Any]", value).items()
            return {key: _without_cache(item) for key, item in items if key != "cache_control"}
        case list():
            return [_without_cache(item) for item in cast("list[Any]", value)]
        case _:
            return value


async def test_a_blob_that_is_gone_is_said_plainly(model_server: ModelServer, tmp_path: Path) -> None:
    printing(tmp_path, "a.ipynb", stream("y" * 100_000))
    model_server.script([Reply(LOOK), Reply(Text("Long."))])
    async with hosting(model_server, tmp_path, max_output_chars=200_000, part_bytes=8192) as host:
        session = await host.create(notebook_path="a.ipynb")
        async with measuring(host, session.id) as view:
            await view.say("look")
            await view.event("turn.ended", outcome="completed")
            message_id, part_id = view.view["messages"][-1]["id"], view.tools[0]["id"]
        for blob in host.blobs(session.id).iterdir():
            blob.unlink()
        with pytest.raises(StoreError, match="missing"):
            await host.part(session.id, message_id, part_id)
        for strange in (("msg_none", part_id), (message_id, "prt_none")):
            with pytest.raises(SessionNotFound) as refused:
                await host.part(session.id, *strange)
            assert refused.value.code == "unknown_part"


async def test_a_long_message_reaches_the_model_whole_at_once_and_from_the_queue(
    model_server: ModelServer, tmp_path: Path
) -> None:
    gate = Gate()
    model_server.script([Reply(Text("One", gate, ".")), Reply(Text("Two."))])
    first, second = "é" * 100_000 + "first", "ü" * 100_000 + "second"
    async with hosting(model_server, tmp_path) as host:
        session = await host.create()
        async with measuring(host, session.id) as view:
            await view.say(first)
            await view.event("part.added")
            await view.say(second)
            waiting = view.view["queue"][0]["parts"][0]
            assert waiting["truncated"]
            assert waiting["text"].endswith("second")
            view.same_story_as(await view.subscribe())
            gate.open()
            await view.event(lambda e: e["type"] == "turn.ended" and len(view.ended) == 2)
            view.same_story_as(await view.subscribe())
            for message in (view.view["messages"][0], view.view["messages"][2]):
                part = message["parts"][0]
                assert part["truncated"]
                whole = await host.part(session.id, message["id"], part["id"])
                assert whole["text"] in (first, second)
    told = [block["text"] for m in model_server.requests[-1].body["messages"] for block in m["content"]]
    assert first in told
    assert second in told


async def test_a_full_queue_is_refused(model_server: ModelServer, tmp_path: Path) -> None:
    gate = Gate()
    model_server.default = lambda _: Reply(Text("One", gate, "."))
    async with hosting(model_server, tmp_path, **SMALL) as host:
        session = await host.create()
        async with measuring(host, session.id) as view:
            await view.say("go")
            acks = [
                await view.ask("message.send", id=f"msg_{n}", parts=[{"type": "text", "text": "x" * 5000}])
                for n in range(20)
            ]
            refused = [ack for ack in acks if ack["status"] == "rejected"]
            assert refused
            assert refused[0]["error"]["code"] == "queue_full"
            view.same_story_as(await view.subscribe())
            await view.ask("turn.stop", turn=view.view["turn"]["id"], clear_queue=True)
            gate.open()


async def many_calls(model_server: ModelServer, folder: Path, calls: int, at_once: int, **settings: Any) -> None:
    """Let a turn make so many calls, and look at it from all sides: while it runs, at its end, and page by page."""
    write_notebook(folder, "a.ipynb")
    gate = Gate()
    steps = [Reply(*[LOOK] * min(at_once, calls - made)) for made in range(0, calls, at_once)]
    model_server.script([*steps, Reply(Text("All", gate, " read."))])
    async with hosting(model_server, folder, max_steps=len(steps) + 1, **settings) as host:
        session = await host.create(notebook_path="a.ipynb")
        async with measuring(host, session.id) as view, measuring(host, session.id) as other:
            await view.say("look")
            await view.event(lambda e: e["type"] == "part.delta" and e["d"]["delta"] == "All", within=100)
            told = await other.subscribe()
            assert len(told["d"]["messages"][0]["parts"]) < calls, "the frame is too large for what is tested"
            view.same_story_as(told)
            gate.open()
            await asyncio.gather(*(one.event("turn.ended", outcome="completed") for one in (view, other)))
            parts = view.view["messages"][-1]["parts"]
            assert [part["idx"] for part in parts] == list(range(calls + 1)), "a live view keeps what it heard of"
            view.same_story_as({"d": other.view | {"as_of": other.seq}})
            view.same_story_as(await other.subscribe())
            assert other.text == "All read."
            messages = await paged_back(other, host, session.id)
            assert messages == view.view["messages"]
            await other.subscribe(since={"ep": other.ep, "seq": (other.seq or 0) - 40})
            assert max(view.longest, other.longest) <= host.settings.frame_bytes


async def paged_back(view: Stranger, host: SessionHost, session_id: str) -> list[dict[str, Any]]:
    """All messages, as one gets them who starts with a snapshot and asks for what is older, on both roads."""
    messages: list[dict[str, Any]] = copy.deepcopy(view.view["messages"])
    before: str | None = view.view["page"]["before"]
    while before is not None:
        page = (await view.ask("history", before=before, limit=25))["result"]
        plain, cursor = await host.messages(session_id, before, 25)
        assert ([message.id for message in plain], cursor) == ([m["id"] for m in page["messages"]], page["before"])
        older: list[dict[str, Any]] = page["messages"]
        if older[-1]["id"] == messages[0]["id"]:
            first = messages.pop(0)
            older[-1]["parts"] += first["parts"]
        messages, before = older + messages, page["before"]
    return messages


async def test_a_turn_of_many_calls_is_one_story_for_all_and_loses_nothing(
    model_server: ModelServer, tmp_path: Path
) -> None:
    await many_calls(model_server, tmp_path, calls=120, at_once=40, **SMALL)


@pytest.mark.skipif(settings().derandomize, reason="takes a minute; make sweep runs it")
async def test_a_turn_of_two_thousand_calls_is_one_story_for_all(model_server: ModelServer, tmp_path: Path) -> None:
    await many_calls(model_server, tmp_path, calls=2_000, at_once=100)


async def test_a_long_reply_that_comes_back_with_its_branch_comes_whole(
    model_server: ModelServer, tmp_path: Path
) -> None:
    write_notebook(tmp_path, "a.ipynb")
    model_server.script([Reply(*[LOOK] * 100), Reply(Text("All read.")), Reply(Text("Two."))])
    async with hosting(model_server, tmp_path, **SMALL) as host:
        session = await host.create(notebook_path="a.ipynb")
        async with measuring(host, session.id) as view, measuring(host, session.id) as other:
            await view.say("look")
            await view.event("turn.ended", outcome="completed")
            before = view.view["messages"]
            await view.ask("session.clear")
            assert view.view["messages"] == []
            assert (await view.ask("session.rewind", message_id=before[-1]["id"]))["status"] == "accepted"
            assert view.view["messages"] == before
            view.same_story_as(await other.subscribe())
            assert await paged_back(other, host, session.id) == before
            assert max(view.longest, other.longest) <= SMALL["frame_bytes"]


SIZES = st.integers(0, 120_000)


@st.composite
def texts(draw: st.DrawFn, letter_bytes: int = 4) -> str:
    """A text that is long for a frame, or not."""
    letter = draw(st.sampled_from(["a", "é", "\n", "🐍", "\x00"]))
    return letter * (draw(SIZES) // letter_bytes)


@st.composite
def outputs_of_a_cell(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Print, pictures, drawings."""
    found: list[dict[str, Any]] = []
    for kind in draw(st.lists(st.sampled_from(["text", "png", "svg"]), max_size=4)):
        if kind == "text":
            found.append(stream(draw(texts())))
        elif kind == "png":
            found.append(picture(draw(SIZES)))
        else:
            svg = "<svg>" + "x" * draw(SIZES) + "</svg>"
            found.append({"output_type": "display_data", "data": {"image/svg+xml": svg}, "metadata": {}})
    return found


@settings(max_examples=12, deadline=None)
@given(
    outputs=outputs_of_a_cell(),
    said=texts(letter_bytes=24).map(lambda text: text + "!"),
    answer=texts(),
    title=SIZES.map(lambda size: "t" * size),
    looks=st.integers(1, 6) | st.integers(60, 90),
)
async def test_no_frame_is_over_the_limit_whatever_the_parts_hold(
    tmp_path_factory: pytest.TempPathFactory,
    outputs: list[dict[str, Any]],
    said: str,
    answer: str,
    title: str,
    looks: int,
) -> None:
    folder = tmp_path_factory.mktemp("large")
    printing(folder, "a.ipynb", *outputs, source="# " + title[:50_000])
    edit = ToolUse("insert_cell", {"after": "first", "cell_type": "code", "source": title})

    def script(request: Request) -> Reply:
        count = sum(m["role"] == "assistant" for m in request.body["messages"])
        if count == 0:
            return Reply(Think(answer[:10_000]), Text("Look. " + answer), *[LOOK] * looks, edit)
        return Reply(Text(answer or "Nothing."))

    with ModelServer() as model_server:
        model_server.default = script
        async with hosting(model_server, folder, max_output_chars=60_000, **SMALL) as host:
            session = await host.create(notebook_path="a.ipynb")
            async with measuring(host, session.id) as view, measuring(host, session.id) as other:
                await view.say(said)
                asked = (await view.event("approval.requested"))["d"]["approval"]
                newcomer_told = await other.subscribe()
                assert newcomer_told["d"]["messages"], "a message larger than a page still comes"
                await view.say(said)
                await view.ask("approval.answer", id=asked["id"], rev=1, decision="allow", scope="once")
                await view.event(lambda e: e["type"] == "turn.ended" and len(view.ended) == 2)
                view.same_story_as(await view.subscribe(page=200))
                replayed = await other.subscribe(since={"ep": view.ep, "seq": 3})
                assert replayed
                await view.ask("history", before=None, limit=200)
                assert max(view.longest, other.longest) <= SMALL["frame_bytes"]
                for message in view.view["messages"]:
                    for part in message["parts"]:
                        if part.get("truncated"):
                            whole = await host.part(session.id, message["id"], part["id"])
                            assert not whole["truncated"]
        assert model_server.refusals == []
