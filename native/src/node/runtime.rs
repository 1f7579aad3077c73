//! A running full node: the machines of core with their drivers, and the tasks around them. Here
//! the parts are made, each with the handles that it uses.
//!
//! Start order: lock, keys, store, network, consensus, then everything that follows the head. A
//! crash at any point loses no promise that the node has made. An orderly stop only closes
//! connections cleanly.

use super::{
    chain::{
        driver::{self, DriverParts},
        handovers::Backfill,
        inputs, prune,
        snapshot_cache::SnapshotCache,
        state_sync::StateSync,
        sync::BlockSync,
        sync_status::SyncStatus,
    },
    chain_view::{ChainView, Tip},
    directory::{CHECKPOINT_FILE, GENESIS_FILE, public, read_public},
    jobs::{
        audit::Auditor,
        coordinator::JobRunner,
        coordinators::Coordinators,
        polls,
        progress::JobsView,
        worker::{self, WorkerParts},
    },
    listening, machine,
    mempool::{
        Mempool,
        propagation::Propagation,
        verify::{admission::Admission, ingest::Ingest},
    },
    objects::Objects,
    peers::{
        coordinator_discovery,
        devnet::{self, ConfiguredPeer},
        relay_reservations,
    },
    serve::{light::LightServer, router::Router, sync::SyncServer},
    telemetry::{events::EventLog, metrics::Metrics},
    writes::{outbox::WriteOutbox, submit::Submitter},
};
use crate::{
    config::Config,
    keys::{self, Keys, StoredKeys},
    store::{self, Store, WriteFailure},
};
use anyhow::Context as _;
use std::{path::Path, sync::Arc, thread::JoinHandle};
use tequio_core::ledger::genesis::{Checkpoint, GenesisFile};
use tequio_host::DirectoryLock;
use tequio_p2p::{Multiaddr, Network, NotificationProtocol};
use tokio::{sync::oneshot, task::JoinSet};

/// A running node, with the handles that the HTTP API and the tests use.
#[derive(Debug)]
pub struct Node {
    /// The head of the chain, and the jobs of the ledger.
    pub chain: ChainView,
    /// The store on disk.
    pub store: Arc<Store>,
    /// The network of peers.
    pub network: Network,
    /// The waiting transactions.
    pub mempool: Arc<Mempool>,
    /// Verifies transactions and adds them to the mempool.
    pub admission: Admission,
    /// The jobs with their progress.
    pub jobs: JobsView,
    /// The coordinators of this node's own jobs.
    pub coordinators: Coordinators,
    /// The objects in the store and at peers.
    pub objects: Objects,
    /// The queued writes.
    pub outbox: WriteOutbox,
    /// Progress of catching up.
    pub sync_status: Arc<SyncStatus>,
    /// The keystore, to which rotation adds keys of the seat.
    pub stored_keys: Arc<StoredKeys>,
    /// The checkpoint file from which light nodes start.
    pub checkpoint: Arc<[u8]>,
    /// Counters and gauges.
    pub metrics: Arc<Metrics>,
    /// Events for people.
    pub events: Arc<EventLog>,
    /// The consensus replica.
    pub replica: machine::Inbox<tequio_core::consensus::Input>,
    /// Listening addresses, with the node's peer id.
    pub listen: Vec<Multiaddr>,
    worker: machine::Inbox<tequio_core::scheduler::worker::Input>,
    replica_thread: JoinHandle<()>,
    failed: oneshot::Receiver<anyhow::Result<()>>,
    tasks: JoinSet<()>,
    _lock: DirectoryLock,
}

