//! Addresses and names of the HTTP API, as an operator writes them.

use serde::{Deserialize, Serialize};
use std::{
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

/// `HOST:PORT`, where the host is a name or an IP address. An IPv6 address is in brackets. A name
/// is resolved when the socket is opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HttpAddr(String);

impl HttpAddr {
    /// The text, in the form that `TcpListener::bind` takes.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The error for a text that is not an [`HttpAddr`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not HOST:PORT; write for example 127.0.0.1:4811, [::1]:4811 or localhost:4811")]
pub struct NotHttpAddr(String);

impl FromStr for HttpAddr {
    type Err = NotHttpAddr;

    fn from_str(text: &str) -> Result<Self, NotHttpAddr> {
        let named = text
            .rsplit_once(':')
            .is_some_and(|(host, port)| is_host_name(host) && port.parse::<u16>().is_ok());
        match named || text.parse::<SocketAddr>().is_ok() {
            true => Ok(Self(text.to_owned())),
            false => Err(NotHttpAddr(text.to_owned())),
        }
    }
}

impl TryFrom<String> for HttpAddr {
    type Error = NotHttpAddr;

    fn try_from(text: String) -> Result<Self, NotHttpAddr> {
        text.parse()
    }
}

impl From<HttpAddr> for String {
    fn from(addr: HttpAddr) -> Self {
        addr.0
    }
}

impl From<SocketAddr> for HttpAddr {
    fn from(addr: SocketAddr) -> Self {
        Self(addr.to_string())
    }
}

impl std::fmt::Display for HttpAddr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A DNS name under which the HTTP API serves requests, in lower case and without a port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostName(String);

impl HostName {
    /// Whether the host of a request, without its port, is this name. A final dot is ignored.
    pub fn is(&self, host: &str) -> bool {
        host.strip_suffix('.').unwrap_or(host).eq_ignore_ascii_case(&self.0)
    }
}

/// The error for a text that is not a [`HostName`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a host name; write the name alone, such as node1.example, without scheme and port"
)]
pub struct NotHostName(String);

impl FromStr for HostName {
    type Err = NotHostName;

    fn from_str(text: &str) -> Result<Self, NotHostName> {
        match is_host_name(text) && text.parse::<IpAddr>().is_err() {
            true => Ok(Self(text.to_ascii_lowercase())),
            false => Err(NotHostName(text.to_owned())),
        }
    }
}

impl TryFrom<String> for HostName {
    type Error = NotHostName;

    fn try_from(text: String) -> Result<Self, NotHostName> {
        text.parse()
    }
}

impl From<HostName> for String {
    fn from(name: HostName) -> Self {
        name.0
    }
}

/// Whether a text consists of labels of letters, digits, hyphens and underscores between dots (RFC
/// 1123; container networks also use underscores).
fn is_host_name(text: &str) -> bool {
    const LEN_MAX: usize = 253;
    let plain = |label: &str| {
        !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    text.len() <= LEN_MAX && text.split('.').all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_http_address_has_a_name_or_an_ip_and_a_port() {
        for good in
            ["127.0.0.1:4811", "[::1]:0", "localhost:4811", "node1.my-net_2:1", "0.0.0.0:80"]
        {
            assert_eq!(good.parse::<HttpAddr>().unwrap().as_str(), good);
        }
        for bad in [
            "",
            "localhost",
            "4811",
            ":4811",
            "::1:80:",
            "localhost:65536",
            "http://localhost:1",
            "a..b:1",
        ] {
            let error = bad.parse::<HttpAddr>().unwrap_err().to_string();
            assert!(error.contains("127.0.0.1:4811"), "{error}");
        }
        let name: HostName = "Node1.Example".parse().unwrap();
        assert!(
            name.is("node1.example") && name.is("NODE1.example.") && !name.is("node1.example.org")
        );
        for bad in ["", "node1:4811", "http://node1", "127.0.0.1", "*", "a b"] {
            assert!(bad.parse::<HostName>().is_err(), "{bad}");
        }
    }
}
