//! Lines above 100 columns, and files above 500 lines.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use anyhow::{Context, Result};
use proc_macro2::{TokenStream, TokenTree};

use super::{
    config::{FILE, LongFile},
    report::Problem,
};
use crate::workspace::Workspace;

/// The most columns of a line.
pub const COLUMNS_MAX: usize = 100;
/// The most lines of a file of code that is not in the list.
pub const LINES_MAX: usize = 500;

/// Languages by the ending of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Language {
    Rust,
    TypeScript,
    Markdown,
}

/// What the files of the repository break, and how many long lines there are of each kind.
#[derive(Debug, Default)]
pub struct Findings {
    pub problems: Vec<Problem>,
    pub kinds: BTreeMap<&'static str, usize>,
}

/// Checks every file of the repository.
pub fn check(workspace: &Workspace, long_files: &[LongFile]) -> Result<Findings> {
    let mut files = Vec::new();
    collect(workspace, workspace.root(), &ignored(workspace), &mut files)?;
    files.sort();
    let mut findings = Findings::default();
    let mut allowed: BTreeSet<&str> = long_files.iter().map(|file| file.path.as_str()).collect();
    for (path, language) in files {
        let text = fs::read_to_string(workspace.path(&path))
            .with_context(|| format!("cannot read {path}"))?;
        for (line, kind, columns) in long_lines(&text, language) {
            *findings.kinds.entry(kind).or_default() += 1;
            let text = format!("{columns} columns in {kind}; wrap it at {COLUMNS_MAX}");
            findings.problems.push(Problem::at(&path, line, text));
        }
        let lines = text.lines().count();
        if language != Language::Markdown && lines > LINES_MAX && !allowed.remove(path.as_str()) {
            let text = format!(
                "{lines} lines; split it so that each file has one owner and at most {LINES_MAX} \
                 lines, or add it to {FILE} as [[long_file]] with the reason"
            );
            findings.problems.push(Problem::of(&path, text));
        }
    }
    for path in allowed {
        let text = format!("[[long_file]] {path} has at most {LINES_MAX} lines; remove the entry");
        findings.problems.push(Problem::of(FILE, text));
    }
    Ok(findings)
}

/// Collects the files of a folder and of the folders in it, without built ones.
fn collect(
    workspace: &Workspace,
    folder: &Path,
    ignored: &[String],
    files: &mut Vec<(String, Language)>,
) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()));
    for entry in entries? {
        let entry = entry.with_context(|| format!("cannot read {}", folder.display()))?;
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        let relative = path.strip_prefix(workspace.root()).unwrap_or(&path);
        let relative = relative.to_string_lossy().replace('\\', "/");
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            let is_ignored = name.starts_with('.')
                || path == workspace.target()
                || path.join("CACHEDIR.TAG").exists()
                || ignored
                    .iter()
                    .any(|ignored| *ignored == name || *ignored == format!("/{relative}"));
            if !is_ignored {
                collect(workspace, &path, ignored, files)?;
            }
        } else if let Some(language) = language(&name) {
            files.push((relative, language));
        }
    }
    Ok(())
}

/// Returns the folders in `.gitignore`: a name, or a path from the root that starts with `/`.
fn ignored(workspace: &Workspace) -> Vec<String> {
    let text = fs::read_to_string(workspace.path(".gitignore")).unwrap_or_default();
    text.lines().filter_map(|line| line.strip_suffix('/')).map(str::to_owned).collect()
}

fn language(name: &str) -> Option<Language> {
    match Path::new(name).extension()?.to_str()? {
        "rs" => Some(Language::Rust),
        "ts" | "tsx" => Some(Language::TypeScript),
        "md" => Some(Language::Markdown),
        _ => None,
    }
}

/// Returns the number, kind and width of each long line.
fn long_lines(text: &str, language: Language) -> Vec<(usize, &'static str, usize)> {
    let mut found = Vec::new();
    let mut is_fenced = false;
    for (position, line) in text.lines().enumerate() {
        let start = line.trim_start();
        if language == Language::Markdown {
            let is_fence = start.starts_with("```") || start.starts_with("~~~");
            is_fenced ^= is_fence;
            if is_fence || is_fenced || start.starts_with('|') {
                continue;
            }
        }
        let is_comment = language == Language::Rust && start.starts_with("//");
        if is_comment && start.trim_start_matches(['/', '!']).trim_start().starts_with('|') {
            // A table in a doc comment.
            continue;
        }
        let columns = line.chars().count();
        if columns > COLUMNS_MAX && width_without_urls(line) > COLUMNS_MAX {
            let kind = match language {
                Language::Rust if is_comment => "a Rust comment",
                Language::Rust => "Rust code",
                Language::TypeScript => "TypeScript",
                Language::Markdown => "Markdown",
            };
            found.push((position + 1, kind, columns));
        }
    }
    if language == Language::Rust && found.iter().any(|(_, kind, _)| *kind == "Rust code") {
        let literals = literal_lines(text);
        for (line, kind, _) in &mut found {
            if *kind == "Rust code" && literals.contains(line) {
                *kind = "a Rust string literal";
            }
        }
    }
    found
}

/// Returns the width of a line without its web addresses, which cannot be wrapped.
fn width_without_urls(line: &str) -> usize {
    let urls: usize =
        line.split(' ').filter(|word| word.contains("://")).map(|word| word.chars().count()).sum();
    line.chars().count() - urls
}

/// Returns the lines in which a literal crosses the limit.
fn literal_lines(text: &str) -> BTreeSet<usize> {
    fn visit(tokens: TokenStream, lines: &mut BTreeSet<usize>) {
        for token in tokens {
            match token {
                TokenTree::Group(group) => visit(group.stream(), lines),
                TokenTree::Literal(literal) => {
                    let (start, end) = (literal.span().start(), literal.span().end());
                    let last = end.line - usize::from(end.column <= COLUMNS_MAX);
                    lines.extend(start.line..=last);
                }
                TokenTree::Ident(_) | TokenTree::Punct(_) => {}
            }
        }
    }
    let mut lines = BTreeSet::new();
    if let Ok(tokens) = text.parse() {
        visit(tokens, &mut lines);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_classified_by_kind() {
        let long = "x".repeat(101);
        let rust = format!("// {long}\nconst A: &str = \"{long}\";\nfn a{long}() {{}}\n");
        let kinds: Vec<_> =
            long_lines(&rust, Language::Rust).into_iter().map(|line| line.1).collect();
        assert_eq!(kinds, ["a Rust comment", "a Rust string literal", "Rust code"]);
        let part = "ö".repeat(100);
        assert_eq!(long_lines(&part, Language::TypeScript), []);
    }

    #[test]
    fn tables_fences_and_addresses_may_be_long() {
        let long = "x".repeat(101);
        assert_eq!(long_lines(&format!("//! | {long} |\n"), Language::Rust), []);
        let text = format!("| {long} |\n```\n{long}\n```\nsee https://{long}\n{long}\n");
        assert_eq!(long_lines(&text, Language::Markdown), [(6, "Markdown", 101)]);
    }
}
