/** Measured figures that the page states before it asks the person for consent. */

/**
 * Bytes of one core that computes for a long training job, and of a page without a contribution.
 * Measured in Chromium with `node web/test/traffic.mjs --url URL --minutes 1`, and with
 * `--minutes 1 --watch` while a job runs; URL is the address of a running network's page.
 */
export const MEASURED = {
  receivedPerMinute: 8.6e6,
  sentPerMinute: 14.1e6,
  watchPerMinute: 0.16e6,
  /** Page, scripts and WebAssembly module, compressed: see `tests/browser/first-load.mjs`. */
  codeBytes: 0.73e6,
} as const;
