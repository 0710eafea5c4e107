"""A session's name, from its first exchange: a small question of its own, beside the conversation."""

from __future__ import annotations

from ..errors import ModelError
from .model import ApiMessage, Model, ModelRequest

MAX_TOKENS = 100
LONGEST = 60
_EXCERPT = 2_000
"""More of what was said does not make a better name."""

_SYSTEM = (
    "You name conversations between a user and an assistant that works in Jupyter notebooks. "
    "Answer with the name alone: three to six words, in the user's language, no quotes, no full stop."
)


async def suggest(model: Model, model_id: str, question: str, answer: str) -> str | None:
    """Return a name for the conversation; None when the model has none to offer."""
    said = f"The user asked:\n{question[:_EXCERPT]}\n\nThe assistant answered:\n{answer[:_EXCERPT]}\n\nThe name:"
    request = ModelRequest(
        model=model_id,
        system=[{"type": "text", "text": _SYSTEM}],
        tools=[],
        messages=[ApiMessage(role="user", content=[{"type": "text", "text": said}])],
    )
    try:
        return cleaned(await model.say(request, max_tokens=MAX_TOKENS))
    except ModelError:
        return None


def cleaned(said: str) -> str | None:
    """Return the name in what a model said, None when that is none."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    if not lines:
        return None
    name = " ".join(lines[0].strip("#*`\"'“”„«» ").rstrip(".").split())
    return name if 0 < len(name) <= LONGEST else None
