/**
 * Serves pages that use the npm package, for the scripts of this folder: Vite's development server
 * over a temporary folder, with the relay's checkpoint and well-known file on the same origin.
 */
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

/** The folder with the package and its tools. */
export const web = fileURLToPath(new URL("../../web", import.meta.url));

/** The origin and the checkpoint's hash in the address of a relay's page. */
export function launchParamsOf(url) {
  const { origin, hash } = new URL(url);
  return { origin, hash: new URLSearchParams(hash.slice(1)).get("checkpoint") };
}

/** Serves `files`, an object from names to contents. */
export async function serve(files, origin) {
  const project = mkdtempSync(join(tmpdir(), "tequio-pages-"));
  symlinkSync(join(web, "node_modules"), join(project, "node_modules"));
  for (const [name, text] of Object.entries(files)) writeFileSync(join(project, name), text);
  const { createServer } = await import(
    pathToFileURL(createRequire(join(web, "package.json")).resolve("vite")).href
  );
  const server = await createServer({
    root: project,
    configFile: false,
    logLevel: "warn",
    cacheDir: join(project, ".vite"),
    resolve: { dedupe: ["react", "react-dom"] },
    optimizeDeps: {
      exclude: ["tequio"],
      include: ["react", "react-dom/client", "react/jsx-dev-runtime"],
    },
    server: {
      port: 0,
      host: "127.0.0.1",
      fs: { strict: false },
      proxy: { "/checkpoint.bin": origin, "/.well-known": origin },
    },
  });
  await server.listen();
  return {
    base: `http://127.0.0.1:${server.httpServer.address().port}`,
    async close() {
      await server.close();
      rmSync(project, { recursive: true, force: true });
    },
  };
}

/** A page with one module script. */
export function html(script, head = "") {
  const body = `<button></button><main></main><script type="module" src="${script}"></script>`;
  return `<!doctype html><title>test</title>${head}<body>${body}</body>`;
}
