//! Cycles between files, and between the units of each folder.

use std::collections::{BTreeMap, BTreeSet};

use super::names::Name;

/// A file and the module that it contains.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// Relative to the root of the repository.
    pub path: String,
    /// The module's place in the crate; empty for the root.
    pub module: Name,
}

/// The files of one crate or package, and their edges sorted by file, line and name.
#[derive(Debug, Default)]
pub struct Graph {
    pub files: Vec<SourceFile>,
    pub edges: Vec<Edge>,
}

/// File `from` uses, in `line`, a name that file `to` defines.
#[derive(Debug, PartialEq, Eq)]
pub struct Edge {
    pub from: usize,
    pub to: usize,
    pub line: usize,
    pub name: String,
}

/// A part of one module: a child with everything below it, or the module's own file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unit {
    OwnFile,
    Child(String),
}

/// An edge in the module that contains both ends, between two of its units.
#[derive(Debug)]
pub struct Lifted {
    pub module: Name,
    pub from: Unit,
    pub to: Unit,
}

/// Units of one module that depend on each other in a circle.
#[derive(Debug)]
pub struct FolderCycle<'a> {
    pub module: Name,
    pub units: BTreeSet<Unit>,
    pub edges: Vec<&'a Edge>,
}

impl Graph {
    /// Sorts the edges by the place of the use.
    pub fn sort(&mut self) {
        let files = &self.files;
        self.edges.sort_by(|one, other| {
            let key = |edge: &Edge| (&files[edge.from].path, edge.line, &files[edge.to].path);
            key(one).cmp(&key(other)).then_with(|| one.name.cmp(&other.name))
        });
    }

    pub fn path(&self, file: usize) -> &str {
        &self.files[file].path
    }

    /// Describes an edge in a line.
    pub fn describe(&self, edge: &Edge) -> String {
        let (from, to) = (self.path(edge.from), self.path(edge.to));
        format!("{from}:{} -> {to} ({})", edge.line, edge.name)
    }

    /// Lifts an edge to the deepest module that contains both files.
    pub fn lift(&self, edge: &Edge) -> Lifted {
        let (from, to) = (&self.files[edge.from].module, &self.files[edge.to].module);
        let common = from.iter().zip(to).take_while(|(from, to)| from == to).count();
        let unit = |module: &Name| module.get(common).cloned().map_or(Unit::OwnFile, Unit::Child);
        Lifted { module: from[..common].to_vec(), from: unit(from), to: unit(to) }
    }

    /// Returns each set of files that depend on each other in a circle, and the edges between them.
    pub fn file_cycles(&self) -> Vec<(BTreeSet<usize>, Vec<&Edge>)> {
        let inside = |files: &BTreeSet<usize>| {
            let is_inside = |edge: &&Edge| files.contains(&edge.from) && files.contains(&edge.to);
            self.edges.iter().filter(is_inside).collect()
        };
        let found = components(self.edges.iter().map(|edge| (edge.from, edge.to)));
        found.into_iter().map(|files| (files.clone(), inside(&files))).collect()
    }

    /// Returns the cycles between the units of each module that are no cycles between single files.
    pub fn folder_cycles(&self) -> Vec<FolderCycle<'_>> {
        let mut levels: BTreeMap<Name, Vec<(Lifted, &Edge)>> = BTreeMap::new();
        for edge in &self.edges {
            let lifted = self.lift(edge);
            levels.entry(lifted.module.clone()).or_default().push((lifted, edge));
        }
        let mut cycles = Vec::new();
        for (module, level) in levels {
            let pairs = level.iter().map(|(lifted, _)| (lifted.from.clone(), lifted.to.clone()));
            for units in components(pairs) {
                let edges: Vec<&Edge> = level
                    .iter()
                    .filter(|(edge, _)| units.contains(&edge.from) && units.contains(&edge.to))
                    .map(|(_, edge)| *edge)
                    .collect();
                let ends: BTreeSet<usize> =
                    edges.iter().flat_map(|edge| [edge.from, edge.to]).collect();
                // With a file for each unit, the same cycle is one between files.
                if ends.len() > units.len() {
                    cycles.push(FolderCycle { module: module.clone(), units, edges });
                }
            }
        }
        cycles
    }
}

/// Returns the strongly connected components with more than one member, by their smallest member.
fn components<T: Ord + Clone>(edges: impl Iterator<Item = (T, T)>) -> Vec<BTreeSet<T>> {
    let mut forward: BTreeMap<T, BTreeSet<T>> = BTreeMap::new();
    let mut backward: BTreeMap<T, BTreeSet<T>> = BTreeMap::new();
    for (from, to) in edges {
        forward.entry(from.clone()).or_default().insert(to.clone());
        backward.entry(to).or_default().insert(from);
    }
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for start in forward.keys() {
        if seen.contains(start) {
            continue;
        }
        let after = reachable(&forward, start);
        let before = reachable(&backward, start);
        let component: BTreeSet<T> = after.intersection(&before).cloned().collect();
        seen.extend(component.iter().cloned());
        if component.len() > 1 {
            found.push(component);
        }
    }
    found
}

/// Returns all nodes that are reachable from `start`, with `start`.
fn reachable<T: Ord + Clone>(edges: &BTreeMap<T, BTreeSet<T>>, start: &T) -> BTreeSet<T> {
    let mut reached = BTreeSet::from([start.clone()]);
    let mut open = vec![start.clone()];
    while let Some(node) = open.pop() {
        for next in edges.get(&node).into_iter().flatten() {
            if reached.insert(next.clone()) {
                open.push(next.clone());
            }
        }
    }
    reached
}
