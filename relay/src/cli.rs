//! The command line. Every option can also be set in the environment; the command line takes
//! precedence.

use crate::{Config, Operator, TlsFiles, TurnConfig, TurnLimits, keys, turn::CREDENTIAL_LIFETIME};
use clap::Parser;
use std::{
    net::{IpAddr, SocketAddr, ToSocketAddrs as _},
    path::PathBuf,
    time::Duration,
};
use tequio_host::{PassphraseError, PassphraseSource};
use tequio_p2p::{Multiaddr, RelayLimits};

/// Entry point for browsers into a Tequio network.
///
/// Listens for browsers (WebRTC-direct and WebSocket) and full nodes (TCP and QUIC), carries
/// circuits between them, forwards light nodes' requests to full nodes, and serves the page, the
/// checkpoint and /.well-known/tequio.json. With --turn it is a STUN and TURN server too. Light
/// nodes verify all data, so no one has to trust the relay.
///
/// The keystore's passphrase is read from --passphrase-file, from TEQUIO_PASSPHRASE, or from the
/// terminal.
#[derive(Clone, Debug, Parser)]
#[command(name = "tequio-relay", version)]
pub struct Args {
    /// Directory for the relay's keys; created if missing
    #[arg(long, value_name = "DIR", env = "TEQUIO_RELAY_DATA")]
    pub data: PathBuf,

    /// File whose first line is the keystore's passphrase
    #[arg(long, value_name = "FILE", env = "TEQUIO_RELAY_PASSPHRASE_FILE")]
    pub passphrase_file: Option<PathBuf>,

    /// Address to listen on, may be repeated [default: WebRTC-direct and WebSocket on port 4820,
    /// TCP and QUIC on 4821]
    #[arg(long, value_name = "MULTIADDR", env = "TEQUIO_RELAY_LISTEN", value_delimiter = ',')]
    pub listen: Vec<Multiaddr>,

    /// Address to announce instead of those listened on, may be repeated (behind a NAT, or with a
    /// name: /dns4/relay.example/tcp/4820/tls/ws)
    #[arg(long, value_name = "MULTIADDR", env = "TEQUIO_RELAY_EXTERNAL", value_delimiter = ',')]
    pub external: Vec<Multiaddr>,

    /// Full node to forward requests to, may be repeated. The relay stays connected with an
    /// address that ends in /p2p/ID; it uses a bare /p2p/ID whenever that node connects by
    /// itself
    #[arg(long, value_name = "MULTIADDR", env = "TEQUIO_RELAY_NODE", value_delimiter = ',')]
    pub node: Vec<Multiaddr>,

