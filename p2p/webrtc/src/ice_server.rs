//! The STUN and TURN servers that a browser may use to find a path to another browser.
//!
//! The list comes from the host that served the page or from a relay's well-known file. The servers
//! are trusted only to carry packets: DTLS and Noise run end to end above them. So the list is only
//! bounded and limited to the schemes of RFC 7064 and RFC 7065.

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

/// Number of servers that one node uses.
pub const ICE_SERVERS_MAX: usize = 8;
/// Number of URLs of one server.
pub const ICE_URLS_MAX: usize = 4;
/// Bytes of a URL, of a user name and of a credential.
pub const ICE_TEXT_LEN_MAX: usize = 512;

const SCHEMES: [&str; 4] = ["stun:", "stuns:", "turn:", "turns:"];

/// One server, with the fields of `RTCIceServer`.
#[derive(Clone, PartialEq, Eq)]
pub struct IceServer {
    /// `stun:host:port`, `turn:host:port?transport=udp`, ...: alternative URLs of the same server.
    pub urls: Vec<String>,
    /// The user name, which TURN requires.
    pub username: Option<String>,
    /// The password of the user.
    pub credential: Option<String>,
}

impl fmt::Debug for IceServer {
    /// Omits the credential.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IceServer")
            .field("urls", &self.urls)
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

/// The reason why a list of servers cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadIceServers {
    /// More servers than [`ICE_SERVERS_MAX`].
    #[error("{0} ICE servers; at most {ICE_SERVERS_MAX}")]
    TooMany(usize),
    /// A server has no URL, or more than [`ICE_URLS_MAX`].
    #[error("an ICE server with {0} URLs; 1 to {ICE_URLS_MAX}")]
    Urls(usize),
    /// A URL, user name or credential is longer than [`ICE_TEXT_LEN_MAX`].
    #[error("an ICE server's {0} is longer than {ICE_TEXT_LEN_MAX} bytes")]
    TooLong(&'static str),
    /// A URL has a scheme other than those of STUN and TURN, no host, or invalid characters.
    #[error("not the URL of a STUN or TURN server: {0}")]
    Url(String),
    /// A TURN server has no credential, which it requires.
    #[error("{0} needs a username and a credential")]
    NoCredential(String),
}

/// The servers for new connections. They can be replaced at any time, because credentials expire.
#[derive(Clone, Debug, Default)]
pub struct IceServers(Arc<RwLock<Vec<IceServer>>>);

impl IceServers {
    /// Replaces the list.
    ///
    /// # Errors
    /// Like [`check_ice_servers`]; the list then stays unchanged.
    pub fn set(&self, servers: Vec<IceServer>) -> Result<(), BadIceServers> {
        check_ice_servers(&servers)?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = servers;
        Ok(())
    }

    /// The current list.
    pub fn get(&self) -> Vec<IceServer> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Checks a list against the bounds of this module.
pub fn check_ice_servers(servers: &[IceServer]) -> Result<(), BadIceServers> {
    if servers.len() > ICE_SERVERS_MAX {
        return Err(BadIceServers::TooMany(servers.len()));
    }
    servers.iter().try_for_each(check)
}

fn check(server: &IceServer) -> Result<(), BadIceServers> {
    if server.urls.is_empty() || server.urls.len() > ICE_URLS_MAX {
        return Err(BadIceServers::Urls(server.urls.len()));
    }
    let too_long =
        |text: &Option<String>| text.as_ref().is_some_and(|text| text.len() > ICE_TEXT_LEN_MAX);
    if too_long(&server.username) {
        return Err(BadIceServers::TooLong("username"));
    }
    if too_long(&server.credential) {
        return Err(BadIceServers::TooLong("credential"));
    }
    for url in &server.urls {
        if url.len() > ICE_TEXT_LEN_MAX {
            return Err(BadIceServers::TooLong("URL"));
        }
        let host = SCHEMES.iter().find_map(|scheme| url.strip_prefix(scheme));
        if !host.is_some_and(|host| !host.is_empty() && host.bytes().all(|b| b.is_ascii_graphic()))
        {
            return Err(BadIceServers::Url(url.clone()));
        }
        if url.starts_with("turn") && (server.username.is_none() || server.credential.is_none()) {
            return Err(BadIceServers::NoCredential(url.clone()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(urls: &[&str]) -> IceServer {
        let urls = urls.iter().map(|url| (*url).to_owned()).collect();
        IceServer { urls, username: Some("1700000000:a".into()), credential: Some("secret".into()) }
    }

    #[test]
    fn only_ice_servers_that_browsers_accept_are_valid() {
        let url = "turn:198.51.100.1:3478?transport=udp";
        let good = server(&[
            "stun:relay.example",
            url,
            "turns:relay.example:5349",
            "stun:[2001:db8::1]:3478",
        ]);
        assert_eq!(check_ice_servers(&vec![good.clone(); ICE_SERVERS_MAX]), Ok(()));
        assert_eq!(check_ice_servers(&vec![good.clone(); 9]), Err(BadIceServers::TooMany(9)));
        assert_eq!(check_ice_servers(&[server(&[])]), Err(BadIceServers::Urls(0)));
        assert_eq!(check_ice_servers(&[server(&[url; 5])]), Err(BadIceServers::Urls(5)));
        for bad in ["", "stun:", "http://relay.example", "STUN:a", "turn:a b", "turn:é"] {
            assert_eq!(check_ice_servers(&[server(&[bad])]), Err(BadIceServers::Url(bad.into())));
        }
        let anonymous = IceServer { credential: None, ..good.clone() };
        assert_eq!(check_ice_servers(&[anonymous]), Err(BadIceServers::NoCredential(url.into())));
        let stun =
            IceServer { username: None, credential: None, ..server(&["stun:relay.example"]) };
        assert_eq!(check_ice_servers(&[stun]), Ok(()));
        let long = "x".repeat(ICE_TEXT_LEN_MAX + 1);
        assert_eq!(
            check_ice_servers(&[server(&[&format!("turn:{long}")])]),
            Err(BadIceServers::TooLong("URL"))
        );
        let named = IceServer { username: Some(long), ..good };
        assert_eq!(check_ice_servers(&[named]), Err(BadIceServers::TooLong("username")));
    }

    #[test]
    fn a_bad_list_does_not_replace_a_good_one() {
        let (servers, good) = (IceServers::default(), vec![server(&["stun:relay.example"])]);
        servers.set(good.clone()).unwrap();
        assert_eq!(
            servers.clone().set(vec![server(&["http://relay.example"])]),
            Err(BadIceServers::Url("http://relay.example".into()))
        );
        assert_eq!(servers.get(), good);
    }

    #[test]
    fn a_credential_is_not_printed() {
        assert!(!format!("{:?}", server(&["turn:a"])).contains("secret"));
    }
}
