//! The names that the items of a module use, in imports, paths, macros and attributes.

use proc_macro2::{Delimiter, Ident, Spacing, TokenStream, TokenTree};
use syn::{Attribute, Item, Meta, visit::Visit};

use super::{
    attributes::{attributes, is_test_only},
    names::{Kind, Name, Parsed, Used, text},
};

/// Collects the names that the items of one module use.
pub struct Collector<'a> {
    parsed: &'a mut Parsed,
    /// Blocks around the current place.
    depth: usize,
}

impl<'a> Collector<'a> {
    pub fn new(parsed: &'a mut Parsed) -> Self {
        Self { parsed, depth: 0 }
    }
}

impl Collector<'_> {
    fn record(&mut self, name: Name, line: usize, kind: Kind) {
        if name.first().is_some_and(|first| first != "Self") {
            self.parsed.used.push(Used { name, line, kind });
        }
    }

    /// Collects names from the tokens of a macro or attribute: every path of two or more parts, and
    /// single names that look like a type, a constant or a call.
    fn tokens(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut position = 0;
        let mut before_name = None;
        while let Some(token) = tokens.get(position) {
            position += 1;
            match token {
                TokenTree::Group(group) => self.tokens(group.stream()),
                TokenTree::Ident(first) => {
                    let mut name = vec![text(first)];
                    while let Some(next) = path_continues(&tokens, position) {
                        name.push(text(next));
                        position += 3;
                    }
                    let is_called = matches!(
                        tokens.get(position),
                        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Parenthesis
                    );
                    let is_macro = matches!(
                        (tokens.get(position), tokens.get(position + 1)),
                        (Some(TokenTree::Punct(bang)), Some(TokenTree::Group(_)))
                            if bang.as_char() == '!'
                    );
                    let is_member = matches!(before_name, Some('.' | ':'));
                    let kind = if is_macro { Kind::Macro } else { Kind::Path };
                    if name.len() > 1
                        || is_macro
                        || !is_member && (is_called || starts_upper_case(&name))
                    {
                        self.record(name, first.span().start().line, kind);
                    }
                }
                TokenTree::Literal(_) | TokenTree::Punct(_) => {}
            }
            before_name = match token {
                TokenTree::Punct(punct) => Some(punct.as_char()),
                _ => None,
            };
        }
    }
}

impl<'ast> Visit<'ast> for Collector<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        match item {
            _ if is_test_only(attributes(item)) => {}
            // Inline modules are modules of their own.
            Item::Mod(_) => {}
            Item::Use(item) => {
                let exported = !matches!(item.vis, syn::Visibility::Inherited);
                if item.leading_colon.is_none() {
                    self.parsed.import(&item.tree, &mut Name::new(), exported, self.depth);
                }
            }
            _ => syn::visit::visit_item(self, item),
        }
    }

    fn visit_block(&mut self, block: &'ast syn::Block) {
        self.depth += 1;
        syn::visit::visit_block(self, block);
        self.depth -= 1;
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let name: Name = path.segments.iter().map(|segment| text(&segment.ident)).collect();
        if path.leading_colon.is_none() && (name.len() > 1 || starts_upper_case(&name)) {
            self.record(name, line_of(path), Kind::Path);
        }
        syn::visit::visit_path(self, path);
    }

    fn visit_expr_call(&mut self, call: &'ast syn::ExprCall) {
        if let syn::Expr::Path(function) = &*call.func
            && let Some(ident) = function.path.get_ident()
        {
            self.record(vec![text(ident)], ident.span().start().line, Kind::Path);
        }
        syn::visit::visit_expr_call(self, call);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        let name = call.path.segments.iter().map(|segment| text(&segment.ident)).collect();
        self.record(name, line_of(&call.path), Kind::Macro);
        self.tokens(call.tokens.clone());
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        if let Meta::List(list) = &attribute.meta
            && !list.path.is_ident("cfg")
        {
            self.tokens(list.tokens.clone());
        }
    }

    /// `pub(super)` uses no item.
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}

    fn visit_impl_item(&mut self, item: &'ast syn::ImplItem) {
        let attributes = match item {
            syn::ImplItem::Const(item) => &item.attrs,
            syn::ImplItem::Fn(item) => &item.attrs,
            syn::ImplItem::Type(item) => &item.attrs,
            syn::ImplItem::Macro(item) => &item.attrs,
            _ => return,
        };
        if !is_test_only(attributes) {
            syn::visit::visit_impl_item(self, item);
        }
    }

    fn visit_local(&mut self, local: &'ast syn::Local) {
        if !is_test_only(&local.attrs) {
            syn::visit::visit_local(self, local);
        }
    }

    fn visit_arm(&mut self, arm: &'ast syn::Arm) {
        if !is_test_only(&arm.attrs) {
            syn::visit::visit_arm(self, arm);
        }
    }

    fn visit_field(&mut self, field: &'ast syn::Field) {
        if !is_test_only(&field.attrs) {
            syn::visit::visit_field(self, field);
        }
    }

    fn visit_field_value(&mut self, field: &'ast syn::FieldValue) {
        if !is_test_only(&field.attrs) {
            syn::visit::visit_field_value(self, field);
        }
    }

    fn visit_variant(&mut self, variant: &'ast syn::Variant) {
        if !is_test_only(&variant.attrs) {
            syn::visit::visit_variant(self, variant);
        }
    }
}

/// Returns the next part of a path, if `::` and a name follow.
fn path_continues(tokens: &[TokenTree], position: usize) -> Option<&Ident> {
    match tokens.get(position..position + 3)? {
        [TokenTree::Punct(first), TokenTree::Punct(second), TokenTree::Ident(ident)]
            if first.as_char() == ':'
                && first.spacing() == Spacing::Joint
                && second.as_char() == ':' =>
        {
            Some(ident)
        }
        _ => None,
    }
}

fn line_of(path: &syn::Path) -> usize {
    path.segments.first().map_or(0, |first| first.ident.span().start().line)
}

fn starts_upper_case(name: &[String]) -> bool {
    name.first().is_some_and(|first| first.starts_with(char::is_uppercase))
}
