/**
 * The page's build: one entry, no source of the story or the bench in it.
 * The Content-Security-Policy is written into the built page, because Vite's
 * development server needs inline styles that the product does not.
 */
import { fileURLToPath } from "node:url";
import { defineConfig, type Plugin } from "vite";
import { hashedNames, precompressed, preloads } from "./first-load.js";

const policy = [
  "default-src 'none'",
  "script-src 'self' 'wasm-unsafe-eval'",
  "style-src 'self'",
  "img-src 'self' data:",
  // Relays are trusted for nothing, so any address may be dialled.
  "connect-src 'self' http: https: ws: wss:",
  "worker-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
].join("; ");

const contentSecurityPolicy: Plugin = {
  name: "content-security-policy",
  apply: "build",
  transformIndexHtml: () => [{ tag: "meta", attrs: { "http-equiv": "Content-Security-Policy", content: policy }, injectTo: "head-prepend" }],
};

export default defineConfig({
  // Relative, so that the page works under any path of any static host.
  base: "./",
  plugins: [contentSecurityPolicy, preloads, precompressed(fileURLToPath(new URL("dist", import.meta.url)))],
  worker: { format: "es", rolldownOptions: { output: hashedNames } },
  build: {
    target: "es2022",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rolldownOptions: { output: hashedNames },
  },
});
