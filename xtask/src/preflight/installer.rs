//! Installs rustup's targets for any user, and Debian's packages for root. A failure is reported
//! but not fatal here: the second examination of the machine decides.

use std::process::Command;

use super::assess::{Missing, Remedy};
use crate::progress;

/// Seconds that an installation waits for another package manager to release Debian's lock.
const LOCK_TIMEOUT_S: u32 = 300;

/// Installs everything whose remedy can be executed.
pub fn install(missing: &[Missing]) {
    for command in &mut commands(missing) {
        if let Err(error) = progress::run(command) {
            eprintln!("preflight: {error:#}");
        }
    }
}

fn commands(missing: &[Missing]) -> Vec<Command> {
    let targets: Vec<&str> = missing
        .iter()
        .filter_map(
            |entry| if let Remedy::RustTarget(target) = entry.remedy { Some(target) } else { None },
        )
        .collect();
    let packages: Vec<&str> = missing
        .iter()
        .filter_map(|entry| {
            if let Remedy::Packages(packages) = entry.remedy { Some(packages) } else { None }
        })
        .flatten()
        .copied()
        .collect();
    let mut commands = Vec::new();
    if !targets.is_empty() {
        let mut rustup = Command::new("rustup");
        rustup.args(["target", "add"]).args(targets);
        commands.push(rustup);
    }
    if !packages.is_empty() {
        commands.push(apt(&["update", "-q"], &[]));
        commands.push(apt(&["install", "-q", "-y", "--no-install-recommends"], &packages));
    }
    commands
}

fn apt(arguments: &[&str], packages: &[&str]) -> Command {
    let mut command = Command::new("apt-get");
    command
        .env("DEBIAN_FRONTEND", "noninteractive")
        .args(["-o", &format!("DPkg::Lock::Timeout={LOCK_TIMEOUT_S}")]);
    command.args(arguments).args(packages);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(missing: &[Missing]) -> Vec<String> {
        let line = |command: &Command| {
            let words = std::iter::once(command.get_program()).chain(command.get_args());
            words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
        };
        commands(missing).iter().map(line).collect()
    }

    fn missing(remedy: Remedy) -> Missing {
        Missing { what: "it".into(), remedy }
    }

    #[test]
    fn one_call_installs_all_of_a_kind() {
        let lines = lines(&[
            missing(Remedy::RustTarget("a")),
            missing(Remedy::Packages(&["x"])),
            missing(Remedy::RustTarget("b")),
            missing(Remedy::Packages(&["y", "z"])),
        ]);
        assert_eq!(lines[0], "rustup target add a b");
        assert!(lines[1].starts_with("apt-get") && lines[1].ends_with("update -q"), "{}", lines[1]);
        assert!(lines[2].starts_with("apt-get") && lines[2].ends_with(" x y z"), "{}", lines[2]);
        assert_eq!(lines.len(), 3);
    }

    #[test]
    fn manual_remedies_are_never_run() {
        assert!(lines(&[missing(Remedy::Manual("sudo rm".into()))]).is_empty());
    }
}
