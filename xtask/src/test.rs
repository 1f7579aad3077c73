//! `cargo xtask test`: every gate and every test of the repository, ordered so that later steps use
//! the output of earlier ones. A failed step does not stop independent steps, so one run shows all
//! errors.

use std::{collections::BTreeSet, path::PathBuf, process::Command};

use anyhow::{Result, bail};

use crate::{
    cli::TestOptions,
    layers,
    node_modules::{self, npm},
    preflight::{self, BARE_TARGET, Environment, Need, WASM_TARGET},
    progress::{Clock, Steps, run as run_command},
    simulate, tools, wasm,
    workspace::Workspace,
};

/// Crates that compile for the browser and so are linted for it too.
const BROWSER_CRATES: [&str; 4] =
    ["tequio-core", "tequio-p2p", "tequio-wasm", "tequio-webrtc-page"];
/// Crates outside the workspace, whose format and licences are checked like the rest.
const OUTSIDE_CRATES: [&str; 2] = ["xtask/bindgen/Cargo.toml", "tests/fuzz/Cargo.toml"];
/// Tests that need a quiet machine, or take minutes.
const LONG_TESTS: &str = "binary(first_load) or test(each_way_with_unmodified_offers)";
/// Folders with npm packages of their own.
const NPM_FOLDERS: [&str; 3] = ["web", "tests/browser", "tests/js-libp2p"];

/// Context of every step.
struct Context {
    workspace: Workspace,
    environment: Environment,
}

/// One gate or one set of tests.
struct Step {
    name: &'static str,
    title: &'static str,
    /// Steps whose output this step uses.
    needs: &'static [&'static str],
    run: fn(&Context) -> Result<()>,
}

/// The steps of every run, and after them those of `--long`.
const STEPS: [Step; 17] = [
    Step { name: "fmt", title: "formatting is rustfmt's", needs: &[], run: fmt },
    Step {
        name: "deny",
        title: "bans, licences and sources of dependencies",
        needs: &[],
        run: deny,
    },
    Step { name: "bare", title: "core for a bare target and for wasm32", needs: &[], run: bare },
    Step { name: "clippy", title: "lints, with warnings as errors", needs: &[], run: clippy },
    Step {
        name: "docs",
        title: "documentation, with broken links as errors",
        needs: &[],
        run: docs,
    },
    Step { name: "npm", title: "npm packages as locked", needs: &[], run: npm_packages },
    Step {
        name: "layers",
        title: "one direction of imports, width of lines, length of files",
        needs: &["npm"],
        run: layers,
    },
    Step {
        name: "wasm",
        title: "the browser's module, within its budget",
        needs: &["npm"],
        run: wasm_module,
    },
    Step { name: "web", title: "the npm package and the page", needs: &["wasm"], run: web },
    Step { name: "build", title: "programs and tests", needs: &[], run: build },
    Step {
        name: "test",
        title: "unit, property, network and browser tests",
        needs: &["build", "web"],
        run: test,
    },
    Step {
        name: "simulate",
        title: "consensus in virtual time, under faults and Byzantine members",
        needs: &[],
        run: simulation,
    },
    Step {
        name: "doctest",
        title: "examples in the documentation",
        needs: &["build"],
        run: doctest,
    },
    Step {
        name: "web-test",
        title: "unit tests of the npm package and the page",
        needs: &["web"],
        run: web_test,
    },
    Step {
        name: "web-install",
        title: "the packed package in a fresh Vite project",
        needs: &["web"],
        run: web_install,
    },
    Step { name: "web-page", title: "the page in a real Chromium", needs: &["web"], run: web_page },
    Step {
        name: "long-campaigns",
        title: "measurements and campaigns that take minutes, or a quiet machine",
        needs: &["build", "web"],
        run: long_campaigns,
    },
];
/// The steps of `--long`. They depend on the steps that they name; no step depends on them.
const LONG_STEPS: [&str; 1] = ["long-campaigns"];

