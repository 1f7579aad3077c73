//! Start of a verification: the root of trust, and the date as of which trust periods count.
//!
//! A root is a checkpoint that the caller names or has pinned. A checkpoint inside the data to be
//! verified is never a root by itself: a forged export has a forged checkpoint.

use crate::node::{CHECKPOINT_FILE, machine::now_ms, read_public};
use anyhow::{Context as _, bail, ensure};
use std::{
    env,
    path::{Path, PathBuf},
};
use tequio_core::{
    ledger::{Checkpoint, genesis::FILE_LEN_MAX},
    light::LightClient,
    types::{ChainId, Digest, TimeMs},
};
use tequio_host::files;
use time::{
    Date, OffsetDateTime, Time, format_description::well_known::Rfc3339, macros::format_description,
};

/// Options that choose the root of trust.
#[derive(Debug, Default, clap::Args)]
pub struct TrustOptions {
    /// A checkpoint file from a source that you trust; verification starts from it
    #[arg(long, value_name = "FILE")]
    pub checkpoint: Option<PathBuf>,
    /// BLAKE3 hash of the checkpoint to start from, from a source that you trust
    #[arg(long, value_name = "HASH")]
    pub checkpoint_hash: Option<Digest>,
    /// Start from the checkpoint.bin of this node's directory
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

/// A checkpoint to start from.
#[derive(Clone, Debug)]
pub struct Root {
    /// The file's bytes.
    pub bytes: Vec<u8>,
    /// How the caller named it.
    pub source: String,
}

impl Root {
    /// A light client that starts at this checkpoint.
    pub fn start(&self, hash: Option<&Digest>, as_of_ms: TimeMs) -> anyhow::Result<LightClient> {
        LightClient::start(&self.bytes, hash, as_of_ms).with_context(|| self.source.clone())
    }

    /// The hash of the checkpoint.
    pub fn hash(&self) -> Digest {
        Checkpoint::hash(&self.bytes)
    }

    /// Reads a root from a file.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let source = path.display().to_string();
        let bytes = files::read_capped(path, FILE_LEN_MAX).with_context(|| source.clone())?;
        Ok(Self { bytes, source })
    }
}

impl TrustOptions {
    /// The root that the options name, or else the pinned root of the chain.
    pub fn root(&self, chain: &ChainId) -> anyhow::Result<Option<Root>> {
        match (&self.checkpoint, &self.dir) {
            (Some(path), _) => Root::read(path).map(Some),
            (None, Some(dir)) => {
                let bytes = read_public(dir, CHECKPOINT_FILE)?;
                Ok(Some(Root { bytes, source: format!("{CHECKPOINT_FILE} of {}", dir.display()) }))
            }
            (None, None) => {
                let Some(path) = pin_path(chain).filter(|path| path.exists()) else {
                    return Ok(None);
                };
                Root::read(&path).map(Some)
            }
        }
    }
}

/// Path of the user's pinned checkpoint for a chain; `None` without a home directory.
pub fn pin_path(chain: &ChainId) -> Option<PathBuf> {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let config = set("XDG_CONFIG_HOME").or_else(|| set("HOME").map(|home| home.join(".config")))?;
    Some(config.join("tequio").join("checkpoints").join(format!("{chain}.bin")))
}

/// Pins a checkpoint for its chain. Returns the path of the pin.
pub fn pin(bytes: &[u8], chain: &ChainId) -> anyhow::Result<PathBuf> {
    let path = pin_path(chain)
        .context("neither XDG_CONFIG_HOME nor HOME is set: there is no place for the pin")?;
    let place = |path: &Path| {
        format!(
            "cannot pin the checkpoint in {}: make it a place where this user may write, or set \
             XDG_CONFIG_HOME to one",
            path.display()
        )
    };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| place(folder))?;
    }
    files::write_atomic(&path, bytes, files::PUBLIC).with_context(|| place(&path))?;
    Ok(path)
}

/// The date as of which trust periods count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AsOf(pub TimeMs);

impl std::str::FromStr for AsOf {
    type Err = anyhow::Error;

