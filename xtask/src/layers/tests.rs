//! Small made-up crates, and what the step finds in them.

use std::{
    fs,
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering},
};

use super::{
    config::{self, Config},
    graph::Graph,
    order, report,
    resolve::Crate,
};

/// A crate in a folder of its own, which goes with it.
struct Made {
    folder: PathBuf,
}

impl Made {
    fn new(files: &[(&str, &str)]) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("xtask-layers-{}-{count}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        for (path, text) in files {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Self { folder }
    }

    fn graph(&self) -> Graph {
        Crate::read(&self.folder, "lib.rs").unwrap().into_graph()
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The edges of a crate with these files.
fn edges(files: &[(&str, &str)]) -> Vec<String> {
    let graph = Made::new(files).graph();
    graph.edges.iter().map(|edge| graph.describe(edge)).collect()
}

fn configuration(order: &str) -> Config {
    config::parse(&format!(
        "[[source]]\nname = \"made\"\nroot = \"lib.rs\"\n[[order]]\nmodule = \"made\"\n{order}\n"
    ))
    .unwrap()
}

const CYCLE: [(&str, &str); 3] = [
    ("lib.rs", "mod a;\nmod b;\npub use a::A;\n"),
    ("a.rs", "use crate::b::B;\npub struct A(B);\n"),
    ("b.rs", "pub struct B;\nfn f() -> Option<super::A> { None }\n"),
];

#[test]
fn a_cycle_of_files_is_found() {
    let graph = Made::new(&CYCLE).graph();
    let config = configuration("layers = [[\"a\", \"b\"]]");
    let cycles = report::cycles(&config.sources[0], &graph);
    assert_eq!(
        cycles,
        ["made: cycle of 2 files\n  a.rs\n  b.rs\n    a.rs:1 -> b.rs (crate::b::B)\n    \
          b.rs:2 -> a.rs (super::A)\n"]
    );
    assert_eq!(order::check(&config.sources[0], &config.orders, &graph), []);
}

#[test]
fn a_child_and_its_parent_that_use_each_other_are_a_cycle() {
    let files = [
        ("lib.rs", "mod a;\n"),
        ("a/mod.rs", "mod b;\npub struct A;\nfn f() { b::g() }\n"),
        ("a/b.rs", "pub fn g() -> super::A { super::A }\n"),
    ];
    assert_eq!(Made::new(&files).graph().file_cycles().len(), 1);
}

#[test]
fn a_cycle_of_folders_is_found_without_one_of_files() {
    let files = [
        ("lib.rs", "mod a;\nmod b;\n"),
        ("a/mod.rs", "pub mod x;\npub mod y;\n"),
        ("a/x.rs", "use crate::b::z::Z;\n"),
        ("a/y.rs", "pub struct Y;\n"),
        ("b.rs", "pub mod z;\nuse crate::a::y::Y;\n"),
        ("b/z.rs", "pub struct Z;\n"),
    ];
    let graph = Made::new(&files).graph();
    assert_eq!(graph.file_cycles().len(), 0);
    assert_eq!(graph.folder_cycles().len(), 1);
}

#[test]
fn re_exports_resolve_to_the_definition_and_add_no_edges() {
    let found = edges(&[
        ("lib.rs", "pub mod a;\npub mod user;\npub use a::*;\n"),
        ("a/mod.rs", "mod b;\npub use self::b::{B as Renamed, c};\n"),
        ("a/b.rs", "pub struct B;\npub fn c() {}\n"),
        ("user.rs", "use crate::Renamed;\nfn f() { crate::a::c() }\n"),
    ]);
    assert_eq!(
        found,
        ["user.rs:1 -> a/b.rs (crate::Renamed)", "user.rs:2 -> a/b.rs (crate::a::c)"]
    );
}

#[test]
fn circular_re_exports_end() {
    let found = edges(&[
        ("lib.rs", "pub mod a;\npub mod b;\npub use a::a;\n"),
        ("a.rs", "pub use crate::b::*;\npub fn a() {}\n"),
        ("b.rs", "pub use crate::a::*;\nfn f() { a(); crate::a::missing(); }\n"),
    ]);
    assert_eq!(found, ["b.rs:2 -> a.rs (a)", "b.rs:2 -> a.rs (crate::a::missing)"]);
}

#[test]
fn code_of_tests_is_ignored() {
    let found = edges(&[
        ("lib.rs", "mod a;\nmod b;\n#[cfg(test)]\nmod fixture;\n"),
        ("a.rs", "pub struct A;\n#[cfg(all(test, unix))]\nuse crate::b::B;\n"),
        (
            "b.rs",
            "pub struct B;\n#[cfg(test)]\nmod tests { use crate::a::A; }\n\
             #[cfg(not(test))]\nuse crate::a::A;\n#[test]\nfn f() { crate::a::A; }\n",
        ),
        ("fixture.rs", "use crate::a::A;\n"),
    ]);
    assert_eq!(found, ["b.rs:5 -> a.rs (crate::a::A)"]);
}

#[test]
fn names_are_found_in_macros_attributes_and_through_imported_modules() {
    let found = edges(&[
        ("lib.rs", "#[macro_use]\nmod a;\nmod b;\n"),
        ("a.rs", "macro_rules! m { () => {} }\npub fn f() {}\npub struct S;\n"),
        (
            "b.rs",
            "use crate::a::{self, S};\n/// See [`a::f`].\npub(super) fn g() { let _ = \
             format!(\"{}\", a::f()); }\n#[arg(value = crate::a::f)]\nstruct T(S);\nfn h() { \
             std::mem::drop(1); }\n",
        ),
    ]);
    assert_eq!(
        found,
        ["b.rs:1 -> a.rs (crate::a::S)", "b.rs:3 -> a.rs (a::f)", "b.rs:4 -> a.rs (crate::a::f)"]
    );
}

#[test]
fn modules_at_other_paths_and_inline_modules_are_read() {
    let found = edges(&[
        ("lib.rs", "#[path = \"other/b.rs\"]\nmod a;\nmod c { pub mod d; pub struct C; }\n"),
        ("other/b.rs", "use crate::c::d::D;\nuse crate::c::C;\n"),
        ("c/d.rs", "pub struct D(super::super::c::C);\n"),
    ]);
    assert_eq!(
        found,
        [
            "c/d.rs:1 -> lib.rs (super::super::c::C)",
            "other/b.rs:1 -> c/d.rs (crate::c::d::D)",
            "other/b.rs:2 -> lib.rs (crate::c::C)"
        ]
    );
}

#[test]
fn the_order_is_enforced() {
    let graph = Made::new(&CYCLE).graph();
    let problems = |order: &str| -> Vec<String> {
        let config = configuration(order);
        let found = order::check(&config.sources[0], &config.orders, &graph);
        found.iter().map(ToString::to_string).collect()
    };
    let found = problems("layers = [\"a\", \"b\"]");
    assert_eq!(found.len(), 1);
    assert!(
        found[0].starts_with(
            "a.rs:1: uses `crate::b::B` of b.rs, but `a` is below `b` in the order of made"
        ),
        "{found:?}"
    );
    assert_eq!(problems("layers = [[\"a\", \"b\"]]\napart = [\"a\", \"b\"]").len(), 2);
    assert_eq!(
        problems("layers = [\"b\", \"gone\"]"),
        [
            "layers.toml: module `a` of made is in no layer; add it to one",
            "layers.toml: made has no module `gone`; remove it from the order"
        ]
    );
}

#[test]
fn the_file_of_layers_is_checked() {
    for wrong in [
        "[[order]]\nmodule = \"made\"\nlayers = []\n",
        "[[long_file]]\npath = \"a.rs\"\nreason = \" \"\n",
        "[[source]]\nname = \"a\"\nroot = \"b\"\nother = \"c\"\n",
        "[[other]]\n",
    ] {
        assert!(config::parse(wrong).is_err(), "{wrong}");
    }
}
