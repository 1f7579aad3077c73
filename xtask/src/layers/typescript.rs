//! The imports of the TypeScript packages, as dependency-cruiser reads them.

use std::{fs, process::Command};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::{
    config::Source,
    graph::{Edge, Graph, SourceFile},
    names::Name,
};
use crate::workspace::Workspace;

/// The folder of npm packages that has dependency-cruiser and its `.dependency-cruiser.json`.
const FOLDER: &str = "web";
const PROGRAM: &str = "node_modules/dependency-cruiser/bin/dependency-cruise.mjs";

/// Whether `cargo xtask test --only npm` has installed the tool.
pub fn is_installed(workspace: &Workspace) -> bool {
    workspace.path(FOLDER).join(PROGRAM).exists()
}

/// Reads the modules of one package.
pub fn read(workspace: &Workspace, source: &Source) -> Result<Graph> {
    let prefix = format!("{FOLDER}/");
    let folder = source.root.strip_prefix(&prefix).context("a package's folder is in web")?;
    let output = Command::new("node")
        .current_dir(workspace.path(FOLDER))
        .args([PROGRAM, "--config", ".dependency-cruiser.json", "--output-type", "json", folder])
        .output()
        .context("cannot start node")?;
    if !output.status.success() {
        bail!("dependency-cruiser failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    let found = serde_json::from_slice(&output.stdout).context("dependency-cruiser's output")?;
    let read = |path: &str| {
        fs::read_to_string(workspace.path(path)).with_context(|| format!("cannot read {path}"))
    };
    graph(&found, &prefix, &source.root, read)
}

/// Builds the graph from the tool's output. `prefix` leads to its paths from the repository's root.
fn graph(
    found: &Value,
    prefix: &str,
    root: &str,
    read: impl Fn(&str) -> Result<String>,
) -> Result<Graph> {
    let modules = found["modules"].as_array().context("the output lists no modules")?;
    let mut graph = Graph::default();
    for module in modules {
        let path =
            format!("{prefix}{}", module["source"].as_str().context("a module has no path")?);
        graph.files.push(SourceFile { module: place(&path, root), path });
    }
    if graph.files.is_empty() {
        bail!("dependency-cruiser found no file in {root}");
    }
    for (from, module) in modules.iter().enumerate() {
        let text = read(&graph.files[from].path)?;
        for dependency in module["dependencies"].as_array().into_iter().flatten() {
            let name = dependency["module"].as_str().context("an import has no name")?;
            let target = dependency["resolved"].as_str().context("an import has no path")?;
            let target = format!("{prefix}{target}");
            let Some(to) = graph.files.iter().position(|file| file.path == target) else {
                continue;
            };
            let quoted = [format!("\"{name}\""), format!("'{name}'")];
            let is_import = |line: &str| quoted.iter().any(|name| line.contains(name));
            let line = text.lines().position(is_import).map_or(0, |position| position + 1);
            graph.edges.push(Edge { from, to, line, name: name.to_owned() });
        }
    }
    graph.sort();
    Ok(graph)
}

/// Returns the module of a file: its folders and its name, where `index` stands for the folder.
fn place(path: &str, root: &str) -> Name {
    let inner = path.strip_prefix(root).unwrap_or(path).trim_start_matches('/');
    let stem = inner.rsplit_once('.').map_or(inner, |(stem, _)| stem);
    let mut module: Name = stem.split('/').map(str::to_owned).collect();
    if module.last().is_some_and(|last| last == "index") {
        module.pop();
    }
    module
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_become_edges_with_their_line() {
        let found = serde_json::json!({ "modules": [
            { "source": "a/src/index.ts", "dependencies": [
                { "module": "./views/b.js", "resolved": "a/src/views/b.ts" },
                { "module": "react", "resolved": "node_modules/react/index.js" },
            ] },
            { "source": "a/src/views/b.ts", "dependencies": [] },
        ] });
        let read = |_: &str| Ok("\nimport { b } from \"./views/b.js\";\n".to_owned());
        let graph = graph(&found, "web/", "web/a/src", read).unwrap();
        assert_eq!(graph.files[0].module, Name::new());
        assert_eq!(graph.files[1].module, ["views", "b"]);
        let edge = Edge { from: 0, to: 1, line: 2, name: "./views/b.js".into() };
        assert_eq!(graph.edges, [edge]);
    }
}
