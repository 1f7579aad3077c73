//! The names of one module, as its source has them: what it defines, imports and uses.

use std::collections::BTreeMap;

use proc_macro2::Ident;

/// A name as written, for example `["crate", "wire", "Block"]`.
pub type Name = Vec<String>;

/// What a name stands for in the module that binds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Binding {
    /// An item that this file defines.
    Item,
    /// A macro that this file defines.
    Macro,
    /// A `use` of this name.
    Import { name: Name, exported: bool },
}

/// How a used name may resolve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Path,
    /// The last part is `*`, which the name leaves out.
    Glob,
    /// A macro, which may come from an enclosing module without an import.
    Macro,
}

/// One use of a name in the code of a module.
#[derive(Clone, Debug)]
pub struct Used {
    pub name: Name,
    pub line: usize,
    pub kind: Kind,
}

/// A child module: `mod name;`, or `mod name { … }` with its contents.
#[derive(Debug)]
pub struct Child {
    pub name: String,
    /// The value of `#[path = "…"]`.
    pub path: Option<String>,
    pub inline: Option<Parsed>,
}

/// The contents of one module.
#[derive(Debug, Default)]
pub struct Parsed {
    pub bindings: BTreeMap<String, Vec<Binding>>,
    /// Imports inside functions, which other modules cannot name.
    pub local_bindings: BTreeMap<String, Vec<Binding>>,
    /// Macros that `#[macro_export]` binds at the root of the crate.
    pub exported_macros: Vec<String>,
    pub globs: Vec<Name>,
    pub used: Vec<Used>,
    pub children: Vec<Child>,
}

/// The name without `r#`.
pub fn text(ident: &Ident) -> String {
    let text = ident.to_string();
    text.strip_prefix("r#").map_or(text.clone(), str::to_owned)
}
