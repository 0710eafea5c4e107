// Writes src/protocol.gen.ts from the schema that Python prints; `--check` only compares.
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { compile } from "json-schema-to-typescript";

const here = dirname(fileURLToPath(import.meta.url));
const target = join(here, "src", "protocol.gen.ts");
const banner = `// Made by \`make protocol\` from jupyter_agent/protocol. Do not edit.`;

function readSchema() {
  const python = process.env.PYTHON ?? "python3";
  const args = ["-m", "jupyter_agent.protocol"];
  return JSON.parse(execFileSync(python, args, { cwd: dirname(here), encoding: "utf8" }));
}

/** Free-form JSON is `unknown`, not an object: a tool's input may be a list or a number. */
function markUnknown(schema) {
  for (const rule of Object.values(schema.properties ?? {})) {
    const kinds = ["type", "anyOf", "allOf", "oneOf", "$ref", "const", "enum"];
    if (!kinds.some((kind) => kind in rule)) rule.tsType = "unknown";
  }
}

async function typesOf(schema) {
  Object.values(schema.$defs).forEach(markUnknown);
  return await compile(schema, "Wire", {
    additionalProperties: false,
    bannerComment: banner,
    style: { singleQuote: true, printWidth: 100 },
  });
}

const fresh = await typesOf(readSchema());
if (process.argv.includes("--check")) {
  if (readFileSync(target, "utf8").replaceAll("\r\n", "\n") !== fresh) {
    console.error("js/src/protocol.gen.ts is stale: run `make protocol`.");
    process.exit(1);
  }
} else {
  writeFileSync(target, fresh);
}
