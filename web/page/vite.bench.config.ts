/** The bench has its own build, because onnxruntime-web is far larger than the page. */
import { defineConfig } from "vite";

export default defineConfig({
  base: "./",
  worker: { format: "es" },
  build: {
    target: "es2022",
    outDir: "bench/dist",
    emptyOutDir: true,
    rollupOptions: { input: "bench.html" },
  },
});
