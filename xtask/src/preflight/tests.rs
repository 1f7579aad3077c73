//! Assessments of simulated machines of many kinds.

use super::*;

fn complete() -> Environment {
    Environment {
        system: System::Debian,
        root: true,
        rust: Some(Version { major: 1, minor: 95 }),
        rustup: true,
        targets: [WASM_TARGET, BARE_TARGET].map(String::from).into(),
        node: Some(Version { major: 20, minor: 19 }),
        npm: true,
        c_compiler: true,
        chromium: Some("/usr/bin/chromium".into()),
        free_bytes: Some(FREE_BYTES_MIN),
        built: false,
    }
}

fn empty() -> Environment {
    Environment {
        rust: None,
        rustup: false,
        targets: BTreeSet::new(),
        node: None,
        npm: false,
        c_compiler: false,
        chromium: None,
        free_bytes: Some(0),
        ..complete()
    }
}

fn remedy(environment: &Environment, need: Need) -> Remedy {
    let [missing] = assess(environment, &[need]).try_into().unwrap();
    missing.remedy
}

#[test]
fn a_complete_machine_lacks_nothing() {
    assert_eq!(assess(&complete(), &Need::all()), []);
}

#[test]
fn everything_missing_is_reported_at_once_and_in_order() {
    let missing = assess(&empty(), &Need::all());
    assert_eq!(missing.len(), Need::all().len());
    assert!(missing[0].what.contains("Rust 1."), "{}", missing[0].what);
    assert!(missing[7].what.contains("10 GB"), "{}", missing[7].what);
}

#[test]
fn only_the_requirements_of_a_command_are_checked() {
    let without_browser = Environment { chromium: None, ..complete() };
    assert_eq!(assess(&without_browser, &[Need::Rust, Need::Node]), []);
    assert_eq!(assess(&without_browser, &[Need::Chromium]).len(), 1);
}

#[test]
fn packages_are_installed_for_root_on_debian_only() {
    let root = Environment { chromium: None, c_compiler: false, ..complete() };
    assert_eq!(remedy(&root, Need::Chromium), Remedy::Packages(&["chromium"]));
    assert_eq!(remedy(&root, Need::CCompiler), Remedy::Packages(&["gcc", "libc6-dev"]));
    let person = Environment { root: false, ..root.clone() };
    assert_eq!(
        remedy(&person, Need::Chromium),
        Remedy::Manual("sudo apt-get install -y chromium".into())
    );
    for system in [
        System::Ubuntu,
        System::Fedora,
        System::Arch,
        System::Alpine,
        System::Suse,
        System::MacOs,
        System::Other,
    ] {
        let machine = Environment { system, ..root.clone() };
        for need in [Need::Chromium, Need::CCompiler] {
            assert!(
                matches!(remedy(&machine, need), Remedy::Manual(command) if !command.is_empty()),
                "{system:?} {need:?}"
            );
        }
    }
}

#[test]
fn targets_are_added_if_rustup_is_installed() {
    let rustup = Environment { targets: [BARE_TARGET.into()].into(), ..complete() };
    assert_eq!(assess(&rustup, &[Need::Target(BARE_TARGET)]), []);
    assert_eq!(remedy(&rustup, Need::Target(WASM_TARGET)), Remedy::RustTarget(WASM_TARGET));
    let distribution = Environment { rustup: false, ..rustup };
    assert!(matches!(remedy(&distribution, Need::Target(WASM_TARGET)), Remedy::Manual(_)));
}

#[test]
fn versions_are_compared_by_number() {
    for (major, minor, enough) in
        [(18, 20, false), (20, 9, false), (20, 19, true), (22, 0, true), (100, 0, true)]
    {
        let machine = Environment { node: Some(Version { major, minor }), ..complete() };
        assert_eq!(assess(&machine, &[Need::Node]).is_empty(), enough, "{major}.{minor}");
    }
    for (major, minor, enough) in
        [(1, 9, false), (1, 94, false), (1, 95, true), (1, 100, true), (2, 0, true)]
    {
        let machine = Environment { rust: Some(Version { major, minor }), ..complete() };
        assert_eq!(assess(&machine, &[Need::Rust]).is_empty(), enough, "{major}.{minor}");
    }
}

#[test]
fn versions_are_parsed_from_program_output() {
    assert_eq!(
        Version::find("rustc 1.95.0 (59807616e 2026-04-14)"),
        Some(Version { major: 1, minor: 95 })
    );
    assert_eq!(Version::find("v20.20.2\n"), Some(Version { major: 20, minor: 20 }));
    assert_eq!(
        Version::find("rustc 1.97.0-nightly (e50aa6fba 2026-05-19)"),
        Some(Version { major: 1, minor: 97 })
    );
    for nonsense in ["", "no version", "v", "1", "one.two", "99999999999.1"] {
        assert_eq!(Version::find(nonsense), None, "{nonsense:?}");
    }
}

#[test]
fn an_existing_build_needs_less_space() {
    let full = Environment { free_bytes: Some(FREE_BYTES_MIN - 1), ..complete() };
    assert_eq!(assess(&full, &[Need::Disk]).len(), 1);
    assert_eq!(assess(&Environment { built: true, ..full.clone() }, &[Need::Disk]), []);
    assert_eq!(assess(&Environment { free_bytes: None, ..full }, &[Need::Disk]), []);
}
