//! Reads committee handovers from a running node or from a file.

use super::client::Client;
use anyhow::{Context as _, bail, ensure};
use std::path::Path;
use tequio_core::{
    codec,
    light::{
        LightClient,
        handover::{FILE_HANDOVERS_MAX, FILE_LEN_MAX, HandoverFile},
    },
    types::{Epoch, TimeMs},
    wire::light::{CommitteeHandover, HANDOVERS_MAX, RESPONSE_LEN_MAX, Response},
};
use tequio_host::files;

/// Follows a node's handovers up to an epoch, page by page. Returns the verified handovers.
pub fn follow(
    client: &Client,
    light: &mut LightClient,
    epoch: Epoch,
    now_ms: TimeMs,
) -> anyhow::Result<Vec<CommitteeHandover>> {
    let mut followed = Vec::new();
    while light.committee().epoch() < epoch {
        let from = light.committee().epoch();
        let count = (epoch - from).min(HANDOVERS_MAX as Epoch) as usize;
        let answer = client.bytes(&format!("/v1/handovers?from={from}&count={count}"))?;
        let answer = answer.context("the node is too old: it serves no committee handovers")?;
        let Response::Handovers(page) = codec::decode(&answer, RESPONSE_LEN_MAX)? else {
            bail!("the node's answer is not a list of committee handovers");
        };
        ensure!(
            !page.is_empty(),
            "the node does not have the committee handover of epoch {from}: it joined later, and \
             no peer has sent it; ask another node, or start from a newer checkpoint"
        );
        ensure!(
            followed.len() + page.len() <= FILE_HANDOVERS_MAX,
            "there are more than {FILE_HANDOVERS_MAX} handovers"
        );
        light.follow_handovers(count, page.to_vec(), now_ms)?;
        followed.append(&mut page.into_vec());
    }
    Ok(followed)
}

/// Follows the given handovers up to an epoch, or as far as they lead. Skips those that the client
/// has already followed.
pub fn follow_given(
    light: &mut LightClient,
    handovers: Vec<CommitteeHandover>,
    epoch: Epoch,
    now_ms: TimeMs,
) -> anyhow::Result<()> {
    let known = light.committee().epoch();
    let wanted: Vec<_> =
        handovers.into_iter().filter(|h| (known..epoch).contains(&h.epoch())).collect();
    if let Some(first) = wanted.first().map(CommitteeHandover::epoch).filter(|first| *first > known)
    {
        bail!(
            "the checkpoint is of epoch {known}, and the committee handovers begin with epoch \
             {first}: those between are needed, or a newer checkpoint"
        );
    }
    light.follow_handovers(wanted.len(), wanted, now_ms)?;
    Ok(())
}

/// Reads a file of handovers without verifying them.
pub fn read(path: &Path) -> anyhow::Result<Vec<CommitteeHandover>> {
    let location = || path.display().to_string();
    let bytes = files::read_capped(path, FILE_LEN_MAX).with_context(location)?;
    Ok(HandoverFile::decode(&bytes).with_context(location)?.handovers.into_vec())
}
