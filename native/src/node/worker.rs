//! Computes for the jobs of the network: the worker machine on a thread of its own, its lanes on
//! blocking threads, at most as many at a time as the operator allows.

use super::{
    context::Context,
    coordinator,
    machine::{self, Inbox, Mail, Performer},
};
use std::{sync::Arc, time::Duration};
use tequio_core::{
    codec,
    ledger::job::JobStatus,
    scheduler::{
        coordinator::ComputeFailed,
        worker::{Config, Event, Failed, Input, Offer, Output, Worker},
    },
    types::NodeId,
    wire::work::{RESPONSE_LEN_MAX, RejectionKind, Request, Response},
};
use tequio_p2p::Protocol;
use tokio::runtime::Handle;

/// Coordinators hold questions back while there is nothing to do.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(25);

/// Starts the worker's thread.
pub fn start(
    context: &Arc<Context>,
    inbox: &Inbox<Input>,
    mail: Mail<Input>,
    slots: u8,
) -> anyhow::Result<()> {
    let mut config = Config::new(context.id, *tequio_host::random()?);
    config.slots = slots;
    let performer =
        Working { context: context.clone(), inbox: inbox.clone(), runtime: Handle::current() };
    machine::spawn("worker".into(), Worker::new(config), mail, performer, |ended| {
        if let Err(error) = ended {
            tracing::error!(error = format!("{error:#}"), "the worker has stopped");
        }
    })?;
    tokio::spawn(offer(context.clone(), inbox.clone()));
    Ok(())
}

/// Tells the worker of the running jobs, whenever they change.
async fn offer(context: Arc<Context>, inbox: Inbox<Input>) {
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

struct Working {
    context: Arc<Context>,
    inbox: Inbox<Input>,
    runtime: Handle,
}

impl Performer<Worker> for Working {
    fn tick() -> Input {
        Input::Tick
    }

    fn perform(&mut self, _: &Worker, output: Output) -> anyhow::Result<Option<Input>> {
        match output {
            Output::Request { id, to, request } if to == self.context.id => {
                coordinator::receive_own(&self.context, &self.inbox, id, request);
            }
            Output::Request { id, to, request } => {
                let (context, inbox) = (self.context.clone(), self.inbox.clone());
                self.runtime.spawn(async move {
                    let outcome = ask(&context, to, &request).await;
                    inbox.send(Input::Response { id, outcome });
                });
            }
            Output::Compute { unit, task } => {
                let (context, inbox) = (self.context.clone(), self.inbox.clone());
                self.runtime.spawn_blocking(move || {
                    let product = task.run().map_err(|_| ComputeFailed);
                    context.metrics.lanes.inc();
                    inbox.send(Input::Computed { unit, product });
                });
            }
            Output::Event(event) => tell(&event),
        }
        Ok(None)
    }

    fn refused(
        &mut self,
        error: <Worker as tequio_core::machine::Machine>::Error,
    ) -> anyhow::Result<()> {
        tracing::debug!(?error, "worker refused an input");
        Ok(())
    }
}

async fn ask(context: &Context, to: NodeId, request: &Request) -> Result<Response, Failed> {
    let body = codec::encode(request);
    let body = context.network.request(to, Protocol::Work, body, REQUEST_TIMEOUT).await.map_err(
        |error| {
            tracing::debug!(coordinator = %to.short(), %error, "no answer");
            Failed
        },
    )?;
    codec::decode(&body, RESPONSE_LEN_MAX).map_err(|_| Failed)
}

fn tell(event: &Event) {
    match event {
        Event::Accepted { job, round, lane, .. } => {
            tracing::trace!(?job, round, lane, "own lane accepted")
        }
        Event::Rejected { job, round, lane, reason } if reason.kind() == RejectionKind::Late => {
            tracing::info!(?job, round, lane, "own result came too late");
        }
        Event::Rejected { job, round, lane, reason } => {
            tracing::warn!(?job, round, lane, %reason, "own result refused: is this machine sound?");
        }
        Event::Lost { job, round, lane } => tracing::debug!(?job, round, lane, "lease lost"),
    }
}
