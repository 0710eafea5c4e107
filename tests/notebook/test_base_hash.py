from __future__ import annotations

import json
from pathlib import Path

from jupyter_agent.notebook.ports import base_hash

VECTORS = json.loads((Path(__file__).parent.parent / "golden" / "base_hash.json").read_text(encoding="utf-8"))


def test_a_cells_hash_is_the_one_that_typescript_computes():
    assert [base_hash(v["cell_type"], v["source"]) for v in VECTORS] == [v["hash"] for v in VECTORS]


def test_type_and_every_blank_count():
    assert base_hash("code", "a") != base_hash("markdown", "a")
    assert base_hash("code", "a") != base_hash("code", "a\n")
