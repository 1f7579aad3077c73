/**
 * The page's build: one entry, without the story and the bench. Only the built page has the
 * Content-Security-Policy, because Vite's development server needs inline styles.
 */
import { fileURLToPath } from "node:url";
import { defineConfig, type Plugin } from "vite";
import { hashedNames, precompressed, preloads } from "./first-load.js";

const policy = [
  "default-src 'none'",
  "script-src 'self' 'wasm-unsafe-eval'",
  "style-src 'self'",
  "img-src 'self' data:",
  // Relays need no trust, so the node may dial any address.
  "connect-src 'self' http: https: ws: wss:",
  "worker-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
].join("; ");

const contentSecurityPolicy: Plugin = {
  name: "content-security-policy",
  apply: "build",
  transformIndexHtml: () => [
    {
      tag: "meta",
      attrs: { "http-equiv": "Content-Security-Policy", content: policy },
      injectTo: "head-prepend",
    },
  ],
};

export default defineConfig({
  // A relative base lets the page work under any path of a static host.
  base: "./",
  plugins: [
    contentSecurityPolicy,
    preloads,
    precompressed(fileURLToPath(new URL("dist", import.meta.url))),
  ],
  worker: { format: "es", rolldownOptions: { output: hashedNames } },
  build: {
    target: "es2022",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rolldownOptions: { output: hashedNames },
  },
});
