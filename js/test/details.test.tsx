// @vitest-environment jsdom
import { describe, expect, test, vi } from "vitest";
import type { Details } from "../src/connections/page";
import { aSession, aTask, opening, SID, USAGE } from "./example";
import { named, painted, press, show, until } from "./shown";

const PAGE = { base_url: "http://jupyter.test/", token: "t" };

const AROUND: Details = {
  session: aSession(),
  notebook_path: "penguins.ipynb",
  kernel: { name: "python3", display_name: "Python 3", state: "idle" },
  git: { root: "/home/me/penguin-study", branch: "main", commit: null },
  storage: "local",
};

/** A server that tells these, and how often it was asked. */
function tells(...answers: (Details | { error: { message: string } })[]): string[] {
  const asked: string[] = [];
  vi.stubGlobal("fetch", async (url: URL) => {
    const answer = answers[Math.min(asked.length, answers.length - 1)];
    asked.push(url.pathname);
    return new Response(JSON.stringify(answer), { status: "error" in (answer ?? {}) ? 503 : 200 });
  });
  return asked;
}

async function open(root: HTMLElement): Promise<HTMLElement> {
  named(root, "This session")?.click();
  await painted();
  named(root, "Details")?.click();
  return until(() => {
    const box = root.querySelector<HTMLElement>('[role=dialog][aria-label="Details"]');
    if (box === null) throw new Error("not yet");
    return box;
  });
}

/** What a fact says; undefined when it isn't there. */
function fact(box: HTMLElement, name: string): string | undefined {
  const term = [...box.querySelectorAll("dt")].find((dt) => dt.textContent === name);
  return term?.nextElementSibling?.textContent ?? undefined;
}

describe("details", () => {
  test("tell what is around the session and what it has used", async () => {
    const asked = tells(AROUND);
    const usage = { ...USAGE, input_tokens: 1_200, cache_read_input_tokens: 34_000, output_tokens: 560 };
    const tasks = [aTask("tsk_1", "Weigh them", "pending"), aTask("tsk_2", "Count them", "done")];
    const { root } = await show((r) => opening(r, [], { session: aSession({ usage }), tasks }), {}, PAGE);
    const box = await open(root);
    await until(() => expect(fact(box, "Branch")).toBe("main"));
    expect(fact(box, "Notebook")).toBe("penguins.ipynb");
    expect(fact(box, "Kernel")).toBe("Python 3, idle");
    expect(fact(box, "Repository")).toBe("penguin-study");
    expect(fact(box, "Mode")).toContain("Build");
    expect(fact(box, "Model")).toBe("claude-sonnet-5-5");
    expect(fact(box, "Tasks")).toBe("1 open of 2");
    expect(fact(box, "Tokens")).toBe("35,200 read (34,000 from cache), 560 written");
    expect(fact(box, "Session")).toBe(SID);
    expect(asked).toEqual([`/jupyter-agent/api/v1/sessions/${SID}/details`]);
  });

  test("follow a branch that was switched while the user was elsewhere", async () => {
    tells(AROUND, { ...AROUND, git: { root: "/home/me/penguin-study", branch: "plots", commit: null } });
    const { root } = await show((r) => opening(r, []), {}, PAGE);
    const box = await open(root);
    await until(() => expect(fact(box, "Branch")).toBe("main"));
    window.dispatchEvent(new Event("focus"));
    await until(() => expect(fact(box, "Branch")).toBe("plots"));
  });

  test("say what is not there", async () => {
    tells({ ...AROUND, kernel: null, git: null, storage: "network" });
    const { root } = await show((r) => opening(r, [], { session: aSession({ notebook_path: null }) }), {}, PAGE);
    const box = await open(root);
    await until(() => expect(fact(box, "Kernel")).toBe("not running"));
    expect(fact(box, "Notebook")).toBe("none");
    expect(fact(box, "Repository")).toBe("none");
    expect(fact(box, "Branch")).toBeUndefined();
    expect(fact(box, "Stored")).toBe("on a network disk");
    expect(fact(box, "Tokens")).toBe("none yet");
  });

  test("a detached head is a commit", async () => {
    tells({ ...AROUND, git: { root: "/work", branch: null, commit: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b" } });
    const { root } = await show((r) => opening(r, []), {}, PAGE);
    const box = await open(root);
    await until(() => expect(fact(box, "Branch")).toBe("none, at 9f86d081"));
  });

  test("names that are markup are shown, not obeyed", async () => {
    const evil = "<img src=x onerror=alert(1)>";
    tells({ ...AROUND, git: { root: `/home/${evil}`, branch: evil, commit: null } });
    const { root } = await show(
      (r) => opening(r, [], { session: aSession({ notebook_path: `${evil}.ipynb` }) }),
      {},
      PAGE,
    );
    const box = await open(root);
    await until(() => expect(fact(box, "Branch")).toBe(evil));
    expect(box.querySelector("img")).toBeNull();
  });

  test("without a way to the server they tell what the session knows", async () => {
    const asked = tells(AROUND);
    const { root } = await show((r) => opening(r, []));
    const box = await open(root);
    expect(fact(box, "Mode")).toContain("Build");
    expect(fact(box, "Kernel")).toBeUndefined();
    expect(asked).toEqual([]);
  });

  test("a refusal is a sentence, and the rest stays", async () => {
    tells({ error: { message: "The session is being put back." } });
    const { root } = await show((r) => opening(r, []), {}, PAGE);
    const box = await open(root);
    await until(() => expect(box.textContent).toContain("being put back"));
    expect(fact(box, "Mode")).toContain("Build");
  });

  test("Escape closes them and the keyboard is where it was", async () => {
    tells(AROUND);
    const { root } = await show((r) => opening(r, []), {}, PAGE);
    const box = await open(root);
    expect(document.activeElement).toBe(box);
    press(box, "Escape");
    await until(() => expect(root.querySelector("[role=dialog]")).toBeNull());
    expect(document.activeElement).toBe(named(root, "This session"));
  });
});