/// Runs the steps that the options select.
pub fn run(options: &TestOptions) -> Result<()> {
    if options.list {
        STEPS.iter().for_each(|step| println!("{:<12} {}", step.name, step.title));
        return Ok(());
    }
    let selected = select(&options.only, options.long)?;
    let workspace = Workspace::locate()?;
    let environment = preflight::run(&workspace, &Need::all())?;
    let context = Context { workspace, environment };
    let mut steps = Steps::new(selected.len());
    let mut failed = Vec::new();
    let mut unusable = BTreeSet::new();
    for step in &selected {
        if let Some(cause) = step.needs.iter().find(|need| unusable.contains(*need)) {
            steps.skip(step.title, &format!("because `{cause}` failed"));
            unusable.insert(step.name);
        } else if let Err(error) =
            steps.run(&format!("{}: {}", step.name, step.title), || (step.run)(&context))
        {
            eprintln!("error: {error:#}");
            unusable.insert(step.name);
            failed.push(step.name);
        }
    }
    let skipped = unusable.len() - failed.len();
    eprintln!("all steps took {}", Clock(steps.elapsed()));
    println!(
        "steps: {} passed, {} failed, {skipped} skipped",
        selected.len() - unusable.len(),
        failed.len()
    );
    if failed.is_empty() {
        return Ok(());
    }
    bail!("failed: {}; run one alone with `cargo xtask test --only STEP`", failed.join(", "));
}

/// Returns the named steps and those that they depend on, in the order of the table. Without names:
/// the steps of `--long`, or all others.
fn select(only: &[String], long: bool) -> Result<Vec<&'static Step>> {
    if let Some(unknown) = only.iter().find(|name| STEPS.iter().all(|step| step.name != *name)) {
        let names: Vec<&str> = STEPS.iter().map(|step| step.name).collect();
        bail!("there is no step {unknown:?}; the steps are {}", names.join(", "));
    }
    let mut wanted: BTreeSet<&str> = only.iter().map(String::as_str).collect();
    if only.is_empty() {
        let usual =
            STEPS.iter().map(|step| step.name).filter(|name| LONG_STEPS.contains(name) == long);
        wanted.extend(usual);
    } else if long {
        wanted.extend(LONG_STEPS);
    }
    // A step depends only on steps before it, so one pass backwards finds all.
    for step in STEPS.iter().rev() {
        if wanted.contains(step.name) {
            wanted.extend(step.needs);
        }
    }
    Ok(STEPS.iter().filter(|step| wanted.contains(step.name)).collect())
}

fn fmt(context: &Context) -> Result<()> {
    run_command(context.workspace.cargo().args(["fmt", "--all", "--check"]))?;
    for manifest in OUTSIDE_CRATES {
        run_command(context.workspace.cargo().args([
            "fmt",
            "--check",
            "--manifest-path",
            manifest,
        ]))?;
    }
    Ok(())
}

fn deny(context: &Context) -> Result<()> {
    for manifest in ["Cargo.toml"].iter().chain(&OUTSIDE_CRATES) {
        let mut deny = tools::deny(&context.workspace)?;
        deny.args(["--locked", "--manifest-path", manifest, "--config"])
            .arg(context.workspace.path("deny.toml"));
        run_command(deny.args(["check", "bans", "licenses", "sources"]))?;
    }
    Ok(())
}

fn bare(context: &Context) -> Result<()> {
    for target in [BARE_TARGET, WASM_TARGET] {
        run_command(&mut tools::bare_core(&context.workspace, target))?;
    }
    Ok(())
}

fn clippy(context: &Context) -> Result<()> {
    let mut host = context.workspace.cargo();
    run_command(host.args([
        "clippy",
        "--locked",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ]))?;
    let mut simulator = context.workspace.cargo();
    simulator.arg("clippy").args(simulate::BUILD).args(simulate::program());
    run_command(simulator.args(simulate::tests()).args(["--", "-D", "warnings"]))?;
    let mut browser = context.workspace.cargo();
    browser.args(["clippy", "--locked", "--target", WASM_TARGET]);
    for package in BROWSER_CRATES {
        browser.args(["--package", package]);
    }
    run_command(browser.args(["--", "-D", "warnings"]))
}

fn docs(context: &Context) -> Result<()> {
    let mut cargo = context.workspace.cargo();
    run_command(
        cargo
            .args(["doc", "--locked", "--workspace", "--no-deps"])
            .env("RUSTDOCFLAGS", "-D warnings"),
    )
}

fn npm_packages(context: &Context) -> Result<()> {
    NPM_FOLDERS.iter().try_for_each(|folder| node_modules::install(&context.workspace.path(folder)))
}

fn layers(context: &Context) -> Result<()> {
    layers::check(&context.workspace)
}

fn wasm_module(context: &Context) -> Result<()> {
    wasm::build(&context.workspace)?;
    wasm::build_for_test(&context.workspace)?;
    wasm::check_size(&context.workspace)
}

