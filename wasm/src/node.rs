//! The exported node: starts all parts, handles the page's calls, and ends all parts.

use crate::{
    chain::{Chain, now_ms},
    contribution,
    error::NodeError,
    event::{Emitter, JobView, js},
    follow::{self, Closed},
    identity,
    model::Model,
    network_events::forward_network_events,
    once_event::OnceEvent,
    peer_scores::PeerScores,
    start_config::{IceServerConfig, StartConfig, relays},
    store::Store,
    views::{
        AccountView, FilesView, HeadView, RecordView, RefView, Status, TrafficView, peer_view,
    },
    work::Work,
};
use futures::{FutureExt, channel::oneshot, select};
use futures_timer::Delay;
use js_sys::Function;
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Duration,
};
use tequio_core::{
    content::Cid,
    ledger::{
        Entry, Key,
        job::{JobResult, JobStatus},
    },
    light::LightClient,
    objects::record::TrainingRecord,
    types::{Digest, NodeId},
};
use tequio_p2p::{Config, IceServer, spawn};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::spawn_local;
use web_time::Instant;

/// Timeout of the first connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(8);
/// Timeout, once connected, of the first verified head or the next verified committee handover on
/// the way to it.
const HEAD_TIMEOUT: Duration = Duration::from_secs(20);
/// Timeout of a request for the jobs, until the first answer.
const JOBS_TIMEOUT: Duration = Duration::from_secs(20);

/// The running light node.
#[wasm_bindgen]
pub struct LightNode {
    chain: Rc<Chain>,
    work: Work,
    /// The checkpoint file with which the node was started.
    checkpoint: Vec<u8>,
    close: RefCell<Option<oneshot::Sender<()>>>,
}

#[wasm_bindgen]
impl LightNode {
    /// Starts from a checkpoint: `{checkpoint, relays, store, agent?, iceServers?}`. Resolves at
    /// the first verified head.
    pub async fn start(config: JsValue, on_event: Function) -> Result<LightNode, JsValue> {
        Ok(Self::try_start(config, on_event).await?)
    }

    async fn try_start(config: JsValue, on_event: Function) -> Result<LightNode, NodeError> {
        let config: StartConfig =
            serde_wasm_bindgen::from_value(config).map_err(|e| NodeError::Config(e.to_string()))?;
        let relays = relays(&config.relays)?;
        let mut light = LightClient::start(&config.checkpoint, None, now_ms())?;
        let emitter = Emitter::new(on_event);
        let store = Store::open(config.store, emitter.clone()).await;
        // Continues from the last visit. A saved head that does not fit is ignored.
        let saved = Chain::saved(&store).await;
        if let Some(saved) = &saved
            && let Ok(resumed) = LightClient::resume(saved, light.chain(), now_ms())
            && resumed.head().height >= light.head().height
        {
            light = resumed;
        }
        let key = identity::load_or_create(&store, saved.is_some()).await?;
        let agent =
            config.agent.unwrap_or_else(|| format!("tequio-web/{}", env!("CARGO_PKG_VERSION")));
        let mut network_config = Config::new(*key.to_bytes());
        network_config.persistent_peers = relays.clone();
        network_config.serve = Vec::new();
        network_config.agent = agent;
        network_config.ice_servers = config.ice_servers.into_iter().map(IceServer::from).collect();
        let (network, events) =
            spawn(network_config).map_err(|e| NodeError::Config(e.to_string()))?;
        let chain = Rc::new(Chain {
            me: network.local_id(),
            network,
            light: RefCell::new(light),
            peer_scores: RefCell::new(PeerScores::default()),
            emitter,
            store,
            jobs: RefCell::default(),
            jobs_loaded: OnceEvent::default(),
            head_arrived_at: Cell::new(Instant::now()),
            interval_ms: Cell::new(0),
        });
        let (close, closed) = oneshot::channel();
        let closed: Closed = closed.shared();
        let (connected, first) = oneshot::channel();
        let unreached = Rc::default();
        spawn_local(forward_network_events(
            chain.clone(),
            events,
            Some(connected),
            Rc::clone(&unreached),
        ));
        let node = Self {
            work: Work::start(chain.clone(), relays.clone())?,
            chain: chain.clone(),
            checkpoint: config.checkpoint,
            close: RefCell::new(Some(close)),
        };
        if let Err(e) = node.first_head(first, &config.relays, &unreached).await {
            node.end().await;
            return Err(e);
        }
        spawn_local(follow::run(chain, node.work.clone(), relays, closed));
        Ok(node)
    }

