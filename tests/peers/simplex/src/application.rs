//! The application of a validator: it makes payloads, validates them, and records reports.

use std::{marker::PhantomData, sync::Arc};

use commonware_actor::Feedback;
use commonware_consensus::{
    Automaton, CertifiableAutomaton, Relay, Reporter,
    simplex::{
        Plan,
        types::{Activity, Attributable as _, Context},
    },
};
use commonware_cryptography::{certificate, ed25519::PublicKey, sha256::Digest};
use commonware_runtime::{Clock as _, Spawner as _, Supervisor as _, tokio};
use commonware_utils::channel::oneshot;

use crate::chain::{self, Chain};

/// Proposes and validates empty blocks.
#[derive(Clone)]
pub struct Application {
    context: Arc<tokio::Context>,
    chain: Arc<Chain>,
}

impl Application {
    pub fn new(context: tokio::Context, chain: Arc<Chain>) -> Self {
        Self { context: Arc::new(context), chain }
    }
}

impl Automaton for Application {
    type Context = Context<Digest, PublicKey>;
    type Digest = Digest;

    async fn propose(&mut self, context: Self::Context) -> oneshot::Receiver<Digest> {
        let (sender, receiver) = oneshot::channel();
        let chain = self.chain.clone();
        self.context.child("proposal").spawn(async move |clock| {
            clock.sleep(chain.wait()).await;
            // The receiver is gone if the view has ended meanwhile.
            let _ = sender.send(chain.propose(context.round.view(), context.parent.1));
        });
        receiver
    }

    async fn verify(&mut self, context: Self::Context, payload: Digest) -> oneshot::Receiver<bool> {
        let (sender, receiver) = oneshot::channel();
        let _ = sender.send(payload == chain::payload(context.round.view(), &context.parent.1));
        receiver
    }
}

/// A notarised block is certified at once, as simplex does by default.
impl CertifiableAutomaton for Application {}

impl Relay for Application {
    type Digest = Digest;
    type PublicKey = PublicKey;
    type Plan = Plan<PublicKey>;

    /// Sends nothing, because every validator computes the payload itself.
    fn broadcast(&mut self, _: Digest, _: Plan<PublicKey>) -> Feedback {
        Feedback::Ok
    }
}

/// Records the reports of one validator, whose votes use the scheme `S`.
pub struct Reports<S> {
    chain: Arc<Chain>,
    validator: usize,
    scheme: PhantomData<fn() -> S>,
}

impl<S> Reports<S> {
    pub fn new(chain: Arc<Chain>, validator: usize) -> Self {
        Self { chain, validator, scheme: PhantomData }
    }
}

impl<S> Clone for Reports<S> {
    fn clone(&self) -> Self {
        Self::new(self.chain.clone(), self.validator)
    }
}

impl<S: certificate::Scheme> Reporter for Reports<S> {
    type Activity = Activity<S, Digest>;

    fn report(&mut self, activity: Self::Activity) -> Feedback {
        match activity {
            Activity::Finalization(finalization) => {
                self.chain.finalized(self.validator, &finalization.proposal.payload);
            }
            Activity::Notarize(vote) => {
                self.chain.record_vote(self.validator, vote.signer().into())
            }
            // One validator is enough to count views that ended without a block.
            Activity::Nullification(_) if self.validator == 0 => self.chain.skipped(),
            _ => {}
        }
        Feedback::Ok
    }
}
