"""Two servers on one data directory: one owns a session, the other shows it, and may take it over."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from jupyter_agent.errors import StoreLocked
from jupyter_agent.session.host import SessionHost
from jupyter_agent.store import owning
from tests.model_server import Gate, ModelServer, Reply, Text
from tests.session.test_host import hosting, until, viewing

pytestmark = pytest.mark.timeout(60)


def folder_of(tmp_path: Path, session_id: str) -> Path:
    return tmp_path / "data" / "sessions" / session_id


async def talked(model_server: ModelServer, host: SessionHost) -> str:
    """A session with one answered message."""
    model_server.script(["Hello yourself."])
    session = await host.create(title="Shared")
    async with viewing(host, session.id) as view:
        await view.say("hello")
        await view.event("turn.ended", outcome="completed")
    return session.id


async def test_a_second_server_shows_the_session_and_refuses_commands(
    model_server: ModelServer, tmp_path: Path
) -> None:
    async with hosting(model_server, tmp_path, idle_s=60.0) as first, hosting(model_server, tmp_path) as second:
        session_id = await talked(model_server, first)
        async with viewing(second, session_id) as view:
            error = (await view.event("error"))["d"]
            assert error["code"] == "open_elsewhere"
            assert f"process {os.getpid()}" in error["message"]
            assert "Take it over" in error["hint"]
            assert view.text == "Hello yourself."
            ack = await view.ask("message.send", id="m2", parts=[{"type": "text", "text": "me too"}])
            assert (ack["status"], ack["error"]["code"]) == ("rejected", "open_elsewhere")
            history = await view.ask("history", limit=10)
            assert len(history["result"]["messages"]) == 2
        assert (await second.session(session_id)).title == "Shared"
        assert len((await second.messages(session_id))[0]) == 2
        assert [found.id for found in (await second.list_sessions())[0]] == [session_id]


async def test_the_second_server_takes_a_session_over_and_the_first_shows_it_from_then_on(
    model_server: ModelServer, tmp_path: Path
) -> None:
    one, other = hosting(model_server, tmp_path, idle_s=60.0), hosting(model_server, tmp_path, idle_s=60.0)
    async with one as first, other as second:
        session_id = await talked(model_server, first)
        async with viewing(first, session_id) as there, viewing(second, session_id) as here:
            await here.event("error", code="open_elsewhere")
            await second.take_over(session_id)
            await there.event("error", code="open_elsewhere")
            await there.event("resync")
            await here.event("resync")
            here.same_story_as(await here.subscribe())
            model_server.script(["Mine now."])
            await here.say("whose are you?")
            await here.event("turn.ended", outcome="completed")
            there.same_story_as(await there.subscribe())
            assert there.text == "Mine now."
            ack = await there.ask("message.send", id="m3", parts=[{"type": "text", "text": "and me?"}])
            assert ack["error"]["code"] == "open_elsewhere"
            heard = len(there.events)
            await first.take_over(session_id)
            model_server.script(["Yours again."])
            await there.event("resync", after=heard)
            await there.subscribe()
            heard = len(there.events)
            await there.say("and now?")
            await there.event("turn.ended", after=heard, outcome="completed")
            assert there.text == "Yours again."
    assert model_server.refusals == []


async def test_taking_over_in_the_middle_of_an_answer_loses_none_of_it(
    model_server: ModelServer, tmp_path: Path
) -> None:
    gate = Gate()
    model_server.script([Reply(Text("First half,", gate, " second half."))])
    async with hosting(model_server, tmp_path, idle_s=60.0) as first, hosting(model_server, tmp_path) as second:
        session = await first.create()
        async with viewing(first, session.id) as there:
            await there.say("talk")
            await there.reads("First half,")
            shown = there.text
            await second.take_over(session.id)
            gate.open()
            async with viewing(second, session.id) as here:
                assert here.view["messages"][1]["parts"][0]["text"].startswith(shown)
                assert here.of("error") == []


async def test_taking_over_what_is_free_or_ones_own_is_no_error(model_server: ModelServer, tmp_path: Path) -> None:
    async with hosting(model_server, tmp_path) as host:
        session = await host.create(title="Free")
        assert (await host.take_over(session.id)).title == "Free"
        assert (await host.take_over(session.id)).title == "Free"
        assert not (folder_of(tmp_path, session.id) / owning.RELEASE_NAME).exists()


async def test_a_sleeping_session_has_no_owner(model_server: ModelServer, tmp_path: Path) -> None:
    async with hosting(model_server, tmp_path) as host:
        session = await host.create()
        folder = folder_of(tmp_path, session.id)
        await host.get(session.id)
        owner = owning.read_owner(folder)
        assert owner is not None
        assert (owner.pid, owner.server_id) == (os.getpid(), host.server.server_id)
        await until(lambda: owning.read_owner(folder) is None)


async def test_a_request_to_let_go_that_was_left_behind_keeps_nobody_away(
    model_server: ModelServer, tmp_path: Path
) -> None:
    async with hosting(model_server, tmp_path) as host:
        session = await host.create()
        folder = folder_of(tmp_path, session.id)
        owning.request(folder, owning.Server())
        with pytest.raises(StoreLocked):
            await host.get(session.id)
        long_ago = time.time() - 60
        os.utime(folder / owning.RELEASE_NAME, (long_ago, long_ago))
        await host.get(session.id)


async def test_on_a_network_a_living_owner_is_known_by_its_heartbeat(tmp_path: Path) -> None:
    """As if its lock had been lost, as networks lose them."""
    tmp_path.joinpath("session.lock").touch()
    there, here = owning.Server(), owning.Server()
    theirs = owning.claim(tmp_path, there, "network")
    theirs.announce(7)
    owner = tmp_path / owning.OWNER_NAME
    owner.write_text(
        owner.read_text().replace(f'"pid": {os.getpid()}', '"pid": 999999').replace('"host": "', '"host": "far-')
    )
    theirs.release()
    assert owner.exists()
    with pytest.raises(StoreLocked, match="on far-"):
        owning.claim(tmp_path, here, "network")
    silent = time.time() - owning.SILENT_S - 1
    os.utime(owner, (silent, silent))
    owning.claim(tmp_path, here, "network").release()


async def test_on_a_network_a_dead_owner_of_this_machine_is_not_waited_for(tmp_path: Path) -> None:
    theirs = owning.claim(tmp_path, owning.Server(), "network")
    theirs.announce(7)
    owner = tmp_path / owning.OWNER_NAME
    owner.write_text(owner.read_text().replace(f'"pid": {os.getpid()}', '"pid": 999999'))
    theirs.release()
    owning.claim(tmp_path, owning.Server(), "network").release()


async def test_on_a_network_a_deposed_owner_notices_before_it_writes(tmp_path: Path) -> None:
    mine = owning.claim(tmp_path, owning.Server(), "network")
    mine.announce(1)
    mine.check()
    owner = tmp_path / owning.OWNER_NAME
    owner.write_text(owner.read_text().replace('"gen": 1', '"gen": 2'))
    with pytest.raises(StoreLocked):
        mine.check()
    mine.release()
    assert owner.exists(), "the new owner's word stays"
