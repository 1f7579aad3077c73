//! Computes work units for the jobs of the network: the worker machine on its own thread, its units
//! on blocking threads, at most as many at a time as the operator allows.

use crate::node::{
    chain_view::ChainView,
    jobs::coordinators::Coordinators,
    machine::{self, Inbox, InboxReceiver, OutputHandler},
    telemetry::metrics::Metrics,
};
use std::{sync::Arc, time::Duration};
use tequio_core::{
    codec,
    ledger::job::JobStatus,
    scheduler::{
        ComputeFailed,
        worker::{Config, Event, Input, Offer, Output, RequestFailed, Worker},
    },
    types::NodeId,
    wire::work::{RESPONSE_LEN_MAX, RejectionKind, Request, Response},
};
use tequio_p2p::{Network, Protocol};
use tokio::runtime::Handle;

/// Longer than coordinators hold a request while there is no work.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(25);

/// The parts of the node that the worker uses.
#[derive(Clone, Debug)]
pub struct WorkerParts {
    /// The jobs of the ledger.
    pub chain: ChainView,
    /// The remote coordinators.
    pub network: Network,
    /// The coordinators of this node's own jobs.
    pub coordinators: Coordinators,
    /// Counts computed units.
    pub metrics: Arc<Metrics>,
}

/// Starts the worker's thread.
pub fn start(
    parts: WorkerParts,
    inbox: &Inbox<Input>,
    receiver: InboxReceiver<Input>,
    slots: u8,
) -> anyhow::Result<()> {
    let mut config = Config::new(parts.chain.node, *tequio_host::random()?);
    config.slots = slots;
    let announcements = announce_running_jobs(parts.chain.clone(), inbox.clone());
    let handler = WorkerOutputs { parts, inbox: inbox.clone(), runtime: Handle::current() };
    machine::spawn("worker".into(), Worker::new(config), receiver, handler, |ended| {
        if let Err(error) = ended {
            tracing::error!(error = format!("{error:#}"), "the worker has stopped");
        }
    })?;
    tokio::spawn(announcements);
    Ok(())
}

/// Sends the running jobs to the worker whenever they change.
async fn announce_running_jobs(chain: ChainView, inbox: Inbox<Input>) {
    let mut tips = chain.watch_tip();
    let mut before = Vec::new();
    loop {
        let running = chain.jobs().into_iter().filter(|(_, job)| job.status == JobStatus::Running);
        let offers: Vec<Offer> =
            running.map(|(job, j)| Offer { job, coordinator: j.coordinator }).collect();
        if offers != before {
            before.clone_from(&offers);
            inbox.send(Input::Jobs(offers));
        }
        if tips.changed().await.is_err() {
            return;
        }
    }
}

struct WorkerOutputs {
    parts: WorkerParts,
    inbox: Inbox<Input>,
    runtime: Handle,
}

impl OutputHandler<Worker> for WorkerOutputs {
    fn tick() -> Input {
        Input::Tick
    }

    fn handle_output(&mut self, _: &Worker, output: Output) -> anyhow::Result<Option<Input>> {
        match output {
            Output::Request { id, to, request } if to == self.parts.chain.node => {
                self.parts.coordinators.receive_own(&self.inbox, id, request);
            }
            Output::Request { id, to, request } => {
                let (network, inbox) = (self.parts.network.clone(), self.inbox.clone());
                self.runtime.spawn(async move {
                    let outcome = send_request(&network, to, &request).await;
                    inbox.send(Input::Response { id, outcome });
                });
            }
            Output::Compute { compute_id, task } => {
                let (metrics, inbox) = (self.parts.metrics.clone(), self.inbox.clone());
                self.runtime.spawn_blocking(move || {
                    let product = task.run().map_err(|_| ComputeFailed);
                    metrics.units_computed.inc();
                    inbox.send(Input::Computed { compute_id, output: product });
                });
            }
            Output::Event(event) => log_event(&event),
        }
        Ok(None)
    }

    fn handle_error(
        &mut self,
        error: <Worker as tequio_core::machine::Machine>::Error,
    ) -> anyhow::Result<()> {
        tracing::debug!(?error, "worker refused an input");
        Ok(())
    }
}

async fn send_request(
    network: &Network,
    to: NodeId,
    request: &Request,
) -> Result<Response, RequestFailed> {
    let body = codec::encode(request);
    let body =
        network.request(to, Protocol::Work, body, REQUEST_TIMEOUT).await.map_err(|error| {
            tracing::debug!(coordinator = %to.short(), %error, "no answer");
            RequestFailed
        })?;
    codec::decode(&body, RESPONSE_LEN_MAX).map_err(|_| RequestFailed)
}

fn log_event(event: &Event) {
    match event {
        Event::Accepted { job, round, unit, .. } => {
            tracing::trace!(?job, round, unit, "this node's unit was accepted")
        }
        Event::Rejected { job, round, unit, reason } if reason.kind() == RejectionKind::Late => {
            tracing::info!(?job, round, unit, "this node's result arrived too late");
        }
        Event::Rejected { job, round, unit, reason } => {
            tracing::warn!(
                ?job, round, unit, %reason,
                "this node's result was refused: check this machine's memory and CPU"
            );
        }
        Event::Lost { job, round, unit } => tracing::debug!(?job, round, unit, "lease lost"),
    }
}
