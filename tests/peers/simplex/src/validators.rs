//! Starts the validators, each with its own listener, connections and journal, and measures them.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    num::{NonZeroU16, NonZeroU32, NonZeroUsize},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow, ensure};
use commonware_consensus::{
    simplex::{
        self, Engine, Floor, ForwardPolicy, SkipPolicy, elector::RoundRobin, scheme::Scheme,
    },
    types::{Epoch, ViewDelta},
};
use commonware_cryptography::{
    ChaCha20Poly1305, Sha256,
    certificate::Verifier,
    ed25519::{PrivateKey, PublicKey},
    sha256::Digest,
};
use commonware_p2p::{
    Address, AddressableManager as _,
    authenticated::lookup::{self, Network},
};
use commonware_parallel::Sequential;
use commonware_runtime::{
    Clock as _, Quota, Supervisor as _,
    buffer::paged::{CacheRef, page_size},
    tokio,
};
use commonware_stream::{
    cups::{self, Cups},
    sake::{self, Sake},
};
use commonware_utils::{NonZeroDuration, TryCollect as _, ordered::Map};

use crate::{
    application::{Application, Reports},
    arguments::Arguments,
    chain::{self, Chain},
    committee::{Committee, NAMESPACE},
    machine,
};

const START_WAIT: Duration = Duration::from_secs(120);
/// Time limit of a leader to propose, in addition to its waiting time; the same as in our bench.
const LEADER_TIMEOUT: Duration = Duration::from_secs(5);
const CERTIFICATION_TIMEOUT: Duration = Duration::from_secs(10);
/// Messages a second from one validator to another on one channel. A view needs two votes and two
/// certificates.
const MESSAGES_PER_SECOND: NonZeroU32 = NonZeroU32::new(4096).unwrap();
/// Messages in one burst. The network reserves slots for a burst from every peer, on each channel
/// of each validator.
const MESSAGES_BURST: NonZeroU32 = NonZeroU32::new(32).unwrap();
const HANDSHAKES_PER_SECOND: NonZeroU32 = NonZeroU32::new(256).unwrap();
const MAILBOX: NonZeroUsize = NonZeroUsize::new(1024).unwrap();
const BUFFER_BYTES: NonZeroUsize = NonZeroUsize::new(1 << 20).unwrap();
const PAGE_BYTES: NonZeroU16 = page_size(4096);
const PAGES: NonZeroUsize = NonZeroUsize::new(64).unwrap();
const VIEWS_KEPT: u64 = 16;

/// Results of a run.
pub struct Measured {
    pub elapsed_s: f64,
    pub cpu_s: f64,
    pub bytes: u64,
    pub decisions: u64,
    pub skipped: u64,
    /// Times from proposal to finality at each validator, sorted.
    pub final_ms: Vec<f64>,
}

/// Runs the committee: until all are at work together, a second more, and then the time that is
/// measured.
pub async fn measure<S>(
    context: tokio::Context,
    arguments: &Arguments,
    committee: &Committee,
    schemes: Vec<S>,
) -> anyhow::Result<Measured>
where
    S: Scheme<Digest> + Verifier<PublicKey = PublicKey>,
{
    let chain = Arc::new(Chain::new(schemes.len(), arguments.interval));
    let peers = addresses(committee)?;
    for (number, (identity, scheme)) in committee.identities.iter().zip(schemes).enumerate() {
        let context = context.child("validator").with_attribute("number", number);
        start(&context, arguments, number, identity, scheme, &peers, &chain)?;
    }
    let until = Instant::now() + START_WAIT;
    while !chain.is_ready() {
        ensure!(
            Instant::now() < until,
            "the validators do not connect: heights {:?}",
            chain.heights()
        );
        context.sleep(Duration::from_millis(50)).await;
    }
    // As in our bench, the first second warms caches and connections.
    context.sleep(Duration::from_secs(1)).await;
    chain.take();
    let (began, cpu_s, bytes) =
        (Instant::now(), machine::cpu_seconds()?, machine::loopback_bytes()?);
    let height = chain.height();
    context.sleep(Duration::from_secs(arguments.seconds)).await;
    let (elapsed_s, cpu_s) = (began.elapsed().as_secs_f64(), machine::cpu_seconds()? - cpu_s);
    let bytes = machine::loopback_bytes()?.saturating_sub(bytes);
    let decisions = chain.height().saturating_sub(height);
    let (final_ms, skipped) = chain.take();
    Ok(Measured { elapsed_s, cpu_s, bytes, decisions, skipped, final_ms })
}

