//! The browser's module: compiled for size, bound to JavaScript, shrunk by wasm-opt, and checked
//! against its size budget.

use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{preflight::WASM_TARGET, progress, tools, workspace::Workspace};

/// Largest download of the light node, in the encoding that servers send.
const BROTLI_BYTES_MAX: u64 = 660_000;

/// The folder in which the package's TypeScript finds the module.
const OUTPUT: &str = "web/package/wasm";
/// The crate's name in the linker's and the bindings' spelling.
const MODULE: &str = "tequio_wasm";
/// The module that a test of the WebRTC transport runs in a tab, by its crate's name, and the
/// folder in which the test finds it.
const TEST_MODULE: &str = "tequio_webrtc_page";
const TEST_OUTPUT: &str = "webrtc-page";
/// The fingerprint of the inputs of the build.
const STAMP: &str = ".made-from";

/// Features that LLVM emits for this target; wasm-opt must support them to accept the module.
const FEATURES: [&str; 7] = [
    "--enable-simd",
    "--enable-bulk-memory",
    "--enable-mutable-globals",
    "--enable-multivalue",
    "--enable-nontrapping-float-to-int",
    "--enable-reference-types",
    "--enable-sign-ext",
];

/// One pass, because `--converge` takes minutes more.
const SHRINK: &str = "-Oz";

/// Node.js contains both encoders, so this crate need not compile them.
const MEASURE: &str = "
    const zlib = require('zlib'), bytes = require('fs').readFileSync(process.argv[1]);
    const params = { [zlib.constants.BROTLI_PARAM_QUALITY]: 11 };
    const brotli = zlib.brotliCompressSync(bytes, { params });
    const gzip = zlib.gzipSync(bytes, { level: 9 });
    console.log(JSON.stringify({ raw: bytes.length, gzip: gzip.length, brotli: brotli.length }));";

/// The size of the module in three encodings, in bytes.
pub struct Sizes {
    pub raw: u64,
    pub gzip: u64,
    pub brotli: u64,
}

/// Builds the module into the npm package. `web`'s npm packages must be installed: wasm-opt is one
/// of them.
pub fn build(workspace: &Workspace) -> Result<()> {
    let compiled = compile(workspace, MODULE)?;
    let output = workspace.path(OUTPUT);
    let made_from = fingerprint(workspace, &compiled)?;
    if fs::read_to_string(output.join(STAMP)).is_ok_and(|stamp| stamp == made_from) {
        eprintln!("the wasm module is up to date");
        return Ok(());
    }
    let _ = fs::remove_file(output.join(STAMP));
    fs::create_dir_all(&output).with_context(|| format!("cannot create {}", output.display()))?;
    progress::run(tools::bindgen(workspace)?.arg(&compiled).arg(&output))?;
    let module = output.join(format!("{MODULE}_bg.wasm"));
    let mut shrink = Command::new("node");
    shrink.arg(workspace.path("web/node_modules/binaryen/bin/wasm-opt")).arg(SHRINK).args(FEATURES);
    progress::run(shrink.arg(&module).arg("--output").arg(&module))?;
    name_size(&output.join(format!("{MODULE}.js")), &module)?;
    fs::write(output.join(STAMP), made_from).context("cannot write the module's fingerprint")
}

/// Writes the module's size into the glue, as the measure of a download's progress. A server that
/// compresses the module does not send this size.
fn name_size(glue: &Path, module: &Path) -> Result<()> {
    let size =
        fs::metadata(module).with_context(|| format!("cannot read {}", module.display()))?.len();
    let mut text =
        fs::read_to_string(glue).with_context(|| format!("cannot read {}", glue.display()))?;
    text.push_str(&format!("\nexport const MODULE_BYTES = {size};\n"));
    fs::write(glue, text).with_context(|| format!("cannot write {}", glue.display()))
}

