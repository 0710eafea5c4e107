// @vitest-environment jsdom
import { signal } from "@preact/signals";
import { beforeEach, expect, test } from "vitest";
import { keepDraft } from "../src/draft";
import type { SentFile } from "../src/protocol.gen";

const FILE: SentFile = { type: "file", sha256: "0".repeat(64), mime: "text/plain", name: "a.txt", bytes: 3 };

beforeEach(() => sessionStorage.clear());

function panel(session_id: string | null) {
  const id = signal(session_id);
  const draft = { text: signal(""), files: signal<readonly SentFile[]>([]) };
  return { id, ...draft, close: keepDraft(id, draft) };
}

test("what was half-typed is there again when the session is shown again, with its files", () => {
  const first = panel("ses_1");
  first.text.value = "half a thou";
  first.files.value = [FILE];
  first.close();
  expect(panel("ses_2").text.value).toBe("");
  const again = panel("ses_1");
  expect([again.text.value, again.files.value]).toEqual(["half a thou", [FILE]]);
});

test("what was said is not there again", () => {
  const first = panel("ses_1");
  first.text.value = "hello";
  first.text.value = "";
  first.close();
  expect(panel("ses_1").text.value).toBe("");
  expect(sessionStorage.length).toBe(0);
});

test("what is typed before the session has a name is kept, and not written over", () => {
  const earlier = panel("ses_1");
  earlier.text.value = "old";
  earlier.close();
  const later = panel(null);
  later.text.value = "new";
  later.id.value = "ses_1";
  expect(later.text.value).toBe("new");
  later.text.value = "newer";
  later.close();
  expect(panel("ses_1").text.value).toBe("newer");
});

test("what another program left in the storage harms nothing", () => {
  for (const left of ["{", "null", '{"text":1,"files":[]}', '{"text":"x"}']) {
    sessionStorage.setItem("jupyter_agent:draft:ses_1", left);
    expect(panel("ses_1").text.value).toBe("");
  }
});
