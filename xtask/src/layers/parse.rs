//! One Rust file, parsed: the names that it defines, imports and uses. Code that only tests compile
//! is left out.

use anyhow::{Context, Result};
use syn::{Ident, Item, UseTree, visit::Visit};

use super::{
    attributes::{attributes, is_test_only, path_attribute},
    collect::Collector,
    names::{Binding, Child, Kind, Name, Parsed, Used, text},
};

/// Parses a file. Returns nothing if only tests compile it.
pub fn parse(text: &str) -> Result<Option<Parsed>> {
    let file = syn::parse_file(text).context("syn cannot parse this file")?;
    Ok((!is_test_only(&file.attrs)).then(|| parse_module(&file.items)))
}

fn parse_module(items: &[Item]) -> Parsed {
    let mut parsed = Parsed::default();
    for item in items.iter().filter(|item| !is_test_only(attributes(item))) {
        parsed.bind(item);
        Collector::new(&mut parsed).visit_item(item);
    }
    parsed
}

impl Parsed {
    /// Records the name that an item defines.
    fn bind(&mut self, item: &Item) {
        let ident = match item {
            Item::Const(item) => &item.ident,
            Item::Enum(item) => &item.ident,
            Item::Fn(item) => &item.sig.ident,
            Item::Static(item) => &item.ident,
            Item::Struct(item) => &item.ident,
            Item::Trait(item) => &item.ident,
            Item::TraitAlias(item) => &item.ident,
            Item::Type(item) => &item.ident,
            Item::Union(item) => &item.ident,
            Item::Macro(item) => {
                if let Some(ident) = &item.ident {
                    self.bindings.entry(text(ident)).or_default().push(Binding::Macro);
                    if item.attrs.iter().any(|attribute| attribute.path().is_ident("macro_export"))
                    {
                        self.exported_macros.push(text(ident));
                    }
                }
                return;
            }
            Item::Mod(item) => {
                let path = item.attrs.iter().find_map(path_attribute);
                let inline = item.content.as_ref().map(|(_, items)| parse_module(items));
                self.children.push(Child { name: text(&item.ident), path, inline });
                return;
            }
            _ => return,
        };
        self.bindings.entry(text(ident)).or_default().push(Binding::Item);
    }

    /// Records an import. `depth` distinguishes imports of the module from those inside functions.
    pub fn import(&mut self, tree: &UseTree, prefix: &mut Name, exported: bool, depth: usize) {
        let (name, alias, kind, span) = match tree {
            UseTree::Path(path) => {
                prefix.push(text(&path.ident));
                self.import(&path.tree, prefix, exported, depth);
                prefix.pop();
                return;
            }
            UseTree::Group(group) => {
                group.items.iter().for_each(|tree| self.import(tree, prefix, exported, depth));
                return;
            }
            UseTree::Name(name) if name.ident == "self" => {
                (prefix.clone(), prefix.last().cloned(), Kind::Path, name.ident.span())
            }
            UseTree::Name(name) => (
                joined(prefix, &name.ident),
                Some(text(&name.ident)),
                Kind::Path,
                name.ident.span(),
            ),
            UseTree::Rename(rename) if rename.ident == "self" => {
                (prefix.clone(), Some(text(&rename.rename)), Kind::Path, rename.ident.span())
            }
            UseTree::Rename(rename) => (
                joined(prefix, &rename.ident),
                Some(text(&rename.rename)),
                Kind::Path,
                rename.ident.span(),
            ),
            UseTree::Glob(glob) => (prefix.clone(), None, Kind::Glob, glob.star_token.spans[0]),
        };
        if name.is_empty() {
            return;
        }
        if kind == Kind::Glob {
            self.globs.push(name.clone());
        } else if let Some(alias) = alias.filter(|alias| alias != "_") {
            let bindings = if depth == 0 { &mut self.bindings } else { &mut self.local_bindings };
            bindings
                .entry(alias)
                .or_default()
                .push(Binding::Import { name: name.clone(), exported });
        }
        if !exported {
            self.used.push(Used { name, line: span.start().line, kind });
        }
    }
}

fn joined(prefix: &[String], ident: &Ident) -> Name {
    prefix.iter().cloned().chain([text(ident)]).collect()
}
