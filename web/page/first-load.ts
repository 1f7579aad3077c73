/**
 * Prepares the built page for a quick first load. File names hold the hash of their content, so
 * that browsers may cache the files for ever. Preloads request the light node's code early.
 * Each file has compressed copies, for servers that send `.br` and `.gz`. Prints the bytes
 * of a first load, and fails above its budget.
 */
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";
import type { Plugin, Rolldown } from "vite";

/** The most bytes of a first load, in brotli. */
const FIRST_LOAD_BYTES_MAX = 750_000;

/** Files that compression makes smaller. */
const COMPRESSED = /\.(html|js|css|wasm|json|svg|webmanifest)$/;

/** `-` and 16 hexadecimal digits: the relay recognises immutable files by these names. */
export const hashedNames = {
  hashCharacters: "hex",
  entryFileNames: "assets/[name]-[hash:16].js",
  chunkFileNames: "assets/[name]-[hash:16].js",
  assetFileNames: "assets/[name]-[hash:16][extname]",
} satisfies Rolldown.OutputOptions;

/** Requests the node's script and module together with the page's own script. */
export const preloads: Plugin = {
  name: "preloads",
  apply: "build",
  transformIndexHtml: {
    order: "post",
    handler: (_html, { bundle = {} }) => {
      const files = Object.values(bundle);
      const lazy = files
        .filter((file) => file.type === "chunk" && file.isDynamicEntry)
        .map(({ fileName }) => fileName);
      const modules = files
        .map(({ fileName }) => fileName)
        .filter((name) => name.endsWith(".wasm"));
      if (modules.length !== 1) {
        throw new Error(`the page has ${modules.length} wasm modules, not one`);
      }
      return [
        // Low priority, because the person waits for the page's own script.
        ...modules.map((name) =>
          link({
            rel: "preload",
            as: "fetch",
            type: "application/wasm",
            fetchpriority: "low",
            href: `./${name}`,
          }),
        ),
        ...lazy.map((name) => link({ rel: "modulepreload", href: `./${name}` })),
      ];
    },
  },
};

/**
 * A link with `crossorigin`, the mode in which modules and `fetch` request. Without it the browser
 * would request the file twice.
 */
function link(attrs: Record<string, string>) {
  return { tag: "link", attrs: { ...attrs, crossorigin: true }, injectTo: "head" } as const;
}

/** Compresses the files of the build. */
export function precompressed(folder: string): Plugin {
  return {
    name: "precompressed",
    apply: "build",
    closeBundle: {
      order: "post",
      handler: () => {
        let transferred = 0;
        for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
          if (!entry.isFile() || !COMPRESSED.test(entry.name)) continue;
          const path = join(entry.parentPath, entry.name);
          const bytes = readFileSync(path);
          const brotli = brotliCompressSync(bytes, {
            params: {
              [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY,
              [constants.BROTLI_PARAM_LGWIN]: constants.BROTLI_MAX_WINDOW_BITS,
              [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length,
            },
          });
          writeFileSync(`${path}.br`, brotli);
          writeFileSync(`${path}.gz`, gzipSync(bytes, { level: constants.Z_BEST_COMPRESSION }));
          transferred += brotli.length;
        }
        console.log(`first load: ${transferred} bytes in brotli, at most ${FIRST_LOAD_BYTES_MAX}`);
        if (transferred > FIRST_LOAD_BYTES_MAX) {
          throw new Error("the first load is above its budget");
        }
      },
    },
  };
}
