//! Connects two nodes of this process over loopback, alternately by WebRTC and WebSocket. Measures
//! the time to connect, the time of a small request, and the throughput of large ones. Both ends
//! share the machine, so a figure is the rate of one end while the other works beside it.

use super::figures::round;
use crate::cli::{options::Json, output::print};
use anyhow::{Context, bail};
use clap::Args;
use futures::future::try_join_all;
use serde_json::json;
use std::time::{Duration, Instant};
use tequio_core::types::NodeId;
use tequio_p2p::{Config, Event, Network, Protocol, Rate, WebRtcCertificate, identity};

/// Concurrent requests in the large measurements: one travels while the other is made or read.
const PARALLEL: usize = 2;
const CONNECTS: usize = 10;
const SMALL_REQUESTS: usize = 200;
const TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Debug, Args)]
pub struct Webrtc {
    /// MiB to move each way in each round
    #[arg(long, value_name = "MIB", default_value_t = 64,
        value_parser = clap::value_parser!(u32).range(8..=4096))]
    mib: u32,
    /// Rounds, of which the fastest counts; the transports alternate
    #[arg(long, value_name = "N", default_value_t = 3,
        value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    #[command(flatten)]
    json: Json,
}

impl Webrtc {
    pub fn execute(self) -> anyhow::Result<()> {
        tokio::runtime::Runtime::new()?.block_on(self.measure())
    }

    async fn measure(self) -> anyhow::Result<()> {
        let mut webrtc = Pair::new("/ip4/127.0.0.1/udp/0/webrtc-direct").await?;
        let mut websocket = Pair::new("/ip4/127.0.0.1/tcp/0/ws").await?;
        for _ in 0..self.rounds {
            webrtc.round(self.mib).await?;
            websocket.round(self.mib).await?;
        }
        let (ours, peer) = (webrtc.best, websocket.best);
        let object = json!({
            "mib_per_s": round(ours.down.min(ours.up)), "down_mib_per_s": round(ours.down),
            "up_mib_per_s": round(ours.up),
            "rpc_ms_p50": round2(ours.rpc_ms), "connect_ms": round2(ours.connect_ms),
            "cpu_ms_per_mib": ours.cpu_ms.map(round2),
            "websocket_mib_per_s": round(peer.down.min(peer.up)),
            "websocket_rpc_ms_p50": round2(peer.rpc_ms),
            "websocket_connect_ms": round2(peer.connect_ms),
            "websocket_cpu_ms_per_mib": peer.cpu_ms.map(round2),
        });
        print(self.json, &object, || {
            format!("{}\n{}", ours.line("WebRTC"), peer.line("WebSocket"))
        });
        Ok(())
    }
}

/// Two nodes and the best figures of the connections between them.
struct Pair {
    server: Network,
    client: Network,
    address: tequio_p2p::Multiaddr,
    best: Figures,
}

#[derive(Clone, Copy)]
struct Figures {
    /// MiB a second in large responses (`down`) and in large requests (`up`).
    down: f64,
    up: f64,
    rpc_ms: f64,
    connect_ms: f64,
    /// CPU time of both ends together for each MiB.
    cpu_ms: Option<f64>,
}

impl Figures {
    fn line(&self, name: &str) -> String {
        let Self { down, up, rpc_ms, connect_ms, cpu_ms } = self;
        let cpu = cpu_ms.map_or(String::new(), |cpu| format!("  {cpu:.1} ms of CPU a MiB"));
        format!(
            "{name:10} down {down:6.1}  up {up:6.1} MiB/s  request {rpc_ms:.2} ms  connect \
             {connect_ms:.1} ms{cpu}"
        )
    }
}

impl Pair {
    async fn new(listen: &str) -> anyhow::Result<Self> {
        let (server, client) = (node()?, node()?);
        let address = server.listen(listen.parse()?).await?;
        let address = identity::with_peer(address, server.local_id());
        let best =
            Figures { down: 0.0, up: 0.0, rpc_ms: f64::MAX, connect_ms: f64::MAX, cpu_ms: None };
        Ok(Self { server, client, address, best })
    }