/// Builds the module that drives the WebRTC transport in a test. It is not shrunk, because no user
/// downloads it.
pub fn build_for_test(workspace: &Workspace) -> Result<()> {
    let compiled = compile(workspace, TEST_MODULE)?;
    let output = workspace.target().join(TEST_OUTPUT);
    fs::create_dir_all(&output).with_context(|| format!("cannot create {}", output.display()))?;
    progress::run(tools::bindgen(workspace)?.arg(&compiled).arg(&output))
}

/// Measures the built module, prints its sizes, and fails above the budget.
pub fn check_size(workspace: &Workspace) -> Result<()> {
    let sizes = measure(&workspace.path(OUTPUT).join(format!("{MODULE}_bg.wasm")))?;
    eprintln!("wasm module: {} bytes raw, {} gzip, {} brotli", sizes.raw, sizes.gzip, sizes.brotli);
    within_budget(sizes.brotli)
}

fn within_budget(brotli_bytes: u64) -> Result<()> {
    if brotli_bytes > BROTLI_BYTES_MAX {
        bail!(
            "the wasm module takes {brotli_bytes} bytes in brotli, and its budget is \
             {BROTLI_BYTES_MAX}"
        );
    }
    Ok(())
}

fn compile(workspace: &Workspace, module: &str) -> Result<PathBuf> {
    let folder = workspace.wasm_target();
    let mut cargo = workspace.cargo();
    let package = module.replace('_', "-");
    cargo.args(["build", "--package", &package, "--target", WASM_TARGET, "--profile", "wasm"]);
    // The kernels' flags are in .cargo/config.toml, which RUSTFLAGS would override.
    cargo
        .env("CARGO_TARGET_DIR", &folder)
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    progress::run(&mut cargo)?;
    Ok(folder.join(WASM_TARGET).join("wasm").join(format!("{module}.wasm")))
}

fn measure(module: &Path) -> Result<Sizes> {
    let printed =
        progress::output(Command::new("node").args(["--eval", MEASURE, "--"]).arg(module))?;
    let json: Value = serde_json::from_str(&printed).context("the sizes are not JSON")?;
    let size =
        |name: &str| json[name].as_u64().with_context(|| format!("no size {name} in {printed}"));
    Ok(Sizes { raw: size("raw")?, gzip: size("gzip")?, brotli: size("brotli")? })
}

/// Hashes all inputs of the output: the compiled module, the binder, and the options of wasm-opt.
fn fingerprint(workspace: &Workspace, compiled: &Path) -> Result<String> {
    let mut hasher = DefaultHasher::new();
    let inputs = [
        compiled.to_path_buf(),
        workspace.path("xtask/bindgen/Cargo.lock"),
        workspace.path("xtask/bindgen/src/main.rs"),
        workspace.path("web/node_modules/binaryen/package.json"),
    ];
    for path in &inputs {
        fs::read(path)
            .with_context(|| format!("cannot read {}", path.display()))?
            .hash(&mut hasher);
    }
    (FEATURES, SHRINK).hash(&mut hasher);
    Ok(format!("{:016x}", hasher.finish()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_is_a_line() {
        assert!(within_budget(BROTLI_BYTES_MAX).is_ok());
        let error = within_budget(BROTLI_BYTES_MAX + 1).unwrap_err().to_string();
        assert!(error.contains("660001") && error.contains("660000"), "{error}");
    }

    #[test]
    fn sizes_are_those_of_the_file() {
        let file = std::env::temp_dir().join(format!("xtask-size-{}", std::process::id()));
        fs::write(&file, vec![7; 100_000]).unwrap();
        let sizes = measure(&file).unwrap();
        fs::remove_file(&file).unwrap();
        assert_eq!(sizes.raw, 100_000);
        assert!(
            sizes.gzip > 0 && sizes.gzip < 1_000 && sizes.brotli > 0 && sizes.brotli < sizes.gzip
        );
    }
}
