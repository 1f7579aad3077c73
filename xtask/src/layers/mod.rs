//! `cargo xtask layers`, and the step `layers` of the tests: imports have one direction.
//!
//! The step reads the sources with syn and dependency-cruiser, and draws an edge from file to file
//! for each name that one uses and the other defines. `mod` lines and re-exports are no edges, and
//! code that only tests compile has none. It refuses cycles between files and between folders, uses
//! against the order that `layers.toml` declares, another order in `docs/ARCHITECTURE.md`, lines
//! above 100 columns, and files above 500 lines without a reason.
//!
//! A call of a method is no use of a name: its file is not known without types.

mod attributes;
mod collect;
mod config;
mod document;
mod graph;
mod lines;
mod names;
mod order;
mod parse;
mod report;
mod resolve;
#[cfg(test)]
mod tests;
mod typescript;

use anyhow::{Context, Result, bail};

use crate::{cli::LayersOptions, workspace::Workspace};
use config::{Config, Source};
use graph::Graph;
use report::Problem;

/// Runs `cargo xtask layers`.
pub fn run(options: &LayersOptions) -> Result<()> {
    let workspace = Workspace::locate()?;
    let config = config::read(&workspace)?;
    if options.write {
        return document::write(&workspace, &config.orders);
    }
    if options.graph {
        print!("{}", report::dot(&graphs(&workspace, &config)?));
        return Ok(());
    }
    check_with(&workspace, &config)
}

/// Runs the step of `cargo xtask test`.
pub fn check(workspace: &Workspace) -> Result<()> {
    if !typescript::is_installed(workspace) {
        bail!("dependency-cruiser is not installed in web");
    }
    check_with(workspace, &config::read(workspace)?)
}

/// Prints all findings, and fails if there are any.
fn check_with(workspace: &Workspace, config: &Config) -> Result<()> {
    let graphs = graphs(workspace, config)?;
    let mut cycles = 0;
    let mut problems: Vec<Problem> =
        document::check(workspace, &config.orders)?.into_iter().collect();
    for (source, graph) in &graphs {
        let found = report::cycles(source, graph);
        found.iter().for_each(|cycle| println!("{cycle}"));
        cycles += found.len();
        problems.extend(order::check(source, &config.orders, graph));
    }
    if cycles > 0 {
        println!(
            "To end a cycle, move what both sides use into a file below them, or pass it to the \
             lower one as an argument.\n"
        );
    }
    let lines = lines::check(workspace, &config.long_files)?;
    problems.extend(lines.problems);
    problems.sort();
    problems.dedup();
    problems.iter().for_each(|problem| println!("{problem}"));
    for (source, graph) in &graphs {
        let (files, edges) = (graph.files.len(), graph.edges.len());
        let (of_files, of_folders) = (graph.file_cycles().len(), graph.folder_cycles().len());
        println!(
            "{}: {files} files, {edges} uses, {of_files} cycles of files, {of_folders} of folders",
            source.name
        );
    }
    for (kind, count) in &lines.kinds {
        println!("{count} lines above {} columns in {kind}", lines::COLUMNS_MAX);
    }
    if cycles + problems.len() > 0 {
        bail!(
            "{cycles} cycles, {} other problems; `cargo xtask layers` lists them",
            problems.len()
        );
    }
    Ok(())
}

/// Reads all sources. TypeScript is left out, with a note, while its tool is not installed.
fn graphs<'a>(workspace: &Workspace, config: &'a Config) -> Result<Vec<(&'a Source, Graph)>> {
    let mut graphs = Vec::new();
    for source in &config.sources {
        let graph = if source.is_rust() {
            resolve::Crate::read(workspace.root(), &source.root).map(resolve::Crate::into_graph)
        } else if typescript::is_installed(workspace) {
            typescript::read(workspace, source)
        } else {
            eprintln!("{} is left out: run `cargo xtask test --only npm` first", source.name);
            continue;
        };
        graphs.push((source, graph.with_context(|| format!("cannot read {}", source.name))?));
    }
    Ok(graphs)
}
