//! The declared order as `docs/ARCHITECTURE.md` shows it, between two markers.

use std::fs;

use anyhow::{Context, Result, bail};

use super::{
    config::{FILE, Order},
    lines::COLUMNS_MAX,
    report::Problem,
};
use crate::workspace::Workspace;

const DOCUMENT: &str = "docs/ARCHITECTURE.md";
const BEGIN: &str = "<!-- layers: written by `cargo xtask layers --write` from layers.toml -->";
const END: &str = "<!-- /layers -->";

/// Compares the document with the declared order.
pub fn check(workspace: &Workspace, orders: &[Order]) -> Result<Option<Problem>> {
    let text = read(workspace)?;
    let text = match replaced(&text, orders) {
        Ok(wanted) if wanted == text => return Ok(None),
        Ok(_) => format!("shows another order than {FILE}; run `cargo xtask layers --write`"),
        Err(error) => error.to_string(),
    };
    Ok(Some(Problem::of(DOCUMENT, text)))
}

/// Writes the declared order into the document.
pub fn write(workspace: &Workspace, orders: &[Order]) -> Result<()> {
    let text = replaced(&read(workspace)?, orders)?;
    fs::write(workspace.path(DOCUMENT), text).with_context(|| format!("cannot write {DOCUMENT}"))
}

fn read(workspace: &Workspace) -> Result<String> {
    fs::read_to_string(workspace.path(DOCUMENT)).with_context(|| format!("cannot read {DOCUMENT}"))
}

/// Returns the document with the block between the markers replaced.
fn replaced(text: &str, orders: &[Order]) -> Result<String> {
    let parts = text
        .split_once(BEGIN)
        .and_then(|(before, rest)| rest.split_once(END).map(|(_, after)| (before, after)));
    let Some((before, after)) = parts else {
        bail!("lacks the lines `{BEGIN}` and `{END}`, between which the order stands");
    };
    Ok(format!("{before}{BEGIN}\n```\n{}```\n{END}{after}", render(orders)))
}

/// Renders each order as a paragraph: layers from bottom to top, wrapped.
fn render(orders: &[Order]) -> String {
    let width = orders.iter().map(|order| order.title().len()).max().unwrap_or(0) + 2;
    let mut text = String::new();
    for order in orders {
        let mut line = format!("{:width$}", order.title());
        let last = order.layers.len().saturating_sub(1);
        for (position, layer) in order.layers.iter().enumerate() {
            let mut members: Vec<String> = layer
                .iter()
                .map(|name| format!("{name}{}", separator(order, layer, name)))
                .collect();
            if let (Some(member), true) = (members.last_mut(), position != last) {
                member.push_str(" →");
            }
            for member in members {
                if line.chars().count() + member.chars().count() > COLUMNS_MAX {
                    text.push_str(line.trim_end());
                    text.push('\n');
                    line = " ".repeat(width);
                }
                line.push_str(&member);
                line.push(' ');
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Returns what stands between a member of a layer and the next one.
fn separator(order: &Order, layer: &[String], name: &str) -> &'static str {
    let next = layer.iter().skip_while(|member| *member != name).nth(1);
    match next {
        None => "",
        Some(next) if order.apart.contains(name) && order.apart.contains(next) => " |",
        Some(_) => " ·",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::config;

    #[test]
    fn the_block_is_replaced_and_shows_the_layers_from_bottom_to_top() {
        let config = config::parse(
            "[[source]]\nname = \"a\"\nroot = \"a/lib.rs\"\n\
             [[order]]\nmodule = \"a::b\"\nlayers = [\"x\", [\"y\", \"z\"], [\"p\", \"q\"]]\n\
             apart = [\"p\", \"q\"]\n",
        )
        .unwrap();
        assert_eq!(render(&config.orders), "a::b  x → y · z → p | q\n");
        let text = format!("before\n{BEGIN}\nold\n{END}\nafter\n");
        let text = replaced(&text, &config.orders).unwrap();
        assert!(text.starts_with("before\n") && text.ends_with("\nafter\n"));
        assert!(text.contains("x → y") && !text.contains("old"));
        assert_eq!(replaced(&text, &config.orders).unwrap(), text);
        assert!(replaced("no markers", &config.orders).is_err());
    }
}
