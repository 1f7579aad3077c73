/**
 * Packs the npm package, installs it into an empty Vite project in a temporary folder, and uses it
 * in Chromium: with Vite's development server, and as builds by Vite, webpack and esbuild under the
 * README's Content-Security-Policy. Each page must get the typed error for a missing checkpoint,
 * and a worker must run. The README's examples and the React example must compile.
 *
 * Needs a built package (`npm run build -w tequio`) and the generated wasm. Exits non-zero on the
 * first failure.
 */
import { execFileSync } from "node:child_process";
import {
  copyFileSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { basename, extname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import * as esbuild from "esbuild";
import webpack from "webpack";
import { launch } from "./chromium.mjs";

const web = fileURLToPath(new URL("..", import.meta.url));
const packageFolder = join(web, "package");
const { devDependencies } = JSON.parse(readFileSync(join(web, "package.json"), "utf8"));
const readme = readFileSync(join(packageFolder, "README.md"), "utf8");
const policy = readme.match(/^ *(script-src .*)$/m)?.[1];
if (!policy) throw new Error("the README names no Content-Security-Policy");
const examples = [...readme.matchAll(/```ts\n([\s\S]*?)```/g)].map(([, code]) => code);
if (examples.length === 0) throw new Error("the README has no example");

for (const needed of ["dist/index.js", "wasm/tequio_wasm.js", "wasm/tequio_wasm_bg.wasm"]) {
  if (!existsSync(join(packageFolder, needed))) {
    throw new Error(`web/package/${needed} is missing: \`cargo xtask test --only web\` builds it`);
  }
}

/** The README's example for esbuild. */
const ESBUILD_URLS =
  readme.match(/```ts\n(import wasmUrl[\s\S]*?)```/)?.[1] ?? missing("an example for esbuild");

function missing(what) {
  throw new Error(`the README has no ${what}`);
}

/** The page's script; `urls` declares `URLS`, the code's URLs for bundlers that need them. */
const main = (urls) => `
import { connect, benchCompute, CheckpointError, TequioError } from "tequio";
${urls}
const result: Record<string, unknown> = {};
try {
  // @ts-expect-error a checkpoint is required
  await connect({ relays: [] });
} catch (error) {
  if (error instanceof TequioError) result.code = error.code;
  result.typed = error instanceof CheckpointError;
}
try {
  result.kernel = (await benchCompute(64, 20, URLS)).kernel;
} catch (error) {
  result.kernelError = String(error);
}
document.body.dataset.result = JSON.stringify(result);
`;

/** A page with one module script. */
function html(script) {
  const body = `<script type="module" src="${script}"></script>`;
  return `<!doctype html><title>empty</title><body>${body}</body>`;
}

function run(command, args, cwd) {
  try {
    return execFileSync(command, args, {
      cwd,
      stdio: ["ignore", "pipe", "inherit"],
      encoding: "utf8",
    });
  } catch (error) {
    throw new Error(`${command} ${args.join(" ")}: ${error.message}\n${error.stdout}`);
  }
}
const step = (text) => console.log(`vite-install: ${text}`);
const project = mkdtempSync(join(tmpdir(), "tequio-install-"));
let browser;
try {
  step("npm pack");
  const [{ filename, files }] = JSON.parse(
    run("npm", ["pack", "--json", "--pack-destination", project], packageFolder),
  );
  const names = files.map(({ path }) => path);
  const required = [
    "dist/index.js",
    "dist/index.js.map",
    "dist/index.d.ts",
    "dist/worker.js",
    "wasm-url.d.ts",
    "wasm/tequio_wasm_bg.wasm",
    "README.md",
    "LICENSE",
  ];
  for (const needed of required) {
    if (!names.includes(needed)) throw new Error(`the package lacks ${needed}`);
  }
  const map = JSON.parse(readFileSync(join(packageFolder, "dist/node.js.map"), "utf8"));
  if (!map.sourcesContent?.[0]?.includes("class TequioNode")) {
    throw new Error("the source maps carry no sources");
  }

  step("npm install into an empty Vite project");
  writeFileSync(
    join(project, "package.json"),
    JSON.stringify({ name: "empty", private: true, type: "module" }),
  );
  run("npm", ["install", "--no-audit", "--no-fund", "--prefer-offline", `./${filename}`], project);
  run(
    "npm",
    [
      "install",
      "--no-audit",
      "--no-fund",
      "--prefer-offline",
      "-D",
      `vite@${devDependencies.vite}`,
      `typescript@${devDependencies.typescript}`,
      ...["react", "@types/react"].map((name) => `${name}@${devDependencies[name]}`),
    ],
    project,
  );
  writeFileSync(join(project, "index.html"), html("/main.ts"));
  writeFileSync(join(project, "main.ts"), main("const URLS = {};"));
  writeFileSync(join(project, "esbuild.ts"), main(ESBUILD_URLS));
  for (const [index, code] of examples.entries()) {
    writeFileSync(
      join(project, `readme-${index}.ts`),
      `declare const joinButton: HTMLButtonElement;\n${code}`,
    );
  }
  copyFileSync(join(web, "examples/contribute.tsx"), join(project, "contribute.tsx"));
  writeFileSync(
    join(project, "tsconfig.json"),
    JSON.stringify({
      compilerOptions: {
        target: "ES2022",
        lib: ["ES2023", "DOM"],
        module: "ESNext",
        moduleResolution: "bundler",
        strict: true,
        noEmit: true,
        jsx: "react-jsx",
        types: [],
      },
      include: ["*.ts", "*.tsx"],
    }),
  );
  step("tsc, strict: the README's examples, the React example and the package's declarations");
  run("npx", ["tsc", "-p", "."], project);

  const vite = await import(
    pathToFileURL(createRequire(join(project, "package.json")).resolve("vite")).href
  );
  browser = await launch();

  const dev = await vite.createServer({
    root: project,
    logLevel: "warn",
    server: { port: 0, host: "127.0.0.1" },
  });
  await dev.listen();
  await check("dev", dev.httpServer.address().port);
  await dev.close();

  await vite.build({ root: project, logLevel: "warn" });
  const preview = await vite.preview({
    root: project,
    logLevel: "warn",
    preview: { port: 0, host: "127.0.0.1", headers: { "Content-Security-Policy": policy } },
  });
  await check("build", preview.httpServer.address().port);
  await preview.close();

  await buildWithWebpack();
  await checkFolder("webpack");
  await buildWithEsbuild();
  await checkFolder("esbuild");
  step("passed");
} finally {
  await browser?.close();
  rmSync(project, { recursive: true, force: true });
}

/** webpack supports the package's `new URL(…, import.meta.url)`; esbuild strips the types first. */
async function buildWithWebpack() {
  const { code } = await esbuild.transform(main("const URLS = {};"), { loader: "ts" });
  writeFileSync(join(project, "main.js"), code);
  const compiler = webpack({
    mode: "production",
    context: project,
    entry: "./main.js",
    output: { path: join(project, "webpack"), filename: "main.js", module: true },
    experiments: { outputModule: true },
    optimization: { minimize: false },
    performance: false,
  });
  const stats = await new Promise((resolve, reject) =>
    compiler.run((error, stats) => (error ? reject(error) : resolve(stats))),
  );
  if (stats.hasErrors() || stats.hasWarnings()) throw new Error(stats.toString("errors-warnings"));
}

/**
 * esbuild does not resolve `new URL(…, import.meta.url)`, so worker and code have URLs as in the
 * README.
 */
async function buildWithEsbuild() {
  const { warnings } = await esbuild.build({
    absWorkingDir: project,
    entryPoints: { main: "esbuild.ts", "tequio-worker": "tequio/worker" },
    bundle: true,
    format: "esm",
    loader: { ".wasm": "file" },
    outdir: "esbuild",
    logLevel: "silent",
  });
  if (warnings.length > 0) throw new Error(JSON.stringify(warnings));
}

/** Checks a folder with a built `main.js` under the README's policy. */
async function checkFolder(mode) {
  const folder = join(project, mode);
  writeFileSync(join(folder, "index.html"), html("main.js"));
  const types = { ".html": "text/html", ".js": "text/javascript", ".wasm": "application/wasm" };
  const server = createServer((request, response) => {
    const name = request.url === "/" ? "index.html" : basename(request.url);
    const path = join(folder, name);
    if (!existsSync(path)) return void response.writeHead(404).end();
    response.writeHead(200, {
      "Content-Type": types[extname(name)] ?? "application/octet-stream",
      "Content-Security-Policy": policy,
    });
    response.end(readFileSync(path));
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  await check(mode, server.address().port);
  server.close();
  server.closeAllConnections();
}

async function check(mode, port) {
  const page = await browser.newPage();
  const complaints = [];
  page.on("console", (message) => {
    if (message.type() !== "error") return;
    complaints.push(`${message.text()} ${message.location().url}`);
  });
  page.on("pageerror", (error) => complaints.push(error.message));
  await page.goto(`http://127.0.0.1:${port}/`);
  const body = page.locator("body[data-result]");
  await body.waitFor({ state: "attached", timeout: 60_000 }).catch(() => {
    throw new Error(
      `${mode}: the page did not finish: ${complaints.join("; ") || "no error was logged"}`,
    );
  });
  const result = JSON.parse(await body.getAttribute("data-result"));
  if (result.code !== "CHECKPOINT_REQUIRED" || result.typed !== true) {
    throw new Error(`${mode}: no typed error: ${JSON.stringify(result)}`);
  }
  if (typeof result.kernel !== "string") {
    throw new Error(
      `${mode}: the worker did not run: ${result.kernelError}; ${complaints.join("; ")}`,
    );
  }
  step(`${mode}: ${JSON.stringify(result)}`);
  await page.close();
}