/// Starts one validator: its network, and simplex on three of its channels.
fn start<S>(
    context: &tokio::Context,
    arguments: &Arguments,
    number: usize,
    identity: &PrivateKey,
    scheme: S,
    peers: &Map<PublicKey, Address>,
    chain: &Arc<Chain>,
) -> anyhow::Result<()>
where
    S: Scheme<Digest> + Verifier<PublicKey = PublicKey>,
{
    let size = scheme.participants().len();
    let message_bytes = simplex::max_payload_size::<S, Digest>(size.try_into()?).try_into()?;
    let Some(Address::Symmetric(listen)) = peers.value(number) else {
        return Err(anyhow!("validator {number} has no address"));
    };
    let handshake = Cups::<_, ChaCha20Poly1305>::new(
        Sake {
            signer: identity.clone(),
            synchrony_bound: Duration::from_secs(10),
            max_handshake_age: Duration::from_secs(10),
            version: sake::Version::V1,
        },
        cups::Version::V1,
    );
    // All come from one address, which stands for as many machines.
    let handshakes = Quota::per_second(HANDSHAKES_PER_SECOND);
    let network = lookup::Config {
        allowed_handshake_rate_per_ip: handshakes,
        allowed_handshake_rate_per_subnet: handshakes,
        tracked_peer_sets: NonZeroUsize::MIN,
        ..lookup::Config::local(
            handshake,
            NAMESPACE,
            *listen,
            size.try_into()?,
            message_bytes,
            MAILBOX,
        )
    };
    let (mut network, mut oracle) = Network::new(context.child("network"), network);
    oracle.track(0, peers.clone());
    let messages = Quota::per_second(MESSAGES_PER_SECOND).allow_burst(MESSAGES_BURST);
    let [votes, certificates, resolver] =
        [0, 1, 2].map(|channel| network.register(channel, messages));
    network.start();

    let application = Application::new(context.child("application"), chain.clone());
    let engine = simplex::Config {
        scheme,
        elector: RoundRobin::<Sha256>::default(),
        blocker: oracle,
        automaton: application.clone(),
        relay: application,
        reporter: Reports::new(chain.clone(), number),
        track_historical_votes: false,
        // The cores are shared by all validators: one more thread for each would only get in the
        // others' way.
        strategy: Sequential,
        partition: format!("validator-{number}"),
        mailbox_size: MAILBOX,
        epoch: Epoch::zero(),
        floor: Floor::Genesis(chain::genesis_digest()),
        replay_buffer: BUFFER_BYTES,
        write_buffer: BUFFER_BYTES,
        page_cache: CacheRef::new(PAGE_BYTES, PAGES),
        leader_timeout: arguments.interval + LEADER_TIMEOUT,
        certification_timeout: arguments.interval + CERTIFICATION_TIMEOUT,
        timeout_retry: LEADER_TIMEOUT,
        view_retention: ViewDelta::new(VIEWS_KEPT),
        // No validator fails here, and on a busy machine none must be considered failed.
        skip: SkipPolicy::Disabled,
        fetch_timeout: NonZeroDuration::new(Duration::from_secs(2)).context("no time to fetch")?,
        fetch_retry_delay: Duration::from_millis(100),
        forward: ForwardPolicy::Disabled,
    };
    Engine::new(context.child("engine"), engine).start(votes, certificates, resolver);
    Ok(())
}

/// A free port on loopback for each. The ports are free when this returns, and are bound again a
/// moment later.
fn addresses(committee: &Committee) -> anyhow::Result<Map<PublicKey, Address>> {
    let listeners =
        committee.keys().map(|_| TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))));
    let listeners =
        listeners.collect::<Result<Vec<_>, _>>().context("cannot listen on loopback")?;
    let addresses = listeners.iter().map(TcpListener::local_addr).collect::<Result<Vec<_>, _>>()?;
    let addresses = addresses.into_iter().map(Address::from);
    committee.keys().zip(addresses).try_collect().map_err(|error| {
        anyhow!(
            "two validators share a key: {error:?}"
        )
    })
}
