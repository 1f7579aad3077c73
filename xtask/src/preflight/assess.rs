//! Assesses the facts of a machine: what is missing, and the remedy. Pure, so that tests cover
//! every kind of machine.

use std::{collections::BTreeSet, fmt, path::PathBuf};

/// The browser's target.
pub const WASM_TARGET: &str = "wasm32-unknown-unknown";
/// A microcontroller without an operating system: it proves that `core` needs none.
pub const BARE_TARGET: &str = "thumbv7em-none-eabihf";
/// The oldest Node.js that the page's bundler runs on.
const NODE_VERSION_MIN: Version = Version { major: 20, minor: 19 };
/// The oldest Rust, from the workspace's manifest.
const RUST_VERSION_MIN: &str = env!("CARGO_PKG_RUST_VERSION");
/// Disk space of a full build.
const FREE_BYTES_MIN: u64 = 10_000_000_000;
/// Disk space of a build on top of an earlier one.
const FREE_BYTES_MIN_WHEN_BUILT: u64 = 2_000_000_000;

/// A requirement of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    Rust,
    Target(&'static str),
    Node,
    Npm,
    CCompiler,
    Chromium,
    Disk,
}

impl Need {
    /// All requirements of any command.
    pub fn all() -> [Self; 8] {
        [
            Self::Rust,
            Self::Target(WASM_TARGET),
            Self::Target(BARE_TARGET),
            Self::Node,
            Self::Npm,
            Self::CCompiler,
            Self::Chromium,
            Self::Disk,
        ]
    }
}

/// Facts about a machine.
#[derive(Clone, Debug)]
pub struct Environment {
    pub system: System,
    pub root: bool,
    pub rust: Option<Version>,
    pub rustup: bool,
    pub targets: BTreeSet<String>,
    pub node: Option<Version>,
    pub npm: bool,
    pub c_compiler: bool,
    pub chromium: Option<PathBuf>,
    /// Free space at the target folder, unless the system cannot report it.
    pub free_bytes: Option<u64>,
    /// Whether the target folder holds an earlier build.
    pub built: bool,
}

/// The family of the operating system, distinguished by its package manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum System {
    Debian,
    Ubuntu,
    Fedora,
    Arch,
    Alpine,
    Suse,
    MacOs,
    Other,
}

/// The first two numbers of a version; only these are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    pub major: u32,
    pub minor: u32,
}

impl Version {
    /// Finds the first `N.N` in a line such as `rustc 1.95.0 (…)` or `v20.20.2`.
    pub fn find(text: &str) -> Option<Self> {
        text.split_whitespace().find_map(|word| {
            let mut numbers = word.trim_start_matches('v').split('.');
            let major = numbers.next()?.parse().ok()?;
            let minor = numbers.next()?.parse().ok()?;
            Some(Self { major, minor })
        })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.major, self.minor)
    }
}

/// A missing requirement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    pub what: String,
    pub remedy: Remedy,
}

/// The way to install a missing requirement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// A target of the toolchain, added by rustup.
    RustTarget(&'static str),
    /// Debian packages, installed as root.
    Packages(&'static [&'static str]),
    /// Not installed automatically: the command or the page for a person.
    Manual(String),
}

impl fmt::Display for Missing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: ", self.what)?;
        match &self.remedy {
            Remedy::RustTarget(target) => write!(formatter, "rustup target add {target}"),
            Remedy::Packages(packages) => {
                write!(formatter, "apt-get install -y {}", packages.join(" "))
            }
            Remedy::Manual(command) => write!(formatter, "{command}"),
        }
    }
}

/// Returns the requirements in `needs` that the machine does not meet, in their order.
pub fn assess(environment: &Environment, needs: &[Need]) -> Vec<Missing> {
    needs.iter().filter_map(|need| check(environment, *need)).collect()
}

