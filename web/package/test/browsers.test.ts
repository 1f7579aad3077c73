import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import test from "node:test";
import { fileURLToPath } from "node:url";

/** APIs newer than Safari 16.4, the oldest browser with the SIMD that the node's code needs. */
const TOO_NEW = [
  "AbortSignal.any",
  "URL.canParse",
  "Promise.withResolvers",
  "Object.groupBy",
  "Map.groupBy",
  "Array.fromAsync",
  "Promise.try",
  "checkVisibility",
];

const web = fileURLToPath(new URL("../../..", import.meta.url));

test("package and page use nothing that browsers of 2023 lack", () => {
  for (const folder of ["package/src", "page/src"]) {
    const names = readdirSync(join(web, folder), { recursive: true, encoding: "utf8" }).filter(
      (name) => name.endsWith(".ts"),
    );
    assert.ok(names.length > 10, folder);
    for (const name of names) {
      const code = readFileSync(join(web, folder, name), "utf8").replace(
        /\/\*[\s\S]*?\*\/|\/\/.*/g,
        "",
      );
      for (const api of TOO_NEW) assert.ok(!code.includes(api), `${folder}/${name} uses ${api}`);
    }
  }
});
