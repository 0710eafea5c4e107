import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { baseHash, sha256 } from "../src/bridge/hash";

const vectors = JSON.parse(readFileSync(new URL("../../tests/golden/base_hash.json", import.meta.url), "utf8")) as {
  cell_type: string;
  source: string;
  hash: string;
}[];

test("a cell's hash is the one that Python computes", () => {
  expect(vectors.map(({ cell_type, source }) => baseHash(cell_type, source))).toEqual(vectors.map(({ hash }) => hash));
});

test("texts around the end of a block are hashed whole", async () => {
  for (const length of [0, 54, 55, 56, 63, 64, 65, 119, 120, 1000]) {
    const text = "x".repeat(length);
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)));
    expect(sha256(text)).toBe(Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join(""));
  }
});
