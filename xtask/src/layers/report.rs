//! What the step finds, as text.

use super::{
    config::{Source, title},
    graph::{Graph, Unit},
};

/// One finding, at a line of a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    path: String,
    line: usize,
    text: String,
}

impl Problem {
    pub fn at(path: &str, line: usize, text: String) -> Self {
        Self { path: path.to_owned(), line, text }
    }

    /// A finding about a whole file.
    pub fn of(path: &str, text: String) -> Self {
        Self::at(path, 0, text)
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            0 => write!(formatter, "{}: {}", self.path, self.text),
            line => write!(formatter, "{}:{line}: {}", self.path, self.text),
        }
    }
}

/// Describes the cycles of one source: a heading, the members, and the edges between them.
pub fn cycles(source: &Source, graph: &Graph) -> Vec<String> {
    let mut found = Vec::new();
    for (files, edges) in graph.file_cycles() {
        let mut text = format!("{}: cycle of {} files\n", source.name, files.len());
        let mut paths: Vec<&str> = files.iter().map(|file| graph.path(*file)).collect();
        paths.sort_unstable();
        paths.iter().for_each(|path| text.push_str(&format!("  {path}\n")));
        edges.iter().for_each(|edge| text.push_str(&format!("    {}\n", graph.describe(edge))));
        found.push(text);
    }
    for cycle in graph.folder_cycles() {
        let units: Vec<&str> = cycle
            .units
            .iter()
            .map(|unit| match unit {
                Unit::OwnFile => "its own file",
                Unit::Child(name) => name,
            })
            .collect();
        let module = title(&source.name, &cycle.module);
        let mut text = format!("{module}: cycle of {} folders\n", units.len());
        units.iter().for_each(|unit| text.push_str(&format!("  {unit}\n")));
        let edges = cycle.edges.iter();
        edges.for_each(|edge| text.push_str(&format!("    {}\n", graph.describe(edge))));
        found.push(text);
    }
    found
}

/// Writes the files and edges in Graphviz's language, one edge for each pair of files.
pub fn dot(sources: &[(&Source, Graph)]) -> String {
    let mut text = String::from("digraph layers {\n  rankdir = BT;\n  node [shape = box];\n");
    for (source, graph) in sources {
        text.push_str(&format!("  subgraph \"cluster_{}\" {{\n", source.name));
        text.push_str(&format!("    label = \"{}\";\n", source.name));
        let mut paths: Vec<&str> = graph.files.iter().map(|file| file.path.as_str()).collect();
        paths.sort_unstable();
        paths.iter().for_each(|path| text.push_str(&format!("    \"{path}\";\n")));
        text.push_str("  }\n");
        let mut pairs = std::collections::BTreeSet::new();
        for edge in &graph.edges {
            let (from, to) = (graph.path(edge.from), graph.path(edge.to));
            if pairs.insert((from, to)) {
                let label = format!("{}: {}", edge.line, edge.name);
                text.push_str(&format!("  \"{from}\" -> \"{to}\" [label = \"{label}\"];\n"));
            }
        }
    }
    text.push_str("}\n");
    text
}