    /// Address of the web server; port 0 lets the system choose
    #[arg(long, value_name = "HOST:PORT", env = "TEQUIO_RELAY_HTTP",
        default_value = "127.0.0.1:4822",
        value_parser = http_addr)]
    pub http: SocketAddr,

    /// Directory of the page to serve
    #[arg(long, value_name = "DIR", env = "TEQUIO_RELAY_PAGE")]
    pub page: Option<PathBuf>,

    /// Checkpoint at which browsers start, a file written by `tequio init`
    #[arg(long, value_name = "FILE", env = "TEQUIO_RELAY_CHECKPOINT")]
    pub checkpoint: Option<PathBuf>,

    /// Name of the operator, a person or an organisation, shown on the page
    #[arg(long, value_name = "NAME", env = "TEQUIO_RELAY_OPERATOR_NAME",
        value_parser = operator_name)]
    pub operator_name: Option<String>,

    /// Address of a web page about the operator, shown on the page
    #[arg(long, value_name = "URL", env = "TEQUIO_RELAY_OPERATOR_URL", value_parser = operator_url)]
    pub operator_url: Option<String>,

    /// Certificate chain (PEM) for HTTPS and for WebSocket over TLS
    #[arg(long, value_name = "FILE", env = "TEQUIO_RELAY_TLS_CERT", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,

    /// Private key (PEM) of the certificate
    #[arg(long, value_name = "FILE", env = "TEQUIO_RELAY_TLS_KEY", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,

    /// Run a STUN and TURN server too, on this address (UDP, usually port 3478). Browsers then
    /// reach each other where no direct path exists, and this machine carries the traffic
    #[arg(long, value_name = "ADDR:PORT", env = "TEQUIO_RELAY_TURN")]
    pub turn: Option<SocketAddr>,

    /// Address at which browsers reach the TURN server, if it differs from the listening address
    /// (behind a NAT, or for 0.0.0.0)
    #[arg(long, value_name = "IP", env = "TEQUIO_RELAY_TURN_EXTERNAL", requires = "turn")]
    pub turn_external: Option<IpAddr>,

    /// Let TURN clients send to private, loopback and link-local addresses: for tests and for a
    /// LAN, never on the internet
    #[arg(long, env = "TEQUIO_RELAY_TURN_ALLOW_PRIVATE",
        value_parser = clap::builder::BoolishValueParser::new(),
        num_args = 0..=1, default_value_t = false, default_missing_value = "true")]
    pub turn_allow_private: bool,

    /// Minutes for which a TURN credential is valid; clients request the next one after half of
    /// them
    #[arg(long, value_name = "MINUTES", env = "TEQUIO_RELAY_TURN_CREDENTIAL_MINUTES",
        default_value_t = CREDENTIAL_LIFETIME.as_secs() / 60,
            value_parser = clap::value_parser!(u64).range(2..=43_200))]
    pub turn_credential_minutes: u64,

    /// Concurrent TURN allocations; a browser uses one or more for each other browser
    #[arg(long, value_name = "COUNT", env = "TEQUIO_RELAY_TURN_ALLOCATIONS",
        default_value_t = TurnLimits::default().allocations)]
    pub turn_allocations: usize,

    /// Concurrent TURN allocations of one client address
    #[arg(long, value_name = "COUNT", env = "TEQUIO_RELAY_TURN_ALLOCATIONS_PER_IP",
        default_value_t = TurnLimits::default().allocations_per_ip)]
    pub turn_allocations_per_ip: usize,

    /// Mebibytes that one TURN allocation may carry, in both directions together
    #[arg(long, value_name = "MIB", env = "TEQUIO_RELAY_TURN_ALLOCATION_MIB",
        default_value_t = TurnLimits::default().allocation_bytes >> 20)]
    pub turn_allocation_mib: u64,

    /// Kibibytes a second that TURN carries for all clients together
    #[arg(long, value_name = "KIB", env = "TEQUIO_RELAY_TURN_KIB_PER_S",
        default_value_t = TurnLimits::default().bytes_per_s >> 10)]
    pub turn_kib_per_s: u64,

    /// Kibibytes a second that TURN carries for one client address
    #[arg(long, value_name = "KIB", env = "TEQUIO_RELAY_TURN_KIB_PER_S_PER_IP",
        default_value_t = TurnLimits::default().bytes_per_s_per_ip >> 10)]
    pub turn_kib_per_s_per_ip: u64,

    /// Concurrent circuits
    #[arg(long, value_name = "COUNT", env = "TEQUIO_RELAY_CIRCUITS",
        default_value_t = RelayLimits::default().circuits)]
    pub circuits: usize,

    /// Concurrent circuits of one peer
    #[arg(long, value_name = "COUNT", env = "TEQUIO_RELAY_CIRCUITS_PER_PEER",
        default_value_t = RelayLimits::default().circuits_per_peer)]
    pub circuits_per_peer: usize,

    /// Mebibytes that one circuit may carry, in both directions together
    #[arg(long, value_name = "MIB", env = "TEQUIO_RELAY_CIRCUIT_MIB",
        default_value_t = RelayLimits::default().circuit_bytes >> 20)]
    pub circuit_mib: u64,

    /// Seconds that one circuit may last
    #[arg(long, value_name = "SECONDS", env = "TEQUIO_RELAY_CIRCUIT_S",
        default_value_t = RelayLimits::default().circuit_duration.as_secs())]
    pub circuit_s: u64,

    /// Concurrent accepted connections
    #[arg(long, value_name = "COUNT", env = "TEQUIO_RELAY_CONNECTIONS",
        default_value_t = tequio_p2p::Limits::default().inbound)]
    pub connections: u32,

    /// HTTP requests per second and client, on average
    #[arg(long, value_name = "COUNT", env = "TEQUIO_RELAY_HTTP_RATE", default_value_t = 20)]
    pub http_rate: u32,

    /// File whose first line is the log filter, in the syntax of RUST_LOG. It replaces RUST_LOG,
    /// and SIGHUP reads it again
    #[arg(long, value_name = "FILE", env = "TEQUIO_RELAY_LOG_FILTER_FILE")]
    pub log_filter_file: Option<PathBuf>,

    /// Print one JSON object with all addresses on standard output once every address is listened
    /// on, and one whenever the number of connected browsers changes
    #[arg(long, env = "TEQUIO_RELAY_JSON", value_parser = clap::builder::BoolishValueParser::new(),
        num_args = 0..=1, default_value_t = false, default_missing_value = "true")]
    pub json: bool,
}

/// Longest name of an operator, characters, and longest address of the operator's page, bytes. The
/// page shows no more.
const OPERATOR_NAME_LEN_MAX: usize = 80;
const OPERATOR_URL_LEN_MAX: usize = 300;

/// Resolves a host, which may be a name such as `localhost`, to its first address.
fn http_addr(text: &str) -> Result<SocketAddr, String> {
    let found = text.to_socket_addrs().map_err(|error| {
        format!("{error}; write for example 127.0.0.1:4822, [::1]:4822 or localhost:4822")
    })?;
    found.into_iter().next().ok_or_else(|| {
        "the name has no address; write an IP address instead, for example 127.0.0.1:4822".into()
    })
}

fn operator_name(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("a name has at least one character".into()),
        name if name.chars().count() > OPERATOR_NAME_LEN_MAX => {
            Err(format!("a name has at most {OPERATOR_NAME_LEN_MAX} characters"))
        }
        name => Ok(name.into()),
    }
}

