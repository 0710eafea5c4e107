// @vitest-environment jsdom
import { beforeEach, expect, test } from "vitest";
import { SessionChoice } from "../src/lab/choice";
import { aSession } from "./example";

const sessions = [
  aSession({ id: "ses_new", notebook_path: "a.ipynb" }),
  aSession({ id: "ses_old", notebook_path: "a.ipynb" }),
];
const api = { sessions: async () => sessions, create: async () => aSession({ id: "ses_made" }) };

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
const page = () => new SessionChoice(api, lab, localStorage, "/user/me/");

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
  lab.kept = { "a.ipynb": { id: "ses_old", at: Date.now() + 1_000 } };
  expect((await page().find("a.ipynb")).id).toBe("ses_old");
});

test("a renamed notebook keeps its choice, and the old name has none", async () => {
  const choice = page();
  await choice.choose("a.ipynb", "ses_old");
  await choice.rename("a.ipynb", "b.ipynb");
  expect((await page().find("b.ipynb")).id).toBe("ses_old");
});

test("what is stored may be anything", async () => {
  localStorage.setItem("jupyter-agent:sessions:/user/me/", '{"a.ipynb": 3');
  lab.kept = { "a.ipynb": "ses_old", b: null };
  expect((await page().find("a.ipynb")).id).toBe("ses_new");
});