fn web(context: &Context) -> Result<()> {
    let web = context.workspace.path("web");
    run_command(npm(&web).args(["run", "check"]))?;
    run_command(npm(&web).args(["run", "build"]))
}

/// Builds tests and programs in one call. In separate builds, the features of dependencies could
/// differ, and they would be compiled twice.
fn build(context: &Context) -> Result<()> {
    run_command(context.workspace.cargo().args([
        "build",
        "--locked",
        "--workspace",
        "--bins",
        "--tests",
    ]))
}

fn test(context: &Context) -> Result<()> {
    let mut nextest = tools::nextest(&context.workspace)?;
    run_command(with_chromium(
        nextest.args(["run", "--locked", "--workspace", "--no-fail-fast"]),
        context,
    ))
}

/// Runs a campaign of many seeds. Then it runs the tests behind the feature `long` one after the
/// other, with their measurements on the screen.
fn long_campaigns(context: &Context) -> Result<()> {
    campaign(context, "every-run")?;
    let mut nextest = tools::nextest(&context.workspace)?;
    // With the whole workspace, dependencies keep the features with which they are already built.
    nextest.args(["run", "--locked", "--workspace", "--features", "tequio-tests/long"]);
    nextest.args(["--no-fail-fast", "--no-capture", "--filterset", LONG_TESTS]);
    run_command(with_chromium(&mut nextest, context))
}

/// Runs apart from the other tests, because nothing else may be built with the simulator's feature.
fn simulation(context: &Context) -> Result<()> {
    let mut nextest = tools::nextest(&context.workspace)?;
    nextest.args(["run", "--no-fail-fast"]).args(simulate::BUILD);
    run_command(nextest.args(simulate::tests()))?;
    campaign(context, "test")
}

fn campaign(context: &Context, name: &str) -> Result<()> {
    let arguments = ["--campaign", name, "--json"].map(Into::into);
    run_command(&mut simulate::command(&context.workspace, arguments)?)
}

fn doctest(context: &Context) -> Result<()> {
    run_command(context.workspace.cargo().args(["test", "--locked", "--workspace", "--doc"]))
}

fn web_test(context: &Context) -> Result<()> {
    run_command(with_chromium(npm(&context.workspace.path("web")).arg("test"), context))
}

fn web_install(context: &Context) -> Result<()> {
    run_command(with_chromium(
        npm(&context.workspace.path("web")).args(["run", "test:install"]),
        context,
    ))
}

fn web_page(context: &Context) -> Result<()> {
    run_command(with_chromium(
        npm(&context.workspace.path("web")).args(["run", "test:page"]),
        context,
    ))
}

/// Passes the browser to the tests.
fn with_chromium<'a>(command: &'a mut Command, context: &Context) -> &'a mut Command {
    let chromium =
        context.environment.chromium.clone().unwrap_or_else(|| PathBuf::from("chromium"));
    command.env("TEQUIO_CHROMIUM", chromium)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(only: &[&str]) -> Vec<&'static str> {
        let only: Vec<String> = only.iter().map(ToString::to_string).collect();
        select(&only, false).unwrap().iter().map(|step| step.name).collect()
    }

    #[test]
    fn steps_need_only_steps_before_them() {
        for (position, step) in STEPS.iter().enumerate() {
            for need in step.needs {
                let found = STEPS.iter().position(|other| other.name == *need);
                assert!(found.is_some_and(|found| found < position), "{} needs {need}", step.name);
            }
        }
    }

    #[test]
    fn selection_adds_what_is_needed_and_keeps_the_order() {
        assert_eq!(names(&["web-page", "fmt"]), ["fmt", "npm", "wasm", "web", "web-page"]);
        assert_eq!(names(&["deny"]), ["deny"]);
        assert!(select(&["frm".into()], false).is_err());
    }

    #[test]
    fn longer_campaigns_run_only_on_request() {
        assert_eq!(names(&[]).len(), STEPS.len() - LONG_STEPS.len());
        let long: Vec<&str> = select(&[], true).unwrap().iter().map(|step| step.name).collect();
        assert_eq!(long, ["npm", "wasm", "web", "build", "long-campaigns"]);
        let both = select(&["fmt".into()], true).unwrap();
        assert_eq!(both.len(), long.len() + 1);
        assert_eq!(names(&["long-campaigns"]), long);
    }
}
