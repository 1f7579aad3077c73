import assert from "node:assert/strict";
import test from "node:test";
import { en } from "../src/i18n/en.js";
import { es } from "../src/i18n/es.js";
import { chooseLanguage, t } from "../src/i18n/index.js";

const holes = (text: string) => (text.match(/\{\w+\}/g) ?? []).sort();

test("every message has the same values in both languages", () => {
  assert.deepEqual(Object.keys(es), Object.keys(en));
  for (const key of Object.keys(en) as (keyof typeof en)[]) assert.deepEqual(holes(es[key]), holes(en[key]), key);
});

test("values are put in as they are, once", () => {
  chooseLanguage("en");
  assert.equal(t("join.running", { workers: 3 }), "Computing on 3 of your cores");
  assert.equal(t("log.line", { message: "{message} $& <b>" }), "{message} $& <b>");
  assert.equal(t("join.running"), "Computing on {workers} of your cores");
});
