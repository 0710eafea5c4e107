"""What the model, a notebook or a file name says is shown, never run, and fetches nothing."""

from __future__ import annotations

import os

import pytest
from playwright.async_api import Locator, expect

from tests.browser.conftest import Script
from tests.browser.lab import WIDGET, Lab, LabPage, code
from tests.browser.test_job import HASH
from tests.model_server import Reply, Think, ToolUse

AWAY = "https://hostile.example"
RUNS = "window.hacked=1"

HOSTILE = f"""Look: <img src="{AWAY}/img.png"> <img src=x onerror="{RUNS}"> <script>{RUNS}</script>
<svg onload="{RUNS}"><image href="{AWAY}/svg.png"/><use href="{AWAY}/use.svg#a"/></svg>
<svg><style>@import url({AWAY}/svg.css)</style></svg>
<iframe src="{AWAY}/frame" srcdoc="<script>parent.hacked=1</script>"></iframe>
<object data="{AWAY}/object"></object><embed src="{AWAY}/embed"><base href="{AWAY}/">
<link rel="stylesheet" href="{AWAY}/link.css"><style>body {{ background: url({AWAY}/style.png) }}</style>
<div style="background: url({AWAY}/div.png); position: fixed; inset: 0">over everything</div>
<video src="{AWAY}/v.mp4" poster="{AWAY}/poster.png"></video><audio src="{AWAY}/a.mp3" autoplay></audio>
<input type="image" src="{AWAY}/input.png"><details open ontoggle="{RUNS}">d</details>
<math><mtext><table><mglyph><style><img src=x onerror="{RUNS}"></style></mglyph></table></mtext></math>
<form action="{AWAY}"><button formaction="javascript:{RUNS}">Press</button></form>
<meta http-equiv="refresh" content="0;url={AWAY}">

![remote]({AWAY}/markdown.png) ![protocol-less](//hostile.example/bare.png) ![a file](files/hostile-probe.png)
[run](javascript:{RUNS}) [data](data:text/html,<script>{RUNS}</script>) <javascript:{RUNS}>

```html
<img src="{AWAY}/code.png" onerror="{RUNS}">
```

The end of it."""

HARMFUL = """panel => [...panel.querySelectorAll("*")].flatMap(element => {
    const found = [];
    const allowed = element.tagName === "svg" || element.closest("svg.jp-agent-icon");
    if (/^(script|iframe|object|embed|link|style|base|meta|form|video|audio|math|use)$/i.test(element.tagName))
        found.push(element.tagName);
    for (const { name, value } of element.attributes) {
        if (name.startsWith("on") || /^\\s*javascript:/i.test(value)) found.push(`${element.tagName} ${name}`);
        if (name === "style" && /url\\(|fixed/.test(value)) found.push(`${element.tagName} style`);
        if (/^(src|srcset|poster|data|action|formaction|xlink:href)$/.test(name) && !value.startsWith("data:image/"))
            found.push(`${element.tagName} ${name}=${value}`);
    }
    return allowed ? [] : found;
})"""


async def open_all(panel: Locator) -> None:
    """Open every card, so that all there is to see is in the page."""
    closed = panel.locator('.jp-agent-line[aria-expanded="false"]')
    while await closed.count() > 0:
        await closed.first.click()


async def assert_harmless(page: LabPage, panel: Locator) -> None:
    assert await panel.evaluate(HARMFUL) == []
    assert await page.page.evaluate("window.hacked ?? null") is None
    assert [url for url in page.requests if "hostile" in url] == []


@pytest.mark.parametrize("surface", ["side", "widget"])
async def test_a_hostile_answer_runs_nothing_and_fetches_nothing(
    page: LabPage, lab: Lab, script: Script, surface: str
) -> None:
    word = script(
        [
            Reply(Think(HOSTILE), HOSTILE, ToolUse("inspect_variable", {"name": HOSTILE})),
            Reply(ToolUse("insert_cell", {"source": HOSTILE, "cell_type": "markdown"})),
            Reply(HOSTILE),
        ]
    )
    await page.open(lab.write(f"tame-{surface}.ipynb", [code(WIDGET, "panel")]))
    panel = await (page.open_panel() if surface == "side" else page.show_widget())
    await page.ask(f"{word} {HOSTILE}", panel)
    card = await page.question("Insert this cell?", panel)
    await open_all(panel)
    await assert_harmless(page, panel)
    await page.picture(f"hostile-{surface}")
    await card.get_by_role("button", name="Deny").click()
    await expect(panel.locator('[data-role="assistant"]').last).to_contain_text("The end of it.")
    await page.ready(panel)
    await open_all(panel)
    await expect(panel.locator('[data-part="reasoning"]')).to_contain_text("The end of it.")
    await assert_harmless(page, panel)


async def test_hostile_links_do_nothing_when_they_are_pressed(page: LabPage, lab: Lab, script: Script) -> None:
    word = script([Reply(f"[press](javascript:{RUNS}) and [go]({AWAY}/page)")])
    await page.open(lab.write("links.ipynb", [code("x = 1", "first")]))
    side = await page.open_panel()
    await page.ask(f"Links, {word}")
    await expect(side).to_contain_text("press")
    await side.get_by_text("press", exact=True).click()
    assert await page.page.evaluate("window.hacked ?? null") is None
    link = side.get_by_role("link", name="go")
    await expect(link).to_have_attribute("target", "_blank")
    await expect(link).to_have_attribute("rel", "noopener noreferrer")
    await expect(link).to_contain_text("hostile.example")
    await assert_harmless(page, side)


async def test_hostile_output_and_a_hostile_file_name_are_only_shown(page: LabPage, lab: Lab, script: Script) -> None:
    name = "it's &amp; ‮.ipynb" if os.name == "nt" else f"<img src=x onerror='{RUNS}'>.ipynb"
    source = (
        "from IPython.display import HTML, SVG, Markdown, display\n"
        f"hostile = {HOSTILE!r}\n"
        "display(HTML(hostile), Markdown(hostile))\n"
        "print(hostile)\n"
        "raise ValueError(hostile)"
    )
    lab.write(name, [code(source, "bad")])
    word = script(
        [
            Reply(ToolUse("read_cell", {"path": name, "cell_id": "bad"})),
            lambda request: Reply(
                ToolUse("run_cell", {"path": name, "cell_id": "bad", "base_hash": request.find(HASH)}),
            ),
            Reply(ToolUse("read_cell", {"path": name, "cell_id": "bad"}), ToolUse("read_notebook", {"path": name})),
            Reply("All read."),
        ]
    )
    await page.open(lab.write("beside.ipynb", [code("x = 1", "first")]))
    side = await page.open_panel()
    await page.ask(f"Run it, {word}")
    await page.allow("Run this cell?")
    await expect(side).to_contain_text("All read.")
    await page.ready(side)
    await open_all(side)
    await assert_harmless(page, side)
    await page.picture("hostile-output")
    await lab.server.new_session(notebook_path=name, title=HOSTILE[:200])
    await side.get_by_role("button", name="Sessions").click()
    await expect(side.get_by_role("dialog", name="Sessions")).to_contain_text("<img")
    await assert_harmless(page, side)
