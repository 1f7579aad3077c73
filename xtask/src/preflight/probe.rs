//! Examines the machine. Each program has a few seconds to respond, and all run in parallel, so the
//! whole stays within ten seconds. A program that does not respond counts as missing.

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use super::assess::{Environment, System, Version};
use crate::{unix, workspace::Workspace};

/// Time for one program to report its version.
const ANSWER_WITHIN: Duration = Duration::from_secs(8);

/// Names under which systems install Chromium or a browser built from it.
const CHROMIUM_NAMES: [&str; 4] =
    ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
/// Locations of these browsers on macOS.
const CHROMIUM_BUNDLES: [&str; 2] = [
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
];

/// Examines everything in parallel.
pub fn environment(workspace: &Workspace) -> Environment {
    let rust = program_version("rustc", &["--version"]);
    let sysroot = program_version("rustc", &["--print", "sysroot"]);
    let rustup = program_version("rustup", &["--version"]);
    let node = program_version("node", &["--version"]);
    let npm = program_version("npm", &["--version"]);
    let cc = program_version("cc", &["--version"]);
    let clang = program_version("clang", &["--version"]);
    let answer = |question: mpsc::Receiver<Option<String>>| {
        question.recv_timeout(ANSWER_WITHIN).ok().flatten()
    };
    Environment {
        system: system(),
        root: unix::is_root(),
        rust: answer(rust).as_deref().and_then(Version::find),
        rustup: answer(rustup).is_some(),
        targets: answer(sysroot)
            .map(|sysroot| targets(Path::new(sysroot.trim())))
            .unwrap_or_default(),
        node: answer(node).as_deref().and_then(Version::find),
        npm: answer(npm).is_some(),
        c_compiler: answer(cc).is_some() || answer(clang).is_some(),
        chromium: chromium(),
        free_bytes: free_bytes(workspace.target()),
        built: workspace.binaries().join("deps").exists(),
    }
}

/// Starts a program and returns a receiver for its output, which arrives if the program succeeds.
fn program_version(
    program: &'static str,
    arguments: &'static [&'static str],
) -> mpsc::Receiver<Option<String>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let output = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output();
        let text = output.ok().filter(|output| output.status.success());
        // The receiver may have timed out; then the output is not needed.
        let _ =
            sender.send(text.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()));
    });
    receiver
}

/// Returns the targets whose standard library the toolchain has, whatever installed it.
fn targets(sysroot: &Path) -> BTreeSet<String> {
    let Ok(entries) = fs::read_dir(sysroot.join("lib/rustlib")) else { return BTreeSet::new() };
    entries
        .flatten()
        .filter(|entry| entry.path().join("lib").is_dir())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

fn system() -> System {
    if cfg!(target_os = "macos") {
        return System::MacOs;
    }
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    system_named_by(&release)
}

/// Reads the distribution from os-release(5): its own name first, then those from which it
/// descends.
fn system_named_by(release: &str) -> System {
    let field = |name: &str| {
        let line = release.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.unwrap_or_default().trim_matches('"').to_owned()
    };
    let names = format!("{} {}", field("ID"), field("ID_LIKE"));
    for name in names.split_whitespace() {
        match name {
            "debian" => return System::Debian,
            "ubuntu" => return System::Ubuntu,
            "fedora" | "rhel" | "centos" => return System::Fedora,
            "arch" => return System::Arch,
            "alpine" => return System::Alpine,
            "suse" | "opensuse" => return System::Suse,
            _ => {}
        }
    }
    System::Other
}

fn chromium() -> Option<PathBuf> {
    if let Some(named) = env::var_os("TEQUIO_CHROMIUM") {
        return Some(PathBuf::from(named)).filter(|path| path.is_file());
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = env::split_paths(&path).collect();
    let on_path =
        CHROMIUM_NAMES.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    on_path.chain(CHROMIUM_BUNDLES.iter().map(PathBuf::from)).find(|path| path.is_file())
}

/// Returns the free space on the disk of a folder that may not exist yet.
fn free_bytes(folder: &Path) -> Option<u64> {
    let existing = folder.ancestors().find(|ancestor| ancestor.exists())?;
    unix::free_bytes(existing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distributions_are_distinguished() {
        for (release, system) in [
            ("PRETTY_NAME=\"Debian GNU/Linux 12\"\nID=debian\n", System::Debian),
            ("ID=ubuntu\nID_LIKE=debian\n", System::Ubuntu),
            ("ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n", System::Ubuntu),
            ("ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n", System::Fedora),
            ("ID=alpine\n", System::Alpine),
            ("ID=\"opensuse-leap\"\nID_LIKE=\"suse opensuse\"\n", System::Suse),
            ("ID=nixos\n", System::Other),
            ("", System::Other),
        ] {
            assert_eq!(system_named_by(release), system, "{release:?}");
        }
    }

    #[test]
    fn an_absent_program_counts_as_missing() {
        assert_eq!(program_version("/no/such/program", &[]).recv().unwrap(), None);
        assert_eq!(program_version("false", &[]).recv().unwrap(), None);
        assert_eq!(program_version("echo", &["here"]).recv().unwrap().as_deref(), Some("here\n"));
    }

    #[test]
    fn the_disk_of_a_missing_folder_is_that_of_its_parent() {
        let folder = env::temp_dir().join("no/such/folder/yet");
        assert!(free_bytes(&folder).is_some());
    }
}
