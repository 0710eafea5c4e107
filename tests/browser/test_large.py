"""Two megabytes of output, and five of message: the panel shows what fits, and has a way to the rest."""

from __future__ import annotations

from playwright.async_api import WebSocket, expect

from tests.browser.conftest import Script
from tests.browser.lab import START_MS, Lab, LabPage, code
from tests.model_server import Reply, Request, Text, ToolUse

HASH = r"\b([0-9a-f]{64})\b"
FRAME_BYTES = 1 << 20
PRINTS = "print('\\n'.join(f'line {n} ' + 'x' * 60 for n in range(28_000)))\nprint('the very ' + 'end')"


async def test_a_huge_output_comes_in_small_frames_and_all_of_it_when_asked_for(
    page: LabPage, lab: Lab, script: Script
) -> None:
    sizes: list[int] = []

    def listen(socket: WebSocket) -> None:
        if "/jupyter-agent/" in socket.url:
            socket.on("framereceived", lambda payload: sizes.append(len(payload)))

    page.page.on("websocket", listen)
    word = script(
        [
            Reply(ToolUse("read_cell", {"cell_id": "first"})),
            lambda request: Reply(ToolUse("run_cell", {"cell_id": "first", "base_hash": request.find(HASH)})),
            Reply(Text("Long.")),
        ]
    )
    await page.open(lab.write("huge.ipynb", [code(PRINTS, "first")]))
    side = await page.open_panel()
    await page.ask(f"Run it, {word}")
    await side.get_by_role("button", name="Allow", exact=True).click()
    await expect(side).to_contain_text("Long.", timeout=START_MS)
    card = side.locator('[data-tool="run_cell"]')
    await card.get_by_role("button", expanded=False).click()
    await expect(card).to_contain_text("characters left out here")
    await expect(card).not_to_contain_text("line 14000 ")
    await page.picture("cut-output", side)
    await card.get_by_role("button", name="Show all").click()
    await expect(card).to_contain_text("line 14000 ", timeout=START_MS)
    await expect(card).to_contain_text("the very end")
    await expect(card.get_by_role("button", name="Show all")).to_have_count(0)
    assert sizes
    assert max(sizes) <= FRAME_BYTES
    await page.reload()
    await expect(page.side.locator('[data-tool="run_cell"]')).to_be_visible(timeout=START_MS)
    assert max(sizes) <= FRAME_BYTES


async def test_a_pasted_book_goes_up_as_a_file_and_the_model_reads_its_beginning(
    page: LabPage, lab: Lab, script: Script
) -> None:
    got: list[str] = []

    def read(request: Request) -> Reply:
        got.extend(str(block.get("text", "")) for block in request.body["messages"][-1]["content"])
        return Reply(Text("Read."))

    word = script([read])
    await page.open(lab.write("book.ipynb", [code("x = 1", "first")]))
    side = await page.open_panel()
    await page.ask(f"{word} " + "words " * 850_000)
    await expect(side).to_contain_text("Read.", timeout=START_MS)
    await expect(side).to_contain_text("message.txt")
    await expect(side.locator('[data-role="user"] [data-part="file"]')).to_contain_text("4.9 MB")
    await page.picture("attached-message", side)
    file = next(text for text in got if text.startswith("<file name='message.txt'>"))
    assert file.count("words") > 30_000
    assert "characters of this file are left out" in file
