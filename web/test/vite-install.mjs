/**
 * Packs the npm package, installs it into an empty Vite project in a temporary
 * folder, and uses it in Chromium: by the development server, and as a build
 * under the Content-Security-Policy that the package's README names. Each page
 * must get the typed error for a missing checkpoint, and a worker must run.
 *
 * Needs a built package (`npm run build -w tequio`) and the generated wasm.
 * Exits non-zero on the first thing that fails.
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { launch } from "./chromium.mjs";

const web = fileURLToPath(new URL("..", import.meta.url));
const packageFolder = join(web, "package");
const { devDependencies } = JSON.parse(readFileSync(join(web, "package.json"), "utf8"));
const readme = readFileSync(join(packageFolder, "README.md"), "utf8");
const policy = readme.match(/^ *(script-src .*)$/m)?.[1];
if (!policy) throw new Error("the README names no Content-Security-Policy");
const example = readme.match(/```ts\n([\s\S]*?)```/)?.[1];
if (!example) throw new Error("the README has no example");

for (const needed of ["dist/index.js", "wasm/tequio_wasm.js", "wasm/tequio_wasm_bg.wasm"]) {
  if (!existsSync(join(packageFolder, needed))) throw new Error(`web/package/${needed} is missing: \`cargo xtask test --only web\` builds it`);
}

const MAIN = `
import { connect, benchCompute, CheckpointError, TequioError } from "tequio";
const result: Record<string, unknown> = {};
try {
  // @ts-expect-error a checkpoint is required
  await connect({ relays: [] });
} catch (error) {
  if (error instanceof TequioError) result.code = error.code;
  result.typed = error instanceof CheckpointError;
}
try {
  result.kernel = (await benchCompute(64, 20)).kernel;
} catch (error) {
  result.kernelError = String(error);
}
document.body.dataset.result = JSON.stringify(result);
`;

function run(command, args, cwd) {
  try {
    return execFileSync(command, args, { cwd, stdio: ["ignore", "pipe", "inherit"], encoding: "utf8" });
  } catch (error) {
    throw new Error(`${command} ${args.join(" ")}: ${error.message}\n${error.stdout}`);
  }
}
const step = (text) => console.log(`vite-install: ${text}`);
const project = mkdtempSync(join(tmpdir(), "tequio-install-"));
let browser;
try {
  step("npm pack");
  const [{ filename, files }] = JSON.parse(run("npm", ["pack", "--json", "--pack-destination", project], packageFolder));
  const names = files.map(({ path }) => path);
  for (const needed of ["dist/index.js", "dist/index.d.ts", "dist/worker.js", "wasm/tequio_wasm_bg.wasm", "README.md", "LICENSE"]) {
    if (!names.includes(needed)) throw new Error(`the package lacks ${needed}`);
  }

  step("npm install into an empty Vite project");
  writeFileSync(join(project, "package.json"), JSON.stringify({ name: "empty", private: true, type: "module" }));
  run("npm", ["install", "--no-audit", "--no-fund", "--prefer-offline", `./${filename}`], project);
  run("npm", ["install", "--no-audit", "--no-fund", "--prefer-offline", "-D", `vite@${devDependencies.vite}`, `typescript@${devDependencies.typescript}`], project);
  writeFileSync(join(project, "index.html"), '<!doctype html><title>empty</title><body><script type="module" src="/main.ts"></script></body>');
  writeFileSync(join(project, "main.ts"), MAIN);
  writeFileSync(join(project, "readme.ts"), `declare const joinButton: HTMLButtonElement;\n${example}`);
  writeFileSync(
    join(project, "tsconfig.json"),
    JSON.stringify({ compilerOptions: { target: "ES2022", lib: ["ES2022", "DOM"], module: "ESNext", moduleResolution: "bundler", strict: true, noEmit: true, types: [] }, include: ["main.ts", "readme.ts"] }),
  );
  step("tsc, strict, the README's example and the package's declarations");
  run("npx", ["tsc", "-p", "."], project);

  const vite = await import(pathToFileURL(createRequire(join(project, "package.json")).resolve("vite")).href);
  browser = await launch();

  const dev = await vite.createServer({ root: project, logLevel: "warn", server: { port: 0, host: "127.0.0.1" } });
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
  step("passed");
} finally {
  await browser?.close();
  rmSync(project, { recursive: true, force: true });
}

async function check(mode, port) {
  const page = await browser.newPage();
  const complaints = [];
  page.on("console", (message) => message.type() === "error" && complaints.push(`${message.text()} ${message.location().url}`));
  page.on("pageerror", (error) => complaints.push(error.message));
  await page.goto(`http://127.0.0.1:${port}/`);
  const body = page.locator("body[data-result]");
  await body.waitFor({ state: "attached", timeout: 60_000 }).catch(() => {
    throw new Error(`${mode}: the page did not finish: ${complaints.join("; ") || "no error was logged"}`);
  });
  const result = JSON.parse(await body.getAttribute("data-result"));
  if (result.code !== "CHECKPOINT_REQUIRED" || result.typed !== true) throw new Error(`${mode}: no typed error: ${JSON.stringify(result)}`);
  if (typeof result.kernel !== "string") throw new Error(`${mode}: the worker did not run: ${result.kernelError}; ${complaints.join("; ")}`);
  step(`${mode}: ${JSON.stringify(result)}`);
  await page.close();
}
