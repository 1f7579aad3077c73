//! The few system calls that the standard library does not offer, each behind a safe function. The
//! crate calls libc itself to stay small, because everything else waits for its compilation.

use std::{ffi::CString, io, os::unix::ffi::OsStrExt, path::Path, process::Command};

/// A process, or the group that it leads.
pub type Pid = libc::pid_t;

/// A signal to a process.
#[derive(Clone, Copy, Debug)]
pub enum Signal {
    /// Requests the process to end (SIGTERM).
    Terminate,
    /// Kills the process (SIGKILL).
    Kill,
}

impl Signal {
    fn number(self) -> libc::c_int {
        match self {
            Self::Terminate => libc::SIGTERM,
            Self::Kill => libc::SIGKILL,
        }
    }
}

/// Signals one process. It is no error if the process has already ended.
pub fn signal(process: Pid, signal: Signal) {
    // SAFETY: kill(2) takes numbers and touches no memory of ours.
    unsafe { libc::kill(process, signal.number()) };
}

/// Signals every process of a group.
pub fn signal_group(group: Pid, signal: Signal) {
    // SAFETY: killpg(2) takes numbers and touches no memory of ours.
    unsafe { libc::killpg(group, signal.number()) };
}

/// Returns whether a process of a group is left, zombies included.
pub fn group_exists(group: Pid) -> bool {
    // SAFETY: signal 0 only checks for existence.
    unsafe { libc::killpg(group, 0) == 0 }
}

/// Returns whether this process may install packages.
pub fn is_root() -> bool {
    // SAFETY: geteuid(2) cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// Returns the free space for this user on the disk of an existing path.
pub fn free_bytes(path: &Path) -> Option<u64> {
    let path = CString::new(path.as_os_str().as_bytes()).ok()?;
    // SAFETY: an all-zero statvfs is a valid value of that plain struct; the call reads the path
    // and writes the struct.
    let disk = unsafe {
        let mut disk: libc::statvfs = std::mem::zeroed();
        (libc::statvfs(path.as_ptr(), &raw mut disk) == 0).then_some(disk)?
    };
    // The widths of these fields differ between systems.
    #[allow(clippy::unnecessary_cast, clippy::useless_conversion)]
    Some((disk.f_bavail as u64).saturating_mul(disk.f_frsize as u64))
}

/// Returns whether this process was started with a signal ignored.
pub fn is_ignored(signal: libc::c_int) -> bool {
    // SAFETY: an all-zero sigaction is a valid value of that plain struct; the call only writes
    // into it.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, std::ptr::null(), &raw mut action) == 0
            && action.sa_sigaction == libc::SIG_IGN
    }
}

/// Makes a read from the terminal fail in the background, instead of stopping this process.
pub fn fail_background_reads() {
    // SAFETY: ignoring a signal runs no code of ours.
    unsafe { libc::signal(libc::SIGTTIN, libc::SIG_IGN) };
}

/// Makes orphans of our children our own children, so that none is lost (Linux).
pub fn adopt_orphans() -> io::Result<()> {
    #[cfg(target_os = "linux")]
    // SAFETY: this prctl(2) takes numbers and touches no memory of ours.
    if unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Makes the kernel signal a child when the thread that started it ends (Linux).
pub fn end_with_parent(command: &mut Command) {
    #[cfg(target_os = "linux")]
    {
        use std::os::unix::process::CommandExt;
        let set = || match unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM, 0, 0, 0) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        };
        // SAFETY: between fork and exec the closure makes one system call; it neither allocates nor
        // takes a lock.
        unsafe { command.pre_exec(set) };
    }
    #[cfg(not(target_os = "linux"))]
    let _ = command;
}
