//! Credentials and nonces that expire, without a table of either.
//!
//! A user name is `<expiry in unix seconds>:<random>` and its password `base64(HMAC-SHA1(secret,
//! user name))`. TURN servers share this form under the name of a REST API. A holder of the secret
//! can verify credentials without storing them. A nonce consists of its expiry and a MAC over the
//! expiry and the client's address, so a flood of forged requests leaves no state.
//!
//! The secret is derived from the node's key, which is stored only sealed. So credentials outlive a
//! restart of the relay.

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use hmac::{Hmac, Mac};
use sha1::Sha1;
use std::{fmt, net::SocketAddr, time::Duration};
use turn_types::{
    TurnCredentials,
    stun::message::{IntegrityAlgorithm, IntegrityKey, MessageIntegrityCredentials},
};
use zeroize::Zeroizing;

/// The realm, which clients mix into their key (RFC 8489, section 9.2.2).
pub const REALM: &str = "tequio";
/// Default time for which a credential can open and refresh allocations.
pub const CREDENTIAL_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);
/// Lifetime of a nonce; RFC 8656 recommends at most an hour.
const NONCE_LIFETIME_S: u64 = 60 * 60;
/// Longest user name that is checked; those of this server have 27 bytes.
const USERNAME_LEN_MAX: usize = 64;
/// Hexadecimal digits of the time in a nonce, and bytes of its MAC.
const NONCE_TIME_LEN: usize = 16;
const NONCE_MAC_LEN: usize = 16;

type Key = Zeroizing<[u8; 20]>;

/// A client's credential.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// The user name, which contains the expiry.
    pub username: String,
    /// The password, derived from the user name.
    pub password: String,
}

/// Issues credentials and checks them.
pub struct Issuer {
    passwords: Key,
    nonces: Key,
    lifetime: Duration,
}

impl Issuer {
    /// An issuer with keys derived from the node's secret, for credentials of this lifetime.
    pub fn new(secret: &[u8; 32], lifetime: Duration) -> Self {
        let derive = |purpose: &str| {
            Zeroizing::new(mac(secret, &[purpose.as_bytes()]).finalize().into_bytes().into())
        };
        let (passwords, nonces) =
            (derive("tequio-relay turn passwords v1"), derive("tequio-relay turn nonces v1"));
        Self { passwords, nonces, lifetime }
    }

    /// Lifetime of a credential.
    pub fn lifetime(&self) -> Duration {
        self.lifetime
    }

    /// Issues a credential that is valid from now on for the lifetime.
    pub fn issue(&self, unix_s: u64, random: u64) -> Credential {
        let username = format!("{}:{random:016x}", unix_s.saturating_add(self.lifetime.as_secs()));
        Credential { password: self.password(&username), username }
    }

    /// The key of a user whose credential has not expired. Only the message's integrity proves that
    /// the client has the key.
    pub fn key(&self, username: &str, unix_s: u64) -> Option<IntegrityKey> {
        let expiry = username.split_once(':')?.0.parse::<u64>().ok()?;
        if username.len() > USERNAME_LEN_MAX || expiry <= unix_s {
            return None;
        }
        Some(integrity_key(username, &self.password(username)))
    }

    fn password(&self, username: &str) -> String {
        BASE64.encode(mac(self.passwords.as_ref(), &[username.as_bytes()]).finalize().into_bytes())
    }

    /// Issues a nonce for one client.
    pub fn nonce(&self, client: SocketAddr, unix_s: u64) -> String {
        let time = format!("{:016x}", unix_s.saturating_add(NONCE_LIFETIME_S));
        let mac = self.nonce_mac(client, &time).finalize().into_bytes();
        let mut mac = hex::encode(mac);
        mac.truncate(2 * NONCE_MAC_LEN);
        time + &mac
    }

    /// Whether a nonce is from this server, for this client, and has not expired.
    pub fn is_nonce_valid(&self, nonce: &str, client: SocketAddr, unix_s: u64) -> bool {
        let Some((time, shown)) = nonce.split_at_checked(NONCE_TIME_LEN) else { return false };
        let mut mac = [0; NONCE_MAC_LEN];
        if hex::decode_to_slice(shown, &mut mac).is_err() {
            return false;
        }
        let fresh = u64::from_str_radix(time, 16).is_ok_and(|expiry| expiry > unix_s);
        fresh && self.nonce_mac(client, time).verify_truncated_left(&mac).is_ok()
    }

    fn nonce_mac(&self, client: SocketAddr, time: &str) -> Hmac<Sha1> {
        mac(self.nonces.as_ref(), &[time.as_bytes(), client.to_string().as_bytes()])
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer").finish_non_exhaustive()
    }
}

/// The key of RFC 8489, section 9.2.2: MD5 over user name, realm and password.
pub fn integrity_key(username: &str, password: &str) -> IntegrityKey {
    let credentials = TurnCredentials::new(username, password).into_long_term_credentials(REALM);
    MessageIntegrityCredentials::from(credentials).make_key(IntegrityAlgorithm::Sha1)
}

fn mac(key: &[u8], parts: &[&[u8]]) -> Hmac<Sha1> {
    // HMAC accepts keys of every length; the empty key is never used.
    let mut mac =
        Hmac::<Sha1>::new_from_slice(key).unwrap_or_else(|_| Hmac::new(&Default::default()));
    parts.iter().for_each(|part| mac.update(part));
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000;

    fn of(secret: u8) -> Issuer {
        Issuer::new(&[secret; 32], CREDENTIAL_LIFETIME)
    }

    #[test]
    fn passwords_derive_from_user_names_and_expire_with_them() {
        let issuer = of(7);
        let credential = issuer.issue(NOW, 1);
        assert!(credential.username.starts_with("1700086400:"), "{}", credential.username);
        let key = issuer.key(&credential.username, NOW).unwrap();
        assert_eq!(key, integrity_key(&credential.username, &credential.password));
        assert_ne!(of(8).issue(NOW, 1).password, credential.password);
        assert_eq!(of(7).issue(NOW, 1).password, credential.password, "outlives a restart");
        assert!(
            issuer.key(&credential.username, NOW + CREDENTIAL_LIFETIME.as_secs() - 1).is_some()
        );
        assert!(
            issuer.key(&credential.username, NOW + CREDENTIAL_LIFETIME.as_secs()).is_none(),
            "expired"
        );
        for bad in [
            "",
            "1800000000",
            ":",
            "-1:a",
            "99999999999999999999999:a",
            &format!("1800000000:{}", "a".repeat(60)),
        ] {
            assert!(issuer.key(bad, NOW).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn a_nonce_is_for_one_client_and_one_hour() {
        let issuer = of(7);
        let [a, b]: [SocketAddr; 2] = ["192.0.2.1:1", "192.0.2.1:2"].map(|s| s.parse().unwrap());
        let nonce = issuer.nonce(a, NOW);
        assert!(issuer.is_nonce_valid(&nonce, a, NOW + NONCE_LIFETIME_S - 1));
        assert!(!issuer.is_nonce_valid(&nonce, a, NOW + NONCE_LIFETIME_S));
        assert!(!issuer.is_nonce_valid(&nonce, b, NOW));
        let other = if nonce.ends_with('0') { "1" } else { "0" };
        let forged = format!("{}{other}", &nonce[..nonce.len() - 1]);
        for bad in [
            "",
            "x",
            &nonce[..40],
            &forged,
            &nonce.replace(|c: char| c.is_ascii_digit(), "+"),
            &"é".repeat(24),
        ] {
            assert!(!issuer.is_nonce_valid(bad, a, NOW), "{bad}");
        }
    }
}
