//! The module tree of a crate, and the file that defines a used name. Imports and re-exports are
//! followed to the definition.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use super::{
    graph::{Edge, Graph, SourceFile},
    names::{Binding, Child, Kind, Name, Parsed, Used},
    parse,
};

/// The modules of one crate.
#[derive(Debug, Default)]
pub struct Crate {
    files: Vec<SourceFile>,
    modules: Vec<Module>,
}

#[derive(Debug)]
struct Module {
    file: usize,
    parent: Option<usize>,
    children: BTreeMap<String, Vec<usize>>,
    contents: Parsed,
}

/// What a name leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Target {
    Module(usize),
    /// An item that this file defines.
    Item(usize),
}

/// Where a module's children are, and the place of the module in the crate.
struct Place {
    folder: PathBuf,
    module: Name,
    /// Whether `#[path]` starts from the folder of the file, as it does outside inline modules.
    is_inline: bool,
}

impl Crate {
    /// Reads the crate whose root is this file. Paths are relative to `root`.
    pub fn read(root: &Path, crate_root: &str) -> Result<Self> {
        let mut tree = Self::default();
        let file = root.join(crate_root);
        let folder = file.parent().context("a crate's root is in no folder")?.to_path_buf();
        let place = Place { folder, module: Name::new(), is_inline: false };
        tree.read_file(root, &file, None, &place)?;
        if tree.modules.is_empty() {
            bail!("{crate_root} is compiled for tests only");
        }
        Ok(tree)
    }

    fn read_file(
        &mut self,
        root: &Path,
        file: &Path,
        parent: Option<usize>,
        place: &Place,
    ) -> Result<Option<usize>> {
        let text =
            fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let parsed = parse::parse(&text).with_context(|| format!("{}", file.display()))?;
        let Some(parsed) = parsed else { return Ok(None) };
        let path = file.strip_prefix(root).unwrap_or(file).to_string_lossy().replace('\\', "/");
        self.files.push(SourceFile { path, module: place.module.clone() });
        self.add(root, self.files.len() - 1, file, parent, place, parsed).map(Some)
    }

    fn add(
        &mut self,
        root: &Path,
        file_index: usize,
        file: &Path,
        parent: Option<usize>,
        place: &Place,
        mut contents: Parsed,
    ) -> Result<usize> {
        let children = std::mem::take(&mut contents.children);
        let exported = std::mem::take(&mut contents.exported_macros);
        let id = self.modules.len();
        self.modules.push(Module { file: file_index, parent, children: BTreeMap::new(), contents });
        if !exported.is_empty() && id != 0 {
            let here = place.module.clone();
            for name in exported {
                let import = ["crate".to_owned()].into_iter().chain(here.clone());
                let import = import.chain([name.clone()]).collect();
                let root_bindings = &mut self.modules[0].contents.bindings;
                let import = Binding::Import { name: import, exported: true };
                root_bindings.entry(name).or_default().push(import);
            }
        }
        for child in children {
            let name = child.name.clone();
            if let Some(child) = self.add_child(root, file_index, file, id, place, child)? {
                self.modules[id].children.entry(name).or_default().push(child);
            }
        }
        Ok(id)
    }

    fn add_child(
        &mut self,
        root: &Path,
        file_index: usize,
        file: &Path,
        parent: usize,
        place: &Place,
        child: Child,
    ) -> Result<Option<usize>> {
        let mut module = place.module.clone();
        module.push(child.name.clone());
        let folder = place.folder.join(&child.name);
        if let Some(contents) = child.inline {
            let place = Place { folder, module, is_inline: true };
            return self.add(root, file_index, file, Some(parent), &place, contents).map(Some);
        }
        if let Some(path) = child.path {
            let base = match file.parent() {
                Some(parent) if !place.is_inline => parent,
                _ => &place.folder,
            };
            let file = base.join(path);
            let folder = file.parent().map(Path::to_path_buf).unwrap_or_default();
            let place = Place { folder, module, is_inline: false };
            return self.read_file(root, &file, Some(parent), &place);
        }
        let beside = place.folder.join(format!("{}.rs", child.name));
        let inside = folder.join("mod.rs");
        let file = if beside.is_file() { beside } else { inside };
        self.read_file(root, &file, Some(parent), &Place { folder, module, is_inline: false })
    }

    /// Returns the files with an edge for each name that one uses and another defines.
    pub fn into_graph(self) -> Graph {
        let mut edges = BTreeMap::new();
        for (id, module) in self.modules.iter().enumerate() {
            for used in &module.contents.used {
                if self.has_edge_of_import(id, used) {
                    continue;
                }
                let files: BTreeSet<usize> = self
                    .resolve_used(id, &used.name, used.kind)
                    .into_iter()
                    .filter_map(|target| match target {
                        Target::Item(file) if file != module.file => Some(file),
                        _ => None,
                    })
                    .collect();
                for file in files {
                    let key = (module.file, file, used.name.clone());
                    let line = edges.entry(key).or_insert(used.line);
                    *line = used.line.min(*line);
                }
            }
        }
        let edges = edges
            .into_iter()
            .map(|((from, to, name), line)| Edge { from, to, line, name: name.join("::") })
            .collect();
        let mut graph = Graph { files: self.files, edges };
        graph.sort();
        graph
    }