    async fn first_head(
        &self,
        connected: oneshot::Receiver<()>,
        relays: &[String],
        unreached: &RefCell<Option<String>>,
    ) -> Result<(), NodeError> {
        let mut connected = connected.fuse();
        let is_connected = select! {
            connected = connected => connected.is_ok(),
            () = Delay::new(CONNECT_TIMEOUT).fuse() => false,
        };
        if !is_connected {
            let cause =
                unreached.borrow().as_ref().map_or(String::new(), |message| format!("; {message}"));
            return Err(NodeError::NoRelay(format!("tried {} address(es){cause}", relays.len())));
        }
        let first = async {
            self.chain.advance(Duration::ZERO).await?;
            self.chain.read_interval().await
        }
        .fuse();
        futures::pin_mut!(first);
        let late = || {
            NodeError::Timeout(format!(
                "a relay is connected, but no verified block and no committee handover came within \
                 {HEAD_TIMEOUT:?}: try again, or with another relay"
            ))
        };
        let epoch = || self.chain.light.borrow().committee().epoch();
        let mut known = epoch();
        let result: Result<(), NodeError> = loop {
            select! {
                result = first => break result,
                () = Delay::new(HEAD_TIMEOUT).fuse() => {
                    if epoch() == known {
                        break Err(late());
                    }
                    known = epoch();
                }
            }
        };
        if result.is_ok() {
            self.chain.emit_head();
        }
        result
    }

    /// Returns a snapshot for display.
    pub fn status(&self) -> Result<JsValue, JsValue> {
        let chain = &self.chain;
        let light = chain.light.borrow();
        let traffic = chain.network.traffic().total();
        let storage = if chain.store.is_kept() { "kept" } else { "visit" };
        let status = Status {
            node: chain.me.to_string(),
            chain: light.chain().to_string(),
            head: HeadView {
                height: light.head().height,
                time_ms: light.head().time_ms,
                hash: light.digest().to_string(),
                stale: chain.overdue_ms().is_some(),
                signers: light.certificate().map_or(0, |c| c.seats().count()),
                committee: light.head_committee().map(|committee| committee.seats().len()),
            },
            peers: chain.network.peers().iter().map(peer_view).collect(),
            bytes_received: traffic.received,
            bytes_sent: traffic.sent,
            storage,
            contributing: self.work.slots() > 0,
            workers: self.work.slots(),
        };
        Ok(js(&status)?)
    }

    /// Returns the number of bytes on all connections so far.
    pub fn traffic(&self) -> Result<JsValue, JsValue> {
        let traffic = self.chain.network.traffic().total();
        Ok(js(&TrafficView { received: traffic.received, sent: traffic.sent })?)
    }

    /// Returns a ref with the height of its proof, or null if its absence is proved.
    #[wasm_bindgen(js_name = readRef)]
    pub async fn read_ref(&self, name: String) -> Result<JsValue, JsValue> {
        let view = self.chain.reference(&name).await?.map(|(r, height)| RefView {
            name,
            cid: r.cid.to_string(),
            sequence: r.sequence,
            height,
        });
        Ok(js(&view)?)
    }

    /// Returns an object's bytes, verified by their digest.
    #[wasm_bindgen(js_name = readObject)]
    pub async fn read_object(&self, cid: String) -> Result<Vec<u8>, JsValue> {
        let cid: Cid = cid.parse().map_err(|e| NodeError::Config(format!("{e}")))?;
        Ok(self.chain.contents(cid).await?)
    }

    /// Returns the model of a finished job.
    #[wasm_bindgen(js_name = readModel)]
    pub async fn read_model(&self, job: String) -> Result<Model, JsValue> {
        Ok(Model::read(&self.chain, &job).await?)
    }

    /// Returns the training record that was committed with the model.
    pub async fn record(&self, job: String) -> Result<JsValue, JsValue> {
        Ok(self.training_record(&job).await?)
    }

    /// Returns the proof of a member's contribution to a final job, by default this node's.
    #[wasm_bindgen(js_name = contributionProof)]
    pub async fn contribution_proof(
        &self,
        job: String,
        id: Option<String>,
    ) -> Result<Vec<u8>, JsValue> {
        Ok(contribution::prove(&self.chain, &self.checkpoint, &job, id.as_deref()).await?)
    }

    /// Returns the bytes of a job's model and record, each verified by its digest.
    #[wasm_bindgen(js_name = modelFiles)]
    pub async fn model_files(&self, job: String) -> Result<JsValue, JsValue> {
        Ok(self.files(&job).await?)
    }

    async fn files(&self, job: &str) -> Result<JsValue, NodeError> {
        let (_, result, _) = self.final_job(job).await?;
        let trained = result.output.model().ok_or_else(|| no_model_error(job))?;
        let model = self.chain.block(trained.model).await?.into_inner();
        let record = self.chain.block(trained.record).await?.into_inner();
        js(&FilesView {
            job: job.to_ascii_lowercase(),
            model_cid: trained.model.to_string(),
            model: model.bytes,
            record_cid: trained.record.to_string(),
            record: record.bytes,
        })
    }

