// Builds what the wheel ships.
//
//   src/widget.ts, src/widget-loader.ts ──esbuild──► ../jupyter_agent/static/{widget.js,widget.css,widget-loader.js}
//   src/plugin.ts ──esbuild──► lib/plugin.{js,css} ──@jupyter/builder──► ../jupyter_agent/labextension/
//
// esbuild does all bundling; @jupyter/builder only wraps the result in the
// federation container that JupyterLab loads. `--dev` keeps names and source maps.
import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import * as esbuild from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const staticDir = join(here, "..", "jupyter_agent", "static");
const libDir = join(here, "lib");
const dev = process.argv.includes("--dev");

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
  define: { "process.env.NODE_ENV": dev ? '"development"' : '"production"' },
};

async function buildWidget() {
  rmSync(staticDir, { recursive: true, force: true });
  mkdirSync(staticDir, { recursive: true });
  await esbuild.build({
    ...common,
    entryPoints: ["src/widget.ts", "src/widget-loader.ts"],
    outdir: staticDir,
  });
}

async function buildPlugin() {
  rmSync(libDir, { recursive: true, force: true });
  await esbuild.build({
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
  cpSync(join(here, "install.json"), join(here, "..", "jupyter_agent", "labextension", "install.json"));
}

await Promise.all([buildWidget(), buildPlugin()]);
wrapPlugin();