fn check(environment: &Environment, need: Need) -> Option<Missing> {
    match need {
        Need::Rust => rust(environment),
        Need::Target(target) => rust_target(environment, target),
        Need::Node => node(environment),
        Need::Npm => (!environment.npm).then(|| Missing {
            what: "npm".into(),
            remedy: Remedy::Manual(
                "it comes with Node.js from https://nodejs.org/en/download".into(),
            ),
        }),
        Need::CCompiler => (!environment.c_compiler).then(|| Missing {
            what: "a C compiler (some cryptographic crates build C)".into(),
            remedy: package(environment, &["gcc", "libc6-dev"]),
        }),
        Need::Chromium => environment.chromium.is_none().then(|| Missing {
            what: "Chromium (the browser tests and `demo --headless` drive a real one; \
                   TEQUIO_CHROMIUM may name it)"
                .into(),
            remedy: package(environment, &["chromium"]),
        }),
        Need::Disk => disk(environment),
    }
}

fn rust(environment: &Environment) -> Option<Missing> {
    let least = Version::find(RUST_VERSION_MIN);
    let what = match environment.rust {
        Some(version) if Some(version) >= least => return None,
        Some(version) => format!("Rust {RUST_VERSION_MIN} or newer (here: {version})"),
        None => format!("Rust {RUST_VERSION_MIN} or newer"),
    };
    let command = if environment.rustup {
        "rustup update stable"
    } else {
        "install it from https://rustup.rs"
    };
    Some(Missing { what, remedy: Remedy::Manual(command.into()) })
}

fn rust_target(environment: &Environment, target: &'static str) -> Option<Missing> {
    if environment.targets.contains(target) {
        return None;
    }
    let remedy = if environment.rustup {
        Remedy::RustTarget(target)
    } else {
        Remedy::Manual(format!(
            "this Rust is not rustup's; install its standard library for {target}, or rustup"
        ))
    };
    Some(Missing { what: format!("Rust's standard library for {target}"), remedy })
}

fn node(environment: &Environment) -> Option<Missing> {
    let what = match environment.node {
        Some(version) if version >= NODE_VERSION_MIN => return None,
        Some(version) => format!("Node.js {NODE_VERSION_MIN} or newer (here: {version})"),
        None => format!("Node.js {NODE_VERSION_MIN} or newer"),
    };
    Some(Missing {
        what,
        remedy: Remedy::Manual("install it from https://nodejs.org/en/download".into()),
    })
}

fn disk(environment: &Environment) -> Option<Missing> {
    let least = if environment.built { FREE_BYTES_MIN_WHEN_BUILT } else { FREE_BYTES_MIN };
    let free = environment.free_bytes?;
    (free < least).then(|| Missing {
        what: format!(
            "{} GB of free disk space (here: {:.1})",
            least / 1_000_000_000,
            free as f64 / 1e9
        ),
        remedy: Remedy::Manual(
            "free some, or set CARGO_TARGET_DIR to a folder on another disk".into(),
        ),
    })
}

/// Returns the remedy for missing Debian packages: installed by us as root on Debian, else a
/// command of the system's package manager.
fn package(environment: &Environment, packages: &'static [&'static str]) -> Remedy {
    let chromium = packages == ["chromium"];
    let command = match environment.system {
        System::Debian if environment.root => return Remedy::Packages(packages),
        System::Debian => format!("sudo apt-get install -y {}", packages.join(" ")),
        // Ubuntu's own package is an empty shell around the snap.
        System::Ubuntu if chromium => "sudo snap install chromium".into(),
        System::Ubuntu => format!("sudo apt-get install -y {}", packages.join(" ")),
        System::Fedora if chromium => "sudo dnf install -y chromium".into(),
        System::Fedora => "sudo dnf install -y gcc".into(),
        System::Arch if chromium => "sudo pacman -S chromium".into(),
        System::Arch => "sudo pacman -S gcc".into(),
        System::Alpine if chromium => "sudo apk add chromium".into(),
        System::Alpine => "sudo apk add gcc musl-dev".into(),
        System::Suse if chromium => "sudo zypper install chromium".into(),
        System::Suse => "sudo zypper install gcc".into(),
        System::MacOs if chromium => "brew install --cask chromium".into(),
        System::MacOs => "xcode-select --install".into(),
        System::Other => {
            format!("install {} with your system's package manager", packages.join(" and "))
        }
    };
    Remedy::Manual(command)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