fn operator_url(text: &str) -> Result<String, String> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let is_web = rest.is_some_and(|rest| !rest.is_empty() && !rest.contains(char::is_whitespace));
    match is_web && text.len() <= OPERATOR_URL_LEN_MAX {
        true => Ok(text.into()),
        false => Err(format!(
            "an address starts with https:// or http:// and has at most {OPERATOR_URL_LEN_MAX} \
             bytes"
        )),
    }
}

impl Args {
    /// Reads the passphrase and fills in the defaults.
    pub fn into_config(self) -> Result<Config, PassphraseError> {
        let new = !self.data.join(keys::FILE_NAME).exists();
        let source = PassphraseSource {
            file: self.passphrase_file.as_deref(),
            new,
            what: "the relay's keystore",
        };
        let passphrase = source.read()?;
        let tls = self.tls_cert.zip(self.tls_key).map(|(cert, key)| TlsFiles { cert, key });
        let mut config = Config::new(self.data, passphrase);
        config.listen = self.listen;
        if config.listen.is_empty() {
            config.listen = Config::default_listen(tls.is_some())
                .iter()
                .filter_map(|a| a.parse().ok())
                .collect();
        }
        config.external = self.external;
        config.nodes = self.node;
        config.http = self.http;
        config.page = self.page;
        config.checkpoint = self.checkpoint;
        let (name, url) = (self.operator_name, self.operator_url);
        config.operator = (name.is_some() || url.is_some()).then_some(Operator { name, url });
        config.tls = tls;
        config.turn = self.turn.map(|listen| TurnConfig {
            external: self.turn_external,
            allow_private: self.turn_allow_private,
            credential_lifetime: Duration::from_secs(self.turn_credential_minutes * 60),
            limits: TurnLimits {
                allocations: self.turn_allocations,
                allocations_per_ip: self.turn_allocations_per_ip,
                allocation_bytes: self.turn_allocation_mib.saturating_mul(1 << 20),
                bytes_per_s: self.turn_kib_per_s.saturating_mul(1 << 10),
                bytes_per_s_per_ip: self.turn_kib_per_s_per_ip.saturating_mul(1 << 10),
                ..TurnLimits::default()
            },
            ..TurnConfig::new(listen)
        });
        config.circuits.circuits = self.circuits;
        config.circuits.circuits_per_peer = self.circuits_per_peer;
        config.circuits.circuit_bytes = self.circuit_mib.saturating_mul(1 << 20);
        config.circuits.circuit_duration = Duration::from_secs(self.circuit_s);
        config.limits.inbound = self.connections;
        config.http_requests_per_s = self.http_rate;
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn options_are_valid_and_each_has_an_environment_variable() {
        let command = Args::command();
        command.clone().debug_assert();
        for argument in
            command.get_arguments().filter(|a| !matches!(a.get_id().as_str(), "help" | "version"))
        {
            assert!(argument.get_env().is_some(), "{} has no variable", argument.get_id());
            assert!(argument.get_help().is_some(), "{} has no help", argument.get_id());
        }
    }

    #[test]
    fn an_operator_needs_a_name_and_a_web_address() {
        let parse =
            |args: &[&str]| Args::try_parse_from([&["tequio-relay", "--data", "d"], args].concat());
        assert!(
            parse(&["--operator-name", "Library", "--operator-url", "https://library.example"])
                .is_ok()
        );
        for wrong in [
            "javascript:alert(1)",
            "https://",
            "https://a b",
            &format!("https://{}", "a".repeat(300)),
        ] {
            assert!(parse(&["--operator-url", wrong]).is_err(), "{wrong}");
        }
        assert!(parse(&["--operator-name", " "]).is_err());
        assert!(parse(&["--operator-name", &"é".repeat(81)]).is_err());
    }

    #[test]
    fn the_web_server_may_listen_on_a_host_name() {
        let parse =
            |addr: &str| Args::try_parse_from(["tequio-relay", "--data", "d", "--http", addr]);
        assert!(parse("localhost:0").unwrap().http.ip().is_loopback());
        assert!(parse("[::1]:4822").is_ok());
        assert!(parse("localhost").unwrap_err().to_string().contains("localhost:4822"));
    }

    #[test]
    fn default_addresses_parse() {
        for tls in [false, true] {
            assert!(Config::default_listen(tls).iter().all(|a| a.parse::<Multiaddr>().is_ok()));
        }
    }

    #[test]
    fn a_key_without_a_certificate_is_refused() {
        let parse =
            |args: &[&str]| Args::try_parse_from([&["tequio-relay", "--data", "d"], args].concat());
        assert!(parse(&["--tls-key", "k"]).is_err());
        assert!(parse(&["--tls-key", "k", "--tls-cert", "c"]).is_ok());
        assert!(parse(&["--json"]).unwrap().json);
        assert!(!parse(&[]).unwrap().json);
    }
}