    /// Parses a date (the end of that day, UTC) or a time in RFC 3339 format; neither may be in the
    /// future.
    fn from_str(text: &str) -> anyhow::Result<Self> {
        let day = format_description!("[year]-[month]-[day]");
        let end_of_day = Time::from_hms(23, 59, 59)?;
        let time = match Date::parse(text, &day) {
            Ok(date) => date.with_time(end_of_day).assume_utc(),
            Err(_) => OffsetDateTime::parse(text, &Rfc3339)
                .context("expected YYYY-MM-DD or YYYY-MM-DDThh:mm:ssZ")?,
        };
        let time_ms =
            TimeMs::try_from(time.unix_timestamp_nanos() / 1_000_000).context("before 1970")?;
        let now_ms = now_ms();
        let today = OffsetDateTime::now_utc().date();
        ensure!(time_ms <= now_ms || time.date() == today, "{text} is in the future");
        Ok(Self(time_ms.min(now_ms)))
    }
}

/// A time as text, in RFC 3339 format.
pub fn date(time_ms: TimeMs) -> String {
    let time = OffsetDateTime::from_unix_timestamp((time_ms / 1000) as i64).ok();
    time.and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_else(|| format!("{time_ms} ms"))
}

/// An age as text.
pub fn age(age_ms: u64) -> String {
    match age_ms / 1000 {
        s @ 0..120 => format!("{s} s"),
        s @ 120..7200 => format!("{} min", s / 60),
        s @ 7200..172_800 => format!("{} h", s / 3600),
        s => format!("{} days", s / 86_400),
    }
}

/// Reads a checkpoint file without checking its age.
pub fn open(bytes: &[u8]) -> anyhow::Result<Checkpoint> {
    Ok(Checkpoint::open(bytes, None, 0)?.0)
}

/// The error of a verification without a root of trust.
pub fn no_root(embedded: &[u8]) -> anyhow::Error {
    let hash = Checkpoint::hash(embedded);
    let about = open(embedded).map_or(String::new(), |checkpoint| {
        format!(" (height {}, {})", checkpoint.header.height, date(checkpoint.header.time_ms))
    });
    anyhow::anyhow!(
        "no root of trust: the export's own checkpoint {hash}{about} proves nothing by itself. \
         Name one that you got by a trusted way with --checkpoint FILE or --dir DIR, or pin it \
         once with `tequio checkpoint pin FILE --checkpoint-hash HASH`. If you got the hash \
         {hash} from a source that you trust: --trust-embedded {hash}"
    )
}

/// The error when the given checkpoint hash is not that of the export's checkpoint.
pub fn another_root(embedded: &[u8], named: &Digest) -> anyhow::Error {
    let hash = Checkpoint::hash(embedded);
    anyhow::anyhow!(
        "the export starts from checkpoint {hash}, and the one that you named has the hash \
         {named}: it is of another network, from another time, or forged. Name your checkpoint's \
         file with --checkpoint FILE, so that its handovers can be followed"
    )
}

/// Fails unless both chain ids are equal.
pub fn same_chain(root: &ChainId, other: &ChainId) -> anyhow::Result<()> {
    if root != other {
        bail!(
            "the root of trust is of network {root}, and what is to be verified is of network \
             {other}"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_days_or_times_and_not_in_the_future() {
        let parse =
            |text: &str| text.parse::<AsOf>().map(|as_of| as_of.0).map_err(|e| e.to_string());
        assert_eq!(parse("2026-11-05"), Ok(1_793_923_199_000));
        assert_eq!(parse("2026-11-05T10:00:00+01:00"), Ok(1_793_869_200_000));
        assert!(parse("2999-01-01").unwrap_err().contains("future"));
        assert!(parse("soon").unwrap_err().contains("YYYY-MM-DD"));
        assert_eq!(date(1_793_869_200_000), "2026-11-05T09:00:00Z");
        assert_eq!([age(5_000), age(7_200_000), age(40 * 86_400_000)], ["5 s", "2 h", "40 days"]);
    }
}
