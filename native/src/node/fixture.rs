//! Test fixture: a full node of a new chain that takes no part in consensus, and peers that connect
//! to it over real sockets.

use super::{
    chain::{
        driver::DriverParts, snapshot_cache::SnapshotCache, state_sync::StateSync, sync::BlockSync,
        sync_status::SyncStatus,
    },
    chain_view::{ChainView, Tip},
    machine::{self, Inbox, now_ms},
    mempool::{
        Mempool,
        verify::{admission::Admission, ingest::Ingest},
    },
    telemetry::metrics::Metrics,
    writes::submit::Submitter,
};
use crate::{
    keys::Keys,
    store::{self, Store},
};
use std::sync::Arc;
use tempfile::TempDir;
use tequio_core::{
    codec::BoundedVec,
    consensus::Input,
    content::{Cid, CidCodec},
    crypto::NodeKey,
    ledger::{
        Action, Genesis, Params, SignedTransaction, Transaction,
        genesis::{GenesisFile, GenesisState},
    },
    wire::{compression, mempool::Message},
};
use tequio_p2p::{
    Config, Events, Multiaddr, Network, NotificationProtocol, NotificationStream, identity,
};
use tokio::runtime::Runtime;

const BOND: u64 = 1000;
const CLIENTS: u8 = 16;

pub struct Fixture {
    pub keys: Keys,
    pub chain: ChainView,
    pub mempool: Arc<Mempool>,
    pub metrics: Arc<Metrics>,
    pub ingest: Ingest,
    pub driver: DriverParts,
    pub start: GenesisState,
    /// The members; the first is this node if it has a seat.
    pub members: Vec<Keys>,
    pub runtime: Runtime,
    addr: Multiaddr,
    events: Events,
    _dir: TempDir,
}

impl Fixture {
    /// A node in a committee with this number of seats.
    pub fn of(seats: usize) -> Self {
        let members: Vec<Keys> = (0..seats).map(|_| Keys::generate().unwrap()).collect();
        Self::new(members[0].clone(), members)
    }

    /// A node without a seat, beside a committee with this number of seats.
    pub fn without_seat(seats: usize) -> Self {
        Self::new(
            Keys::generate().unwrap(),
            (0..seats).map(|_| Keys::generate().unwrap()).collect(),
        )
    }

    fn new(keys: Keys, members: Vec<Keys>) -> Self {
        let bonds = members.iter().map(|keys| (keys.id(), 0, BOND));
        let clients = (0..CLIENTS).map(|number| (client(number).id(), 0, 0));
        let genesis = Genesis {
            name: "fixture".try_into().unwrap(),
            time_ms: now_ms(),
            params: params(),
            accounts: BoundedVec::truncated(bonds.chain(clients)),
            seats: BoundedVec::truncated(members.iter().map(|keys| keys.genesis_seat(BOND))),
        };
        let chain = genesis.chain();
        let possessions =
            members.iter().map(|keys| keys.voting.prove_possession(&chain, &keys.id())).collect();
        let start = GenesisFile::new(genesis, possessions).unwrap().build_state().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join(store::FILE_NAME), &start.chain).unwrap();
        let head = store.load_head(&start).unwrap();
        let runtime = Runtime::new().unwrap();
        let (network, events) = spawn(&runtime, &keys.node);
        let addr =
            runtime.block_on(network.listen("/ip4/127.0.0.1/tcp/0".parse().unwrap())).unwrap();
        let addr = identity::with_peer(addr, keys.id());
        let (inbox, _) = machine::inbox();
        let tip = Arc::new(Tip::new(head.header, head.state));
        let chain = ChainView::new(keys.id(), start.params.clone(), tip);
        let (store, metrics) = (Arc::new(store), Arc::<Metrics>::default());
        let driver = driver(&keys, &chain, store, network, metrics.clone(), inbox);
        let (mempool, ingest) = (driver.mempool.clone(), driver.ingest.clone());
        Self {
            keys,
            chain,
            mempool,
            metrics,
            ingest,
            driver,
            start,
            members,
            runtime,
            addr,
            events,
            _dir: dir,
        }
    }

    /// Notifications of the mempool protocol.
    pub fn notifications(&mut self) -> NotificationStream {
        self.events.take_notifications(NotificationProtocol::Mempool).unwrap()
    }

    /// A peer that is connected.
    pub fn peer(&self, key: &NodeKey) -> Peer {
        let (network, events) = spawn(&self.runtime, key);
        self.runtime.block_on(network.dial(self.addr.clone())).unwrap();
        Peer { network, _events: events }
    }

    /// A transaction that can be applied.
    pub fn signed(&self, number: u8) -> SignedTransaction {
        let key = client(number);
        let name = format!("{}/note", key.id());
        let cid = Cid::of(CidCodec::Raw, &[number]);
        let action =
            Action::UpdateRef { name: name.as_str().try_into().unwrap(), expected: 0, cid };
        Transaction { chain: self.chain.id, sender: key.id(), nonce: 0, expires: 500, action }
            .sign(&key)
    }

    /// Sends the transaction from a peer to the node.
    pub fn notify(&self, peer: &Peer, transaction: &SignedTransaction) {
        let transactions = BoundedVec::truncated([transaction.clone()]);
        let message = Message::New { transactions, forward: false };
        peer.network.notify(
            NotificationProtocol::Mempool,
            [self.chain.node],
            &compression::encode(&message).into(),
        );
    }
}