impl Node {
    /// Starts the node of a directory.
    pub async fn start(dir: &Path, config: &Config, keys: Keys) -> anyhow::Result<Self> {
        let lock = DirectoryLock::take(dir)?;
        let genesis = read_public(dir, GENESIS_FILE)?;
        let start = GenesisFile::decode(&genesis).and_then(|g| g.build_state());
        let start = start.with_context(|| {
            format!(
                "{} is damaged, or not a genesis; copy it again from another node",
                public(dir, GENESIS_FILE).display()
            )
        })?;
        let checkpoint = read_public(dir, CHECKPOINT_FILE)?;
        if let Err(error) = Checkpoint::open(&checkpoint, None, machine::now_ms()) {
            // The store has the head of the chain; only a node that was offline for long needs the
            // file.
            tracing::warn!(%error, "{CHECKPOINT_FILE}; once the node is at the head, `tequio \
                                    checkpoint export` makes a newer one");
        }
        let path = dir.join(store::FILE_NAME);
        let store = Store::open(&path, &start.chain).map_err(|error| error.with_path(&path))?;
        let head = store.load_head(&start).map_err(|error| error.with_path(&path))?;
        let peers = config
            .peers
            .iter()
            .map(|peer| ConfiguredPeer::parse(dir, peer))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let (network, mut events) =
            tequio_p2p::spawn(listening::network_config(dir, config, &peers, &keys)?)?;
        let (store, checkpoint) = (Arc::new(store), Arc::<[u8]>::from(checkpoint));
        let tip = Arc::new(Tip::new(head.header, head.state));
        let snapshots = Arc::<SnapshotCache>::default();
        snapshots.add_tip(&tip, true);
        let chain = ChainView::new(keys.id(), start.params, tip);
        let (replica, replica_receiver) = machine::inbox();
        let (worker, worker_receiver) = machine::inbox();

        let (metrics, event_log) = (Arc::<Metrics>::default(), Arc::<EventLog>::default());
        let mempool = Arc::<Mempool>::default();
        let admission = Admission::new(chain.clone(), mempool.clone(), metrics.clone());
        let ingest =
            Ingest::new(chain.clone(), network.clone(), mempool.clone(), admission.clone());
        let submitter = Submitter::new(
            chain.clone(),
            store.clone(),
            mempool.clone(),
            admission.clone(),
            keys.node.clone(),
        );
        let outbox = WriteOutbox::new(
            chain.clone(),
            store.clone(),
            mempool.clone(),
            admission.clone(),
            submitter.clone(),
            metrics.clone(),
        );
        let objects = Objects::new(chain.clone(), store.clone(), network.clone());
        let jobs = JobsView::new(chain.clone(), store.clone());
        let coordinators = Coordinators::new(chain.clone(), network.clone());
        let sync_status = Arc::<SyncStatus>::default();
        let state_sync = StateSync {
            chain: chain.clone(),
            store: store.clone(),
            network: network.clone(),
            metrics: metrics.clone(),
            status: sync_status.clone(),
            checkpoint: checkpoint.clone(),
            when_behind: config.state_sync_threshold,
            replica: replica.clone(),
        };
        let sync = BlockSync {
            chain: chain.clone(),
            network: network.clone(),
            state_sync,
            status: sync_status.clone(),
            replica: replica.clone(),
        };

        let (fail, failed) = oneshot::channel();
        let ended = move |result| drop(fail.send(result));
        let driver = DriverParts {
            chain: chain.clone(),
            store: store.clone(),
            network: network.clone(),
            mempool: mempool.clone(),
            ingest: ingest.clone(),
            snapshots: snapshots.clone(),
            sync: sync.clone(),
            submitter: submitter.clone(),
            metrics: metrics.clone(),
            inbox: replica.clone(),
        };
        let replica_thread = driver::start(driver, &keys, config, replica_receiver, ended)?;
        let worker_parts = WorkerParts {
            chain: chain.clone(),
            network: network.clone(),
            coordinators: coordinators.clone(),
            metrics: metrics.clone(),
        };
        let slots = config.workers.try_into().unwrap_or(u8::MAX);
        worker::start(worker_parts, &worker, worker_receiver, slots)?;

        let mut tasks = JoinSet::new();
        for peer in peers {
            if let ConfiguredPeer::Directory(peer) = peer {
                tasks.spawn(devnet::stay_connected(network.clone(), peer));
            }
        }
        if let Some(notifications) = events.take_notifications(NotificationProtocol::Consensus) {
            tasks.spawn(inputs::listen(mempool.clone(), replica.clone(), notifications));
        }
        if let Some(notifications) = events.take_notifications(NotificationProtocol::Mempool) {
            tasks.spawn(ingest.listen(notifications));
        }
        let router = Router {
            network: network.clone(),
            metrics: metrics.clone(),
            coordinators: coordinators.clone(),
            light: LightServer {
                chain: chain.clone(),
                store: store.clone(),
                network: network.clone(),
                admission: admission.clone(),
                jobs: jobs.clone(),
                events: event_log.clone(),
            },
            sync: SyncServer::new(chain.clone(), store.clone(), snapshots),
            mempool: mempool.clone(),
        };
        tasks.spawn(router.run(events));
        let relays = listening::relays(&config.relays)?;
        tasks.spawn(relay_reservations::run(chain.clone(), network.clone(), relays));
        tasks.spawn(coordinator_discovery::run(chain.clone(), network.clone()));
        let propagation = Propagation::new(chain.clone(), network.clone(), mempool.clone());
        tasks.spawn(propagation.run());
        tasks.spawn(objects.clone().replicate());
        tasks.spawn(polls::poll_coordinators(jobs.clone(), chain.clone(), network.clone()));
        let runner = JobRunner {
            chain: chain.clone(),
            store: store.clone(),
            jobs: jobs.clone(),
            coordinators: coordinators.clone(),
            objects: objects.clone(),
            submitter: submitter.clone(),
            metrics: metrics.clone(),
            events: event_log.clone(),
        };
        tasks.spawn(runner.run());
        let auditor = Auditor::new(chain.clone(), objects.clone(), submitter, metrics.clone());
        tasks.spawn(auditor.run());
        tasks.spawn(outbox.clone().run());
        tasks.spawn(prune::run(chain.clone(), store.clone(), config.retained_blocks));
        tasks.spawn(sync.follow());
        tasks.spawn(Backfill::new(chain.clone(), store.clone(), network.clone()).run());
        let listen = listening::listen(&network, chain.node, config).await?;
        Ok(Self {
            chain,
            store,
            network,
            mempool,
            admission,
            jobs,
            coordinators,
            objects,
            outbox,
            sync_status,
            stored_keys: Arc::new(StoredKeys::new(keys, dir.join(keys::FILE_NAME))),
            checkpoint,
            metrics,
            events: event_log,
            replica,
            listen,
            worker,
            replica_thread,
            failed,
            tasks,
            _lock: lock,
        })
    }

    /// Returns when the node cannot continue. A failed write is reported as the cause of all errors
    /// that follow from it.
    pub async fn failed(&mut self) -> anyhow::Error {
        let mut failures = self.store.failures();
        let ended = tokio::select! {
            biased;
            Ok(failure) = failures.wait_for(Option::is_some) => return cause(&failure),
            ended = &mut self.failed => ended,
        };
        match ended {
            _ if failures.borrow().is_some() => cause(&failures.borrow()),
            Ok(Err(error)) => error,
            Ok(Ok(())) | Err(_) => {
                anyhow::anyhow!(
                    "consensus has stopped; the log has the cause, and a restart resumes it"
                )
            }
        }
    }

    /// Stops in order: no new work, completion of the last write, then the network.
    pub async fn stop(mut self) {
        self.worker.stop();
        for job in self.coordinators.jobs() {
            self.coordinators.stop(&job);
        }
        self.replica.stop();
        self.tasks.abort_all();
        let thread = self.replica_thread;
        let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        self.network.close().await;
    }
}

fn cause(failure: &Option<WriteFailure>) -> anyhow::Error {
    failure.clone().map_or_else(|| anyhow::anyhow!("the store fails"), anyhow::Error::new)
}