    /// Returns a final job, its outcome, and the reputation that was minted for it.
    async fn final_job(&self, job: &str) -> Result<(Digest, JobResult, u64), NodeError> {
        let id: Digest =
            job.parse().map_err(|e| NodeError::Config(format!("the job's id: {e}")))?;
        let (Some(Entry::Job(_, job)), _) = self.chain.entry(Key::Job(id)).await? else {
            return Err(NodeError::NotFound(format!("job {id}")));
        };
        match job.status {
            JobStatus::Final { result, minted, .. } => Ok((id, result, minted)),
            _ => Err(NodeError::NotFound(format!("the record of job {id}: it is not final yet"))),
        }
    }

    async fn training_record(&self, job: &str) -> Result<JsValue, NodeError> {
        let (_, result, minted) = self.final_job(job).await?;
        let trained = result.output.model().ok_or_else(|| no_model_error(job))?;
        let block = self.chain.block(trained.record).await?;
        let record =
            TrainingRecord::from_block(block).map_err(|e| NodeError::BadObject(e.to_string()))?;
        js(&RecordView::new(&result, trained, &record, minted))
    }

    async fn await_jobs(&self) -> Result<(), NodeError> {
        let mut known = Box::pin(self.chain.jobs_loaded.wait().fuse());
        select! {
            known = known => if known { Ok(()) } else { Err(NodeError::Closed) },
            () = Delay::new(JOBS_TIMEOUT).fuse() => {
                Err(NodeError::Timeout(format!("no source has sent its jobs within \
                                                {JOBS_TIMEOUT:?}")))
            }
        }
    }

    /// Returns the jobs, once they have been read for the first time.
    pub async fn jobs(&self) -> Result<JsValue, JsValue> {
        self.await_jobs().await?;
        let views: Vec<JobView> =
            self.chain.jobs.borrow().values().map(|j| JobView::new(j, &self.chain.me)).collect();
        Ok(js(&views)?)
    }

    /// Returns a proved account, or null if there is none. Without an id, it is this node's own.
    pub async fn account(&self, id: Option<String>) -> Result<JsValue, JsValue> {
        let id = match id {
            Some(id) => id.parse::<NodeId>().map_err(|e| NodeError::Config(format!("{e}")))?,
            None => self.chain.me,
        };
        let (entry, _) = self.chain.entry(Key::Account(id)).await?;
        let view = match entry {
            Some(Entry::Account(a)) => Some(AccountView {
                id: a.node.to_string(),
                reputation: a.reputation,
                units: a.units,
                checks: a.checks,
                macs: a.macs,
                nonce: a.nonce,
                bond: a.bond,
            }),
            _ => None,
        };
        Ok(js(&view)?)
    }

    /// Sets how many units may be computed at once; 0, the default, is none.
    #[wasm_bindgen(js_name = setWorkers)]
    pub fn set_workers(&self, count: u32) {
        self.work.set_slots(count.min(u8::MAX.into()) as u8);
    }

    /// Takes the result of a unit that a Web Worker has computed.
    #[wasm_bindgen(js_name = unitDone)]
    pub fn unit_done(&self, unit: f64, result: &[u8]) -> Result<(), JsValue> {
        Ok(self.work.done(unit as u64, result)?)
    }

    /// Records that a Web Worker could not compute a unit.
    #[wasm_bindgen(js_name = unitFailed)]
    pub fn unit_failed(&self, unit: f64, message: String) {
        self.chain.emitter.log("debug", format!("unit {unit} failed: {message}"));
        self.work.failed(unit as u64);
    }

    /// Replaces the STUN and TURN servers: `RTCIceServer`s, each with a list of URLs. Existing
    /// connections keep the old ones.
    #[wasm_bindgen(js_name = setIceServers)]
    pub fn set_ice_servers(&self, servers: JsValue) -> Result<(), JsValue> {
        let servers: Vec<IceServerConfig> = serde_wasm_bindgen::from_value(servers)
            .map_err(|e| NodeError::Config(e.to_string()))?;
        let servers = servers.into_iter().map(IceServer::from).collect();
        Ok(self
            .chain
            .network
            .set_ice_servers(servers)
            .map_err(|e| NodeError::Config(e.to_string()))?)
    }

    /// Ends all loops and connections. A second call does nothing.
    pub async fn close(&self) -> Result<(), JsValue> {
        self.end().await;
        Ok(())
    }

    async fn end(&self) {
        let Some(close) = self.close.borrow_mut().take() else { return };
        let _ = close.send(());
        self.work.stop();
        self.chain.jobs_loaded.cancel();
        self.chain.save().await;
        self.chain.network.clone().close().await;
    }
}

fn no_model_error(job: &str) -> NodeError {
    NodeError::NotFound(format!("the record of job {job}: it has trained nothing"))
}
