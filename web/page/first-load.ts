/**
 * What the built page needs for a quick first load: names that hold the hash of their content, so
 * that browsers may keep the files for ever; early requests for what the light node needs once a
 * person joins; and every file compressed beside itself, for servers that send `.br` and `.gz` as
 * they are. Prints what a first load transfers, and fails above its budget.
 */
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";
import type { Plugin, Rolldown } from "vite";

/** The most that a first load may transfer, in the encoding that browsers take. */
const FIRST_LOAD_BYTES_MAX = 750_000;

/** What becomes smaller by compression. */
const COMPRESSED = /\.(html|js|css|wasm|json|svg|webmanifest)$/;

/** `-` and 16 hexadecimal digits: the relay tells files that never change by these names. */
export const hashedNames = {
  hashCharacters: "hex",
  entryFileNames: "assets/[name]-[hash:16].js",
  chunkFileNames: "assets/[name]-[hash:16].js",
  assetFileNames: "assets/[name]-[hash:16][extname]",
} satisfies Rolldown.OutputOptions;

/** Asks for the node's script and its module beside the page's own script, not after a person has joined. */
export const preloads: Plugin = {
  name: "preloads",
  apply: "build",
  transformIndexHtml: {
    order: "post",
    handler: (_html, { bundle = {} }) => {
      const files = Object.values(bundle);
      const lazy = files.filter((file) => file.type === "chunk" && file.isDynamicEntry).map(({ fileName }) => fileName);
      const modules = files.map(({ fileName }) => fileName).filter((name) => name.endsWith(".wasm"));
      if (modules.length !== 1) throw new Error(`the page has ${modules.length} wasm modules, not one`);
      return [
        // After the page's own script, which a person waits for.
        ...modules.map((name) =>
          link({ rel: "preload", as: "fetch", type: "application/wasm", fetchpriority: "low", href: `./${name}` }),
        ),
        ...lazy.map((name) => link({ rel: "modulepreload", href: `./${name}` })),
      ];
    },
  },
};

/** `crossorigin`, because modules and `fetch` ask in that mode: without it the file would be asked for twice. */
function link(attrs: Record<string, string>) {
  return { tag: "link", attrs: { ...attrs, crossorigin: true }, injectTo: "head" } as const;
}

/** Compresses what the build wrote. */
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
        if (transferred > FIRST_LOAD_BYTES_MAX) throw new Error("the first load is above its budget");
      },
    },
  };
}
