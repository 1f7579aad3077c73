//! The peer of `tests/js-libp2p/client.mjs`: a whole libp2p node with the usual protocols over our
//! WebRTC transport.
//!
//! Usage: `tequio-libp2p-peer [--relay MULTIADDR]`. Listens on WebRTC-direct, and through the relay
//! if one is given. Supports ping, identify and gossipsub, and serves requests on streams of
//! `/tequio/tests/1`. Prints a line of JSON for each event: `listening`, `reserved`, `connected`,
//! `gossip` (which it answers), `stalled`, `stream` (how it ended), `closed`.

use anyhow::{Context, Result, bail};
use futures::StreamExt;
use libp2p::{
    Multiaddr, SwarmBuilder, identify,
    identity::Keypair,
    noise, ping, relay,
    swarm::{NetworkBehaviour, StreamProtocol, SwarmEvent},
    tcp, yamux,
};
use libp2p_gossipsub::{self as gossipsub, IdentTopic, MessageAuthenticity};
use libp2p_stream as stream;
use serde_json::json;
use std::time::Duration;
use tequio_tests::stream_requests::{print_event, serve_stream};
use tequio_webrtc::{Certificate, Config, Transport};

const PROTOCOL: StreamProtocol = StreamProtocol::new("/tequio/tests/1");
const TOPIC: &str = "tequio-tests";

#[derive(NetworkBehaviour)]
struct Behaviour {
    relay: relay::client::Behaviour,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    gossip: gossipsub::Behaviour,
    streams: stream::Behaviour,
}

impl Behaviour {
    fn new(keys: &Keypair, relay: relay::client::Behaviour) -> Result<Self> {
        let config = gossipsub::ConfigBuilder::default()
            .heartbeat_interval(Duration::from_millis(200))
            .build()?;
        let author = MessageAuthenticity::Signed(keys.clone());
        Ok(Self {
            relay,
            identify: identify::Behaviour::new(identify::Config::new(
                "tequio-tests/1".into(),
                keys.public(),
            )),
            ping: ping::Behaviour::default(),
            gossip: gossipsub::Behaviour::new(author, config).map_err(anyhow::Error::msg)?,
            streams: stream::Behaviour::new(),
        })
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let mut relay: Option<Multiaddr> = None;
    let mut arguments = std::env::args().skip(1);
    while let (Some(name), Some(value)) = (arguments.next(), arguments.next()) {
        match name.as_str() {
            "--relay" => relay = Some(value.parse()?),
            other => bail!("unknown argument {other}"),
        }
    }
    let certificate = Certificate::generate()?;
    let mut swarm = SwarmBuilder::with_existing_identity(Keypair::generate_ed25519())
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)?
        .with_other_transport(|keys| Transport::new(keys.clone(), certificate, Config::default()))?
        .with_relay_client(noise::Config::new, yamux::Config::default)?
        .with_behaviour(|keys, relay| Behaviour::new(keys, relay).map_err(Into::into))?
        .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(60)))
        .build();
    let topic = IdentTopic::new(TOPIC);
    swarm.behaviour_mut().gossip.subscribe(&topic)?;
    let mut streams = swarm.behaviour().streams.new_control().accept(PROTOCOL)?;
    tokio::spawn(async move {
        while let Some((_, stream)) = streams.next().await {
            tokio::spawn(async move {
                let error = serve_stream(stream).await.err();
                print_event(&json!({"event": "stream", "error": error.map(|e| format!("{e:#}"))}));
            });
        }
    });
    swarm.listen_on("/ip4/127.0.0.1/udp/0/webrtc-direct".parse()?)?;
    if let Some(relay) = relay {
        swarm.listen_on(relay.with(libp2p::multiaddr::Protocol::P2pCircuit))?;
    }
    loop {
        match swarm.next().await.context("a swarm does not end")? {
            SwarmEvent::NewListenAddr { address, .. } => {
                let is_circuit = address.to_string().contains("/p2p-circuit");
                let event = if is_circuit { "reserved" } else { "listening" };
                let addr = address.with_p2p(*swarm.local_peer_id()).unwrap_or_else(|addr| addr);
                print_event(&json!({"event": event, "addr": addr.to_string()}));
            }
            SwarmEvent::ListenerClosed { reason: Err(error), .. } => {
                bail!("a listener ended: {error}")
            }
            SwarmEvent::ConnectionEstablished { peer_id, .. } => {
                print_event(&json!({"event": "connected", "peer": peer_id.to_string()}));
            }
            SwarmEvent::ConnectionClosed { peer_id, cause, .. } => {
                let cause = cause.map(|cause| cause.to_string());
                print_event(
                    &json!({"event": "closed", "peer": peer_id.to_string(), "cause": cause}),
                );
            }
            SwarmEvent::Behaviour(BehaviourEvent::Gossip(gossipsub::Event::Message {
                message,
                ..
            })) => {
                let text = String::from_utf8(message.data)?;
                print_event(&json!({"event": "gossip", "text": text}));
                swarm.behaviour_mut().gossip.publish(topic.clone(), format!("heard {text}"))?;
            }
            SwarmEvent::IncomingConnectionError { error, .. } => eprintln!("incoming: {error}"),
            _ => {}
        }
    }
}
