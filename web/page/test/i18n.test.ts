import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";
import { age, bytes, count, percent, share } from "../src/format.js";
import { en } from "../src/i18n/en.js";
import { es } from "../src/i18n/es.js";
import { chooseLanguage, isMessage, localeOf, t, tMaybe } from "../src/i18n/index.js";

const holes = (text: string) => (text.match(/\{\w+\}/g) ?? []).sort();
const plain = (text: string) => text.replace(/[\u00a0\u202f]/g, " ");

test("every message has the same values in both languages", () => {
  assert.deepEqual(Object.keys(es), Object.keys(en));
  for (const key of Object.keys(en) as (keyof typeof en)[]) {
    assert.deepEqual(holes(es[key]), holes(en[key]), key);
  }
});

test("values are inserted unchanged, and once", () => {
  chooseLanguage("en");
  assert.equal(t("activity.computing", { job: "iris" }), "Computing iris");
  assert.equal(t("log.line", { message: "{message} $& <b>" }), "{message} $& <b>");
  assert.equal(t("activity.computing"), "Computing {job}");
  assert.equal(tMaybe("no.such.message"), null);
});

test("every error code of the package, and no other, has a sentence in both languages", () => {
  const source = readFileSync("../package/src/errors.ts", "utf8");
  const declared = /export type ErrorCode =([^;]+);/.exec(source)?.[1] ?? "";
  const codes = [...declared.matchAll(/"([A-Z_]+)"/g)].map((match) => match[1]);
  assert.ok(codes.length >= 20);
  assert.deepEqual(codes.filter((code) => !isMessage(`error.${code}`)), []);
  const texts = Object.keys(en).flatMap((key) => /^error\.([A-Z_]+)$/.exec(key)?.[1] ?? []);
  assert.deepEqual(texts.filter((code) => !codes.includes(code)), []);
});

test("Spanish formats as Mexico does, unless the browser names another country", () => {
  assert.equal(localeOf("es", ["es", "en-US"]), "es-MX");
  assert.equal(localeOf("es", ["en-US"]), "es-MX");
  assert.equal(localeOf("es", ["es-419"]), "es-MX");
  assert.equal(localeOf("es", ["en-GB", "es-AR"]), "es-AR");
  assert.equal(localeOf("en", ["en-GB"]), "en-GB");
  assert.equal(localeOf("en", []), "en");
  chooseLanguage("es");
  assert.equal(count(1_234_567.5), "1,234,567.5");
  assert.equal(plain(percent(0.972)).replace(" ", ""), "97.2%");
  chooseLanguage("en");
});

test("sizes are decimal, and shares are never rounded to all or nothing", () => {
  assert.equal(bytes(999), "999 B");
  assert.equal(bytes(999_600), "1 MB");
  assert.equal(bytes(3.64e9), "3.6 GB");
  assert.equal(bytes(2e9), "2 GB");
  assert.equal(share(0.404), "40%");
  assert.equal(share(0.004), "0.4%");
  assert.equal(share(0.996), "99.6%");
  assert.equal(age(40 * 86_400_000), "40 days");
  assert.equal(age(15_000), "15 sec");
});