    async fn round(&mut self, mib: u32) -> anyhow::Result<()> {
        let peer = self.server.local_id();
        let mut connects = Vec::new();
        for _ in 0..CONNECTS {
            self.client.disconnect(peer).await;
            while self.client.peer(peer).is_some() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            let began = Instant::now();
            self.client.dial(self.address.clone()).await?;
            connects.push(began.elapsed());
        }
        let mut requests = Vec::new();
        for _ in 0..SMALL_REQUESTS {
            let began = Instant::now();
            self.request_within(peer, Protocol::Light, vec![0; 64]).await?;
            requests.push(began.elapsed());
        }
        let cpu_before = cpu_ms();
        let down = self.large(peer, Protocol::Sync, 1, Protocol::Sync.response_max(), mib).await?;
        let up = self.large(peer, Protocol::Work, Protocol::Work.request_max(), 1, mib).await?;
        let cpu =
            cpu_ms().zip(cpu_before).map(|(after, before)| (after - before) / f64::from(2 * mib));
        let best = &mut self.best;
        best.down = best.down.max(down);
        best.up = best.up.max(up);
        best.rpc_ms = best.rpc_ms.min(median_ms(&mut requests));
        best.connect_ms = best.connect_ms.min(median_ms(&mut connects));
        best.cpu_ms = cpu.map(|cpu| best.cpu_ms.unwrap_or(f64::MAX).min(cpu));
        Ok(())
    }

    /// Throughput in MiB a second, of requests or responses, whichever is larger.
    async fn large(
        &self,
        peer: NodeId,
        of: Protocol,
        request: usize,
        response: usize,
        mib: u32,
    ) -> anyhow::Result<f64> {
        let each = request.max(response);
        let count = (mib as usize * (1 << 20)).div_ceil(each * PARALLEL);
        let began = Instant::now();
        try_join_all((0..PARALLEL).map(|_| async move {
            for _ in 0..count {
                let answer = self.request_within(peer, of, vec![0x5a; request]).await?;
                if answer.len() != response {
                    bail!("an answer of {} bytes instead of {response}", answer.len());
                }
            }
            Ok(())
        }))
        .await?;
        Ok((count * PARALLEL * each) as f64 / f64::from(1 << 20) / began.elapsed().as_secs_f64())
    }

    async fn request_within(
        &self,
        peer: NodeId,
        protocol: Protocol,
        body: Vec<u8>,
    ) -> anyhow::Result<Vec<u8>> {
        self.client.request(peer, protocol, body, TIMEOUT).await.context("a request failed")
    }
}

/// A node that sends the largest response of the protocol for large responses, and one byte for
/// every other protocol.
fn node() -> anyhow::Result<Network> {
    let mut config = Config::new(*tequio_host::random()?);
    config.webrtc = Some(WebRtcCertificate::generate()?);
    let unlimited =
        Rate { requests_per_s: 1e9, requests_burst: 1e9, bytes_per_s: 1e12, bytes_burst: 1e12 };
    Protocol::ALL.into_iter().for_each(|protocol| config.rates.set(protocol, unlimited));
    let (network, mut events) = tequio_p2p::spawn(config)?;
    tokio::spawn(async move {
        while let Some(event) = events.next().await {
            if let Event::InboundRequest { protocol, reply, .. } = event {
                let large = protocol == Protocol::Sync;
                reply.send(vec![0xa5; if large { protocol.response_max() } else { 1 }]);
            }
        }
    });
    Ok(network)
}

fn median_ms(times: &mut [Duration]) -> f64 {
    times.sort_unstable();
    times.get(times.len() / 2).map_or(0.0, |median| median.as_secs_f64() * 1e3)
}

/// CPU time of this process, if the system reports it.
fn cpu_ms() -> Option<f64> {
    // User and system time are the 14th and 15th field, in hundredths of a second; the 2nd may hold
    // spaces.
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    Some((ticks()? + ticks()?) * 10.0)
}

fn round2(x: f64) -> f64 {
    (x * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_small_measurement_reports_all_figures() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        for listen in ["/ip4/127.0.0.1/udp/0/webrtc-direct", "/ip4/127.0.0.1/tcp/0/ws"] {
            let mut pair = Pair::new(listen).await.unwrap();
            pair.round(16).await.unwrap();
            let Figures { down, up, rpc_ms, connect_ms, .. } = pair.best;
            assert!(down > 0.0 && up > 0.0 && rpc_ms > 0.0 && connect_ms > 0.0);
        }
    }
}
