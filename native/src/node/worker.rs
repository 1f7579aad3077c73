//! Computes work units for the jobs of the network: the worker machine on its own thread, its units
//! on blocking threads, at most as many at a time as the operator allows.

use super::{
    context::NodeContext,
    coordinator,
    machine::{self, Inbox, InboxReceiver, OutputHandler},
};
use std::{sync::Arc, time::Duration};
use tequio_core::{
    codec,
    ledger::job::JobStatus,
    scheduler::{
        coordinator::ComputeFailed,
        worker::{Config, Event, Input, Offer, Output, RequestFailed, Worker},
    },
    types::NodeId,
    wire::work::{RESPONSE_LEN_MAX, RejectionKind, Request, Response},
};
use tequio_p2p::Protocol;
use tokio::runtime::Handle;

/// Longer than coordinators hold a request while there is no work.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(25);

/// Starts the worker's thread.
pub fn start(
    context: &Arc<NodeContext>,
    inbox: &Inbox<Input>,
    receiver: InboxReceiver<Input>,
    slots: u8,
) -> anyhow::Result<()> {
    let mut config = Config::new(context.id, *tequio_host::random()?);
    config.slots = slots;
    let handler = WorkerOutputs {
        context: context.clone(),
        inbox: inbox.clone(),
        runtime: Handle::current(),
    };
    machine::spawn("worker".into(), Worker::new(config), receiver, handler, |ended| {
        if let Err(error) = ended {
            tracing::error!(error = format!("{error:#}"), "the worker has stopped");
        }
    })?;
    tokio::spawn(announce_running_jobs(context.clone(), inbox.clone()));
    Ok(())
}

/// Sends the running jobs to the worker whenever they change.
async fn announce_running_jobs(context: Arc<NodeContext>, inbox: Inbox<Input>) {
    let mut tips = context.watch_tip();
    let mut before = Vec::new();
    loop {
        let running =
            context.jobs().into_iter().filter(|(_, job)| job.status == JobStatus::Running);
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
    context: Arc<NodeContext>,
    inbox: Inbox<Input>,
    runtime: Handle,
}

impl OutputHandler<Worker> for WorkerOutputs {
    fn tick() -> Input {
        Input::Tick
    }

    fn handle_output(&mut self, _: &Worker, output: Output) -> anyhow::Result<Option<Input>> {
        match output {
            Output::Request { id, to, request } if to == self.context.id => {
                coordinator::receive_own(&self.context, &self.inbox, id, request);
            }
            Output::Request { id, to, request } => {
                let (context, inbox) = (self.context.clone(), self.inbox.clone());
                self.runtime.spawn(async move {
                    let outcome = send_request(&context, to, &request).await;
                    inbox.send(Input::Response { id, outcome });
                });
            }
            Output::Compute { compute_id, task } => {
                let (context, inbox) = (self.context.clone(), self.inbox.clone());
                self.runtime.spawn_blocking(move || {
                    let product = task.run().map_err(|_| ComputeFailed);
                    context.metrics.units_computed.inc();
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
    context: &NodeContext,
    to: NodeId,
    request: &Request,
) -> Result<Response, RequestFailed> {
    let body = codec::encode(request);
    let body = context.network.request(to, Protocol::Work, body, REQUEST_TIMEOUT).await.map_err(
        |error| {
            tracing::debug!(coordinator = %to.short(), %error, "no answer");
            RequestFailed
        },
    )?;
    codec::decode(&body, RESPONSE_LEN_MAX).map_err(|_| RequestFailed)
}

fn log_event(event: &Event) {
    match event {
        Event::Accepted { job, round, unit, .. } => {
            tracing::trace!(?job, round, unit, "own unit accepted")
        }
        Event::Rejected { job, round, unit, reason } if reason.kind() == RejectionKind::Late => {
            tracing::info!(?job, round, unit, "own result came too late");
        }
        Event::Rejected { job, round, unit, reason } => {
            tracing::warn!(?job, round, unit, %reason, "own result refused: is this machine sound?");
        }
        Event::Lost { job, round, unit } => tracing::debug!(?job, round, unit, "lease lost"),
    }
}
