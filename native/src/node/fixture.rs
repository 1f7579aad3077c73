//! Test fixture: a full node of a new chain that takes no part in consensus, and peers that connect
//! to it over real sockets.

use super::{
    context::{ContextParts, NodeContext, Tip},
    machine::{self, Inbox, now_ms},
};
use crate::{
    keys::{self, Keys},
    store::{self, Store},
};
use std::sync::Arc;
use tempfile::TempDir;
use tequio_core::{
    codec::BoundedVec,
    consensus::Input,
    crypto::NodeKey,
    knowledge::{Cid, CidCodec},
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
    pub context: Arc<NodeContext>,
    pub start: GenesisState,
    /// The members; the first is this node if it has a seat.
    pub members: Vec<Keys>,
    pub inbox: Inbox<Input>,
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
        let context = NodeContext::new(ContextParts {
            keys,
            params: start.params.clone(),
            checkpoint: Vec::new(),
            store,
            network,
            tip: Tip::new(head.header, head.state),
            snapshot_when_behind: u64::MAX,
            keystore: dir.path().join(keys::FILE_NAME),
            replica: inbox.clone(),
        });
        Self { context: Arc::new(context), start, members, inbox, runtime, addr, events, _dir: dir }
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
        Transaction { chain: self.context.chain, sender: key.id(), nonce: 0, expires: 500, action }
            .sign(&key)
    }

    /// Sends the transaction from a peer to the node.
    pub fn notify(&self, peer: &Peer, transaction: &SignedTransaction) {
        let transactions = BoundedVec::truncated([transaction.clone()]);
        let message = Message::New { transactions, forward: false };
        peer.network.notify(
            NotificationProtocol::Mempool,
            [self.context.id],
            &compression::encode(&message).into(),
        );
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
