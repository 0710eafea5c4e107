"""Titles: the first words at once, the model's after the first exchange, the user's above all."""

from __future__ import annotations

from pathlib import Path

import pytest

from jupyter_agent.agent.demo import demo_model
from jupyter_agent.agent.titling import cleaned, suggest
from jupyter_agent.session import naming
from jupyter_agent.settings import Settings
from tests.model_server import Gate, HttpError, ModelServer, Reply, Text
from tests.session.test_host import hosting, until, viewing


async def test_the_model_names_a_session_after_its_first_exchange(model_server: ModelServer, tmp_path: Path) -> None:
    model_server.script([Reply(Text("Use groupby.")), Reply(Text("You are welcome."))])
    model_server.plain_reply = '"Means by Group"\nIs that good?'
    async with hosting(model_server, tmp_path, auto_title=True) as host:
        session = await host.create()
        async with viewing(host, session.id) as view:
            await view.say("how do I get means by group, please?")
            await view.event("session.updated", patch={"title": "how do I get means by group, please?"})
            await view.event("session.updated", patch={"title": "Means by Group"})
            await view.say("thanks")
            await view.event(lambda e: e["type"] == "turn.ended" and len(view.ended) == 2)
            view.same_story_as(await view.subscribe())
        await until(lambda: host.awake(session.id) is None)
    asked = [request for request in model_server.requests if not request.body.get("stream")]
    assert len(asked) == 1
    assert "tools" not in asked[0].body
    assert "groupby" in str(asked[0].body)


async def test_a_title_of_the_user_stays(model_server: ModelServer, tmp_path: Path) -> None:
    gate = Gate()
    model_server.script([Reply(Text("Half ", gate, "done")), Reply(Text("Yes."))])
    async with hosting(model_server, tmp_path, auto_title=True) as host:
        renamed, named = await host.create(), await host.create(title="Mine")
        async with viewing(host, renamed.id) as view:
            await view.say("hello")
            await gate.until_reached()
            await view.ask("session.set", title="My own")
            gate.open()
            await view.event("turn.ended")
        async with viewing(host, named.id) as view:
            await view.say("hello")
            await view.event("turn.ended")
        await until(lambda: host.awake(renamed.id) is None and host.awake(named.id) is None)
        assert (await host.session(renamed.id)).title == "My own"
        assert (await host.session(named.id)).title == "Mine"
    assert all(request.body.get("stream") for request in model_server.requests)


async def test_a_session_that_could_not_be_named_keeps_its_first_words(
    model_server: ModelServer, tmp_path: Path
) -> None:
    model_server.script([Reply(Text("Yes."))])
    model_server.plain_reply = "x" * 200
    async with hosting(model_server, tmp_path, auto_title=True) as host:
        session = await host.create()
        async with viewing(host, session.id) as view:
            await view.say("first words")
            await view.event("turn.ended")
        await until(lambda: host.awake(session.id) is None)
        assert (await host.session(session.id)).title == "first words"


@pytest.mark.parametrize("how", ["refuses", "is out of reach"])
async def test_a_model_that_gives_no_name_is_not_heard_of(how: str, model_server: ModelServer, tmp_path: Path) -> None:
    model_server.script([Reply(Text("Yes."))])
    if how == "refuses":
        model_server.plain_reply, model_server.plain_stop = "I cannot name this", "refusal"
    else:
        model_server.plain_error = HttpError(529, "overloaded_error", "Overloaded")
    async with hosting(model_server, tmp_path, auto_title=True) as host:
        session = await host.create()
        async with viewing(host, session.id) as view:
            await view.say("first words")
            await view.event("turn.ended", outcome="completed")
            await until(lambda: host.awake(session.id) is None)
            assert (await host.session(session.id)).title == "first words"
            assert view.of("notice", "error") == []
    assert len([request for request in model_server.requests if not request.body.get("stream")]) == 1


async def test_a_name_that_does_not_come_is_not_waited_for(
    model_server: ModelServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(naming, "PATIENCE_S", 2.0)
    model_server.script([Reply(Text("Yes."))])
    model_server.plain_gate = gate = Gate()
    async with hosting(model_server, tmp_path, auto_title=True) as host:
        session = await host.create()
        async with viewing(host, session.id) as view:
            await view.say("first words")
            await view.event("turn.ended")
            await gate.until_reached()
            await until(lambda: host.awake(session.id) is None)
        assert (await host.session(session.id)).title == "first words"
    gate.open()


async def test_a_title_that_the_user_gave_while_the_model_thought_of_one_stays(
    model_server: ModelServer, tmp_path: Path
) -> None:
    model_server.script([Reply(Text("Yes."))])
    model_server.plain_gate = gate = Gate()
    async with hosting(model_server, tmp_path, auto_title=True) as host:
        session = await host.create()
        async with viewing(host, session.id) as view:
            await view.say("first words")
            await view.event("turn.ended")
            await gate.until_reached()
            await view.ask("session.set", title="My own")
            gate.open()
            await until(lambda: host.awake(session.id) is None)
        assert (await host.session(session.id)).title == "My own"


async def test_a_server_that_ends_waits_for_no_name_and_the_next_one_asks_again(
    model_server: ModelServer, tmp_path: Path
) -> None:
    model_server.script([Reply(Text("Use groupby.")), Reply(Text("You are welcome."))])
    model_server.plain_gate = gate = Gate()
    async with hosting(model_server, tmp_path, auto_title=True) as host:
        session = await host.create()
        async with viewing(host, session.id) as view:
            await view.say("first words")
            await view.event("turn.ended")
            await gate.until_reached()
            view.same_story_as(await view.subscribe())
    model_server.plain_gate = None
    async with hosting(model_server, tmp_path, auto_title=True) as host:
        assert (await host.session(session.id)).title == "first words"
        async with viewing(host, session.id) as view:
            await view.say("thanks")
            await view.event("session.updated", patch={"title": "A scripted title"})
        await until(lambda: host.awake(session.id) is None)
        assert (await host.session(session.id)).title == "A scripted title"
    gate.open()
    # The conversation knows nothing of all that.
    first, again = (request.body for request in model_server.requests if request.body.get("stream"))
    assert (again["system"], again["tools"]) == (first["system"], first["tools"])
    assert again["messages"][: len(first["messages"])] == first["messages"]
    assert [message["role"] for message in again["messages"]] == ["user", "assistant", "user"]


async def test_the_demo_names_a_session_too(tmp_path: Path) -> None:
    model = demo_model(Settings(data_dir=tmp_path), tokens_per_s=0)
    assert await suggest(model, "demo", "plot the prices, by city!", "Here it is.") == "Plot the prices by city"
    await model.close()


def test_a_name_is_one_short_line() -> None:
    assert cleaned("  **Means by group.**\n\nHope this helps") == "Means by group"
    for none in ("", "\n", '""', "y" * 61):
        assert cleaned(none) is None