    /// Whether the name starts with an item that the module imports: the import is the edge.
    fn has_edge_of_import(&self, id: usize, used: &Used) -> bool {
        let contents = &self.modules[id].contents;
        let bindings = |names: &BTreeMap<String, Vec<Binding>>| {
            names.get(&used.name[0]).cloned().unwrap_or_default()
        };
        let mut all = bindings(&contents.bindings);
        all.extend(bindings(&contents.local_bindings));
        !all.is_empty()
            && all.iter().all(|binding| match binding {
                Binding::Import { name, exported: false } => {
                    *name != used.name
                        && !self
                            .resolve(id, name, &mut Vec::new())
                            .iter()
                            .any(|target| matches!(target, Target::Module(_)))
                }
                _ => false,
            })
    }

    fn resolve_used(&self, module: usize, name: &Name, kind: Kind) -> BTreeSet<Target> {
        let found = self.resolve(module, name, &mut Vec::new());
        if !found.is_empty() || kind != Kind::Macro || name.len() > 1 {
            return found;
        }
        // `macro_rules!` without an import: the nearest enclosing module that defines it.
        let mut current = self.modules[module].parent;
        while let Some(id) = current {
            let bindings = self.modules[id].contents.bindings.get(&name[0]);
            if bindings.is_some_and(|bindings| bindings.contains(&Binding::Macro)) {
                return BTreeSet::from([Target::Item(self.modules[id].file)]);
            }
            current = self.modules[id].parent;
        }
        BTreeSet::new()
    }

    /// Resolves a name as code in `module` sees it. Names from other crates resolve to nothing.
    /// `active` holds the lookups in progress, as re-exports can be circular.
    fn resolve(
        &self,
        module: usize,
        name: &[String],
        active: &mut Vec<(usize, String)>,
    ) -> BTreeSet<Target> {
        let Some((first, rest)) = name.split_first() else { return BTreeSet::new() };
        let parent = self.modules[module].parent;
        let mut targets = match first.as_str() {
            "crate" => BTreeSet::from([Target::Module(0)]),
            "self" => BTreeSet::from([Target::Module(module)]),
            "super" => parent.map(Target::Module).into_iter().collect(),
            _ => self.look_up(module, first, true, active),
        };
        for part in rest {
            let modules: Vec<usize> = targets
                .iter()
                .filter_map(|target| match target {
                    Target::Module(id) => Some(*id),
                    Target::Item(_) => None,
                })
                .collect();
            if modules.is_empty() {
                // The rest names a variant, a method or an associated item.
                return targets;
            }
            targets = BTreeSet::new();
            for id in modules {
                if part == "super" {
                    targets.extend(self.modules[id].parent.map(Target::Module));
                    continue;
                }
                let found = self.look_up(id, part, false, active);
                if found.is_empty() {
                    // A macro of that module defines the name.
                    targets.insert(Target::Item(self.modules[id].file));
                }
                targets.extend(found);
            }
        }
        targets
    }

    /// Finds a name in one module: its items and children, its imports, then its globs.
    fn look_up(
        &self,
        id: usize,
        name: &str,
        is_inside: bool,
        active: &mut Vec<(usize, String)>,
    ) -> BTreeSet<Target> {
        let module = &self.modules[id];
        let children = module.children.get(name).into_iter().flatten();
        let mut found: BTreeSet<Target> = children.map(|child| Target::Module(*child)).collect();
        let bindings = module.contents.bindings.get(name).into_iter().flatten();
        let local = is_inside.then(|| module.contents.local_bindings.get(name)).flatten();
        let bindings: Vec<&Binding> = bindings.chain(local.into_iter().flatten()).collect();
        if bindings.iter().any(|binding| !matches!(binding, Binding::Import { .. })) {
            found.insert(Target::Item(module.file));
        }
        let key = (id, name.to_owned());
        if active.contains(&key) {
            return found;
        }
        active.push(key);
        for binding in &bindings {
            if let Binding::Import { name, .. } = binding {
                found.extend(self.resolve(id, name, active));
            }
        }
        if found.is_empty() && bindings.is_empty() {
            for glob in &module.contents.globs {
                for target in self.resolve(id, glob, active) {
                    if let Target::Module(target) = target {
                        found.extend(self.look_up(target, name, false, active));
                    }
                }
            }
        }
        active.pop();
        found
    }
}
