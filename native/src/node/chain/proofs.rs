//! Proofs of the chain for light clients: the head as a checkpoint, committee handovers, and
//! entries of the newest state.

use crate::{
    node::chain_view::{ChainView, Tip},
    store::Store,
};
use tequio_core::{
    codec::{self, BoundedVec},
    ledger::{Checkpoint, Key, Params, epoch, state::ProvedEntry},
    types::Epoch,
    wire::light::{CommitteeHandover, FinalHeader, HANDOVERS_MAX, RESPONSE_LEN_MAX},
};

/// Most bytes of committee handovers in an answer.
const HANDOVERS_LEN_MAX: usize = RESPONSE_LEN_MAX - 1024;

/// The committee handovers from this epoch on, as many as exist and fit into an answer.
pub fn handovers(
    chain: &ChainView,
    store: &Store,
    from: Epoch,
    count: u16,
) -> BoundedVec<CommitteeHandover, HANDOVERS_MAX> {
    let tip = chain.tip();
    let (mut handovers, mut len) = (Vec::new(), 0);
    for later in 0..Epoch::from(count).min(HANDOVERS_MAX as Epoch) {
        let Some(handover) =
            from.checked_add(later).and_then(|epoch| handover(&chain.params, store, &tip, epoch))
        else {
            break;
        };
        len += codec::encode(&handover).len();
        if len > HANDOVERS_LEN_MAX {
            break;
        }
        handovers.push(handover);
    }
    BoundedVec::truncated(handovers)
}

/// The handover at the end of an epoch. The state supplies the committees of all epochs, the store
/// the headers.
fn handover(params: &Params, store: &Store, tip: &Tip, epoch: Epoch) -> Option<CommitteeHandover> {
    let height = epoch::last_height(params, epoch).filter(|height| *height <= tip.height())?;
    let (before, next) = (tip.state.committee(epoch)?, tip.state.committee(epoch.checked_add(1)?)?);
    match store.final_header(height) {
        Ok(header) => Some(CommitteeHandover::new(header?, before, next)),
        Err(error) => {
            tracing::error!(height, %error, "cannot read a header");
            None
        }
    }
}

/// The newest head as a checkpoint file.
pub fn checkpoint(chain: &ChainView) -> Option<Vec<u8>> {
    let tip = chain.tip();
    let FinalHeader { header, certificate } = tip.header.clone();
    let committee = tip
        .state
        .committee(epoch::at_height(&chain.params, header.height.checked_add(1)?))?
        .clone();
    Some(Checkpoint::new(header, certificate, committee, chain.params.trust_period_ms).encode())
}

/// Entries of the newest state with their proofs, and the header that proves them.
pub fn prove(chain: &ChainView, keys: &[Key]) -> (FinalHeader, Vec<ProvedEntry>) {
    let tip = chain.tip();
    (tip.header.clone(), keys.iter().map(|key| tip.state.prove(key)).collect())
}
