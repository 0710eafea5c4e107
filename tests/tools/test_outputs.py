from __future__ import annotations

import base64
from typing import Any

from jupyter_agent.protocol.content import DisplayImage
from jupyter_agent.tools.outputs import clip, plain_text, show


def png(width: int = 2, height: int = 3, size: int = 100) -> str:
    raw = b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + width.to_bytes(4, "big") + height.to_bytes(4, "big")
    return base64.b64encode(raw.ljust(size, b"\0")).decode()


def display(**data: Any) -> dict[str, Any]:
    return {"output_type": "display_data", "data": {k.replace("_", "/", 1): v for k, v in data.items()}, "metadata": {}}


def shown(*outputs: dict[str, Any], max_chars: int = 1000, max_image_bytes: int = 1000):
    return show(list(outputs), max_chars=max_chars, max_image_bytes=max_image_bytes)


def test_colours_go_and_a_progress_bar_is_left_at_its_end():
    assert plain_text("\x1b[31mred\x1b[0m \x1b]8;;http://x\x07link\x1b]8;;\x07") == "red link"
    assert plain_text("10%\r50%\r100%\ndone") == "100%\ndone"


def test_what_is_cut_is_counted_exactly():
    text = "a" * 60 + "\n" * 10 + "b" * 30
    cut = clip(text, 50)
    assert cut.startswith("a" * 33 + "\n[… 50 characters (10 lines) left out here …]\n")
    assert cut.endswith("b" * 17)
    assert clip(text, 100) == text


def test_an_image_is_seen_by_the_model_and_the_eye():
    result = shown(display(image_png=png(), text_plain="<Figure>"))
    assert result.text == "[image/png, 2×3, shown below]"
    assert len(result.images) == 1
    assert isinstance(result.display[0], DisplayImage)


def test_an_image_that_the_api_would_refuse_is_told_in_words():
    assert "too large" in shown(display(image_png=png(size=2000))).text
    wide = shown(display(image_png=png(width=9000)))
    assert ("too many pixels" in wide.text, wide.images) == (True, [])
    assert "something else" in shown(display(image_png=base64.b64encode(b"GIF89a").decode())).text
    assert "could not be decoded" in shown(display(image_png="?")).text


def test_only_so_many_images_are_sent():
    result = shown(*[display(image_png=png())] * 12)
    assert len(result.images) == 8
    assert "left out" in result.text


def test_svg_is_for_the_eye_alone():
    result = shown(display(**{"image_svg+xml": "<svg/>", "text_plain": "a drawing"}))
    assert result.images == []
    assert "a drawing" in result.text
    assert isinstance(result.display[0], DisplayImage)


def test_text_is_taken_before_html_and_html_alone_is_named():
    assert shown(display(text_html="<b>1</b>", text_plain="one")).text == "one"
    assert shown(display(text_html="<b>1</b>")).text == "[text/html output, 8 characters, not shown]"


def test_outputs_keep_their_order():
    stream = {"output_type": "stream", "name": "stdout", "text": ["first\n"]}
    result = shown(stream, display(image_png=png()), {**stream, "text": "last\n"})
    assert result.text.splitlines() == ["first", "[image/png, 2×3, shown below]", "last"]
    assert [type(d).__name__ for d in result.display] == ["DisplayText", "DisplayImage", "DisplayText"]
