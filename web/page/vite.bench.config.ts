/** The bench is a build of its own: the runtime it compares with weighs far more than the page. */
import { defineConfig } from "vite";

export default defineConfig({
  base: "./",
  worker: { format: "es" },
  build: { target: "es2022", outDir: "bench/dist", emptyOutDir: true, rollupOptions: { input: "bench.html" } },
});
