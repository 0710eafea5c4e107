// @vitest-environment jsdom
import { beforeEach, expect, test } from "vitest";
import { SessionChoice } from "../src/lab/choice";
import { aSession } from "./example";

const sessions = [
  aSession({ id: "ses_new", notebook_path: "a.ipynb" }),
  aSession({ id: "ses_old", notebook_path: "a.ipynb" }),
];
const api = {
  ofNotebook: async (path: string | null) => sessions.filter((session) => session.notebook_path === path),
  sessionIfAny: async (id: string) => sessions.find((session) => session.id === id) ?? null,
  create: async () => aSession({ id: "ses_made" }),
};

/** A state database that keeps what `reach` lets through. */
class Lab {
  kept: unknown;
  reach = true;
  fetch = async () => this.kept as never;
  save = async (_key: string, value: unknown) => {
    if (this.reach) this.kept = value;
    return undefined as never;
  };
}

let lab: Lab;
const page = (root = "/work") => new SessionChoice(api, lab, localStorage, "/user/me/", root);

beforeEach(() => {
  localStorage.clear();
  lab = new Lab();
});

test("a choice survives a page that reloads before JupyterLab has saved it", async () => {
  lab.reach = false;
  await page().choose("a.ipynb", "ses_old");
  expect((await page().find("a.ipynb")).id).toBe("ses_old");
});

test("a later choice from another browser counts", async () => {
  await page().choose("a.ipynb", "ses_new");
  lab.kept = { "/work:a.ipynb": { id: "ses_old", at: Date.now() + 1_000 } };
  expect((await page().find("a.ipynb")).id).toBe("ses_old");
});

test("a renamed notebook keeps its choice, and the old name has none", async () => {
  const choice = page();
  await choice.choose("a.ipynb", "ses_old");
  await choice.rename("a.ipynb", "b.ipynb");
  expect((await page().find("b.ipynb")).id).toBe("ses_old");
});

test("a notebook of the same path in another folder has a choice of its own", async () => {
  await page("/work").choose("a.ipynb", "ses_old");
  expect((await page("/elsewhere").find("a.ipynb")).id).toBe("ses_new");
  expect((await page("/work").find("a.ipynb")).id).toBe("ses_old");
});

test("a choice that is gone, or put away, is no choice", async () => {
  await page().choose("a.ipynb", "ses_gone");
  expect((await page().find("a.ipynb")).id).toBe("ses_new");
  sessions.push(aSession({ id: "ses_away", archived_at: 1 }));
  await page().choose("a.ipynb", "ses_away");
  expect((await page().find("a.ipynb")).id).toBe("ses_new");
});

test("what is stored may be anything", async () => {
  localStorage.setItem("jupyter-agent:sessions:/user/me/", '{"a.ipynb": 3');
  lab.kept = { "a.ipynb": "ses_old", b: null };
  expect((await page().find("a.ipynb")).id).toBe("ses_new");
});
