//! `bindgen IN.wasm OUT_DIR`: writes the JavaScript bindings, their types and the stripped module
//! for `target = "web"`.
//!
//! The library behind wasm-bindgen's command line is used instead of the command itself, so that
//! Cargo's lock file pins it and nothing has to be installed. Its version must equal the
//! `wasm-bindgen` of the workspace; the module's own schema version is compared by the library,
//! which refuses a mismatch.

use std::{env, path::PathBuf};

use anyhow::{Context, Result, bail};
use wasm_bindgen_cli_support::Bindgen;

fn main() -> Result<()> {
    let arguments: Vec<PathBuf> = env::args_os().skip(1).map(PathBuf::from).collect();
    let [input, output] = arguments.as_slice() else { bail!("usage: bindgen IN.wasm OUT_DIR") };
    Bindgen::new()
        .input_path(input)
        .web(true)?
        .typescript(true)
        .remove_producers_section(true)
        .generate(output)
        .with_context(|| format!("cannot write bindings for {}", input.display()))
}
