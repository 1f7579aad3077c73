//! `layers.toml`: the sources that the step reads, the order of their modules, and the files that
//! may be long.

use std::{collections::BTreeSet, fs};

use anyhow::{Context, Result, bail};
use toml::{Table, Value};

use super::names::Name;
use crate::workspace::Workspace;

/// The file's name in the root of the repository.
pub const FILE: &str = "layers.toml";
/// How a layer names the module's own file, beside its children.
pub const OWN_FILE: &str = "self";

/// The contents of the file.
#[derive(Debug, Default)]
pub struct Config {
    pub sources: Vec<Source>,
    pub orders: Vec<Order>,
    pub long_files: Vec<LongFile>,
}

/// A Rust crate or a TypeScript package.
#[derive(Debug)]
pub struct Source {
    pub name: String,
    /// The root file of a crate, or the folder of a package.
    pub root: String,
}

impl Source {
    pub fn is_rust(&self) -> bool {
        self.root.ends_with(".rs")
    }
}

/// The order of the children of one module.
#[derive(Debug)]
pub struct Order {
    pub source: String,
    pub module: Name,
    /// From bottom to top. Modules of one layer may use each other, but not in a circle.
    pub layers: Vec<Vec<String>>,
    /// Modules that never use each other.
    pub apart: BTreeSet<String>,
}

impl Order {
    /// The module's name with its source, for example `core::compute`.
    pub fn title(&self) -> String {
        title(&self.source, &self.module)
    }

    /// The position of a module from the bottom.
    pub fn layer(&self, name: &str) -> Option<usize> {
        self.layers.iter().position(|layer| layer.iter().any(|member| member == name))
    }
}

/// A file that may have more lines than others.
#[derive(Debug)]
pub struct LongFile {
    pub path: String,
}

/// A module's name with its source, for example `core::compute`.
pub fn title(source: &str, module: &[String]) -> String {
    [source].into_iter().chain(module.iter().map(String::as_str)).collect::<Vec<_>>().join("::")
}

/// Reads the file.
pub fn read(workspace: &Workspace) -> Result<Config> {
    let text =
        fs::read_to_string(workspace.path(FILE)).with_context(|| format!("cannot read {FILE}"))?;
    parse(&text).with_context(|| FILE.to_owned())
}

/// Parses the file. An unknown key is an error.
pub fn parse(text: &str) -> Result<Config> {
    let mut config = Config::default();
    for (kind, entries) in text.parse::<Table>().context("this is not TOML")? {
        let entries =
            entries.as_array().cloned().with_context(|| format!("[{kind}] is not a list"))?;
        for entry in entries {
            let mut entry = entry.as_table().cloned().with_context(|| format!("[{kind}]"))?;
            match kind.as_str() {
                "source" => config.sources.push(Source {
                    name: text_of(&mut entry, "name")?,
                    root: text_of(&mut entry, "root")?,
                }),
                "order" => config.orders.push(order(&mut entry)?),
                "long_file" => {
                    config.long_files.push(LongFile { path: text_of(&mut entry, "path")? });
                    if text_of(&mut entry, "reason")?.trim().is_empty() {
                        bail!("a [[long_file]] needs a reason");
                    }
                }
                _ => bail!("[[{kind}]] is unknown"),
            }
            if let Some(key) = entry.keys().next() {
                bail!("[[{kind}]] has no key `{key}`");
            }
        }
    }
    for order in &config.orders {
        if config.sources.iter().all(|source| source.name != order.source) {
            bail!("the order of {} belongs to no [[source]]", order.title());
        }
    }
    Ok(config)
}

fn order(entry: &mut Table) -> Result<Order> {
    let module = text_of(entry, "module")?;
    let mut parts = module.split("::").map(str::to_owned);
    let source = parts.next().unwrap_or_default();
    let layers = match entry.remove("layers") {
        Some(Value::Array(layers)) => layers.iter().map(names).collect::<Result<Vec<_>>>()?,
        _ => bail!("the order of {module} needs `layers`, from bottom to top"),
    };
    let apart: BTreeSet<String> = entry
        .remove("apart")
        .as_ref()
        .map(names)
        .transpose()?
        .unwrap_or_default()
        .into_iter()
        .collect();
    let order = Order { source, module: parts.collect(), layers, apart };
    let mut seen = BTreeSet::new();
    if let Some(twice) = order.layers.iter().flatten().find(|name| !seen.insert(*name)) {
        bail!("the order of {module} has `{twice}` twice");
    }
    if let Some(unknown) = order.apart.iter().find(|name| !seen.contains(name)) {
        bail!("`{unknown}` is in `apart` of {module}, but in none of its layers");
    }
    Ok(order)
}

/// Takes a text out of an entry.
fn text_of(entry: &mut Table, key: &str) -> Result<String> {
    match entry.remove(key) {
        Some(Value::String(text)) => Ok(text),
        _ => bail!("an entry lacks the text `{key}`"),
    }
}

/// Reads one name, or a list of them.
fn names(value: &Value) -> Result<Vec<String>> {
    match value {
        Value::String(name) => Ok(vec![name.clone()]),
        Value::Array(names) => names
            .iter()
            .map(|name| name.as_str().map(str::to_owned).context("a layer holds names"))
            .collect(),
        _ => bail!("a layer is a name or a list of names"),
    }
}
