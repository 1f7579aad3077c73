/**
 * Lets the package compile before `cargo xtask` has generated the glue. The real declaration file
 * takes precedence over this pattern.
 */
declare module "*/tequio_wasm.js";