fn driver(
    keys: &Keys,
    chain: &ChainView,
    store: Arc<Store>,
    network: Network,
    metrics: Arc<Metrics>,
    inbox: Inbox<Input>,
) -> DriverParts {
    let (mempool, status) = (Arc::<Mempool>::default(), Arc::<SyncStatus>::default());
    let admission = Admission::new(chain.clone(), mempool.clone(), metrics.clone());
    let ingest = Ingest::new(chain.clone(), network.clone(), mempool.clone(), admission.clone());
    let submitter =
        Submitter::new(chain.clone(), store.clone(), mempool.clone(), admission, keys.node.clone());
    let state_sync = StateSync {
        chain: chain.clone(),
        store: store.clone(),
        network: network.clone(),
        metrics: metrics.clone(),
        status: status.clone(),
        checkpoint: Arc::default(),
        when_behind: u64::MAX,
        replica: inbox.clone(),
    };
    let sync = BlockSync {
        chain: chain.clone(),
        network: network.clone(),
        state_sync,
        status,
        replica: inbox.clone(),
    };
    DriverParts {
        chain: chain.clone(),
        store,
        network,
        mempool,
        ingest,
        snapshots: Arc::<SnapshotCache>::default(),
        sync,
        submitter,
        metrics,
        inbox,
    }
}

pub struct Peer {
    network: Network,
    _events: Events,
}

fn spawn(runtime: &Runtime, key: &NodeKey) -> (Network, Events) {
    let _entered = runtime.enter();
    tequio_p2p::spawn(Config::new(*key.to_bytes())).unwrap()
}

fn client(number: u8) -> NodeKey {
    NodeKey::from_bytes(&[number + 1; 32])
}

/// Parameters with the longest possible block interval.
fn params() -> Params {
    Params {
        block_interval_ms_max: 60_000,
        block_interval_ms_min: 20,
        view_timeout_ms: 60_000,
        clock_skew_ms_max: 30_000,
        audit_blocks_min: 2,
        audit_blocks_max: 100,
        admission_bits: 14,
        mint_max: 0,
        trust_period_ms: 24 * 60 * 60 * 1000,
        leader_term_blocks: 64,
        epoch_blocks: 64,
        bond_min: 1,
        reputation_min: 0,
        unbonding_ms: u64::MAX,
    }
}
