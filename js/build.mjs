// Builds what the wheel ships.
//
//   src/widget.ts, src/widget-loader.ts ──esbuild──► ../jupyter_agent/static/{widget.js,widget.css,widget-loader.js}
//   src/plugin.ts ──esbuild──► lib/plugin.{js,css} ──@jupyter/builder──► ../jupyter_agent/labextension/
//
// esbuild does all bundling; @jupyter/builder only wraps the result in the
// federation container that JupyterLab loads. `--dev` keeps names and source maps.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import * as esbuild from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const staticDir = join(here, "..", "jupyter_agent", "static");
const libDir = join(here, "lib");
const dev = process.argv.includes("--dev");

const labextensionDir = join(here, "..", "jupyter_agent", "labextension");
const common = {
  absWorkingDir: here,
  bundle: true,
  charset: "utf8",
  format: "esm",
  target: "es2022",
  minify: !dev,
  sourcemap: dev ? "inline" : false,
  legalComments: "none",
  logLevel: "warning",
  metafile: true,
  define: { "process.env.NODE_ENV": dev ? '"development"' : '"production"' },
};

async function buildWidget() {
  rmSync(staticDir, { recursive: true, force: true });
  mkdirSync(staticDir, { recursive: true });
  const widget = await esbuild.build({ ...common, entryPoints: ["src/widget.ts"], outdir: staticDir });
  // The loader asks for this very bundle, so that a browser may keep it for ever.
  const hash = createHash("sha256");
  for (const name of ["widget.js", "widget.css"]) hash.update(readFileSync(join(staticDir, name)));
  const BUNDLE_HASH = JSON.stringify(hash.digest("hex").slice(0, 12));
  await esbuild.build({
    ...common,
    entryPoints: ["src/widget-loader.ts"],
    outdir: staticDir,
    sourcemap: false, // it rests in notebooks
    define: { ...common.define, BUNDLE_HASH },
  });
  return widget;
}

async function buildPlugin() {
  rmSync(libDir, { recursive: true, force: true });
  return await esbuild.build({
    ...common,
    entryPoints: ["src/plugin.ts"],
    outdir: libDir,
    // JupyterLab brings these; there must be one of each in a page.
    external: ["@jupyterlab/*", "@lumino/*"],
  });
}

function wrapPlugin() {
  const require = createRequire(import.meta.url);
  const builder = join(dirname(require.resolve("@jupyter/builder")), "build-labextension.js");
  const core = require.resolve("@jupyterlab/core-meta/core.package.json");
  const flags = dev ? ["--development"] : [];
  const args = [builder, ...flags, "--core-package-file", core, here];
  try {
    execFileSync(process.execPath, args, { cwd: here, stdio: "pipe" });
  } catch (error) {
    process.stderr.write(`${error.stdout ?? ""}${error.stderr ?? ""}`);
    process.exit(1);
  }
  cpSync(join(here, "install.json"), join(labextensionDir, "install.json"));
}

/** The licences of what was bundled travel with it. */
function writeLicences(builds) {
  const inputs = builds.flatMap(({ metafile }) => Object.keys(metafile.inputs));
  const found = inputs.flatMap((path) => path.match(/node_modules\/((?:@[^/]+\/)?[^/]+)\//)?.[1] ?? []);
  const texts = [...new Set(found)].sort().map(licenceOf);
  writeFileSync(join(staticDir, "third-party-licenses.txt"), texts.join("\n\n"));
}

function licenceOf(name) {
  const dir = join(here, "node_modules", name);
  const { version, license } = JSON.parse(readFileSync(join(dir, "package.json"), "utf8"));
  const file = readdirSync(dir).find((entry) => /^licen[cs]e/i.test(entry));
  const text = file === undefined ? "" : `\n\n${readFileSync(join(dir, file), "utf8").trim()}`;
  return `=== ${name} ${version} (${license})${text}`;
}

writeLicences(await Promise.all([buildWidget(), buildPlugin()]));
wrapPlugin();
