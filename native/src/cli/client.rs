//! The commands' side of the HTTP API: they find their node by its directory.

use crate::{
    api,
    data::DATA_LEN_MAX,
    files,
    node::neighbours::{RUN_FILE, RUN_FILE_LEN_MAX},
};
use anyhow::{Context as _, bail};
use serde_json::Value;
use std::{
    io::{BufRead, BufReader},
    path::Path,
    time::Duration,
};
use ureq::{Agent, Body, http::Response};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);
/// Longest line of an event stream, bytes.
const LINE_LEN_MAX: u64 = 4 * 1024 * 1024;

/// Speaks to one running node.
#[derive(Debug)]
pub struct Client {
    agent: Agent,
    base: String,
    token: Option<String>,
}

impl Client {
    /// The node that runs on a directory.
    pub fn of(dir: &Path) -> anyhow::Result<Self> {
        let place = || format!("no node runs on {}; start it with `tequio run --dir {}`", dir.display(), dir.display());
        let bytes = files::read_capped(&dir.join(RUN_FILE), RUN_FILE_LEN_MAX).with_context(place)?;
        let run: Value = serde_json::from_slice(&bytes).with_context(place)?;
        let base = run["http"].as_str().with_context(place)?.to_owned();
        // Reading needs no token, and another user may be allowed to read only.
        let token = api::bearer(dir).ok();
        let config = Agent::config_builder().timeout_connect(Some(CONNECT_TIMEOUT)).http_status_as_error(false).build();
        Ok(Self { agent: config.into(), base, token })
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// A JSON answer.
    pub fn json(&self, path: &str) -> anyhow::Result<Value> {
        let request = self.agent.get(self.url(path)).config().timeout_global(Some(ANSWER_TIMEOUT)).build();
        read_json(self.sent(request.call())?)
    }

    /// The bytes of an answer, and nothing where there is nothing.
    pub fn bytes(&self, path: &str) -> anyhow::Result<Option<Vec<u8>>> {
        let request = self.agent.get(self.url(path)).config().timeout_global(Some(ANSWER_TIMEOUT)).build();
        let mut response = self.sent(request.call())?;
        if response.status() == 404 {
            return Ok(None);
        }
        if !response.status().is_success() {
            return Err(refused(response));
        }
        Ok(Some(response.body_mut().with_config().limit(DATA_LEN_MAX as u64).read_to_vec()?))
    }

    /// Posts bytes.
    pub fn post(&self, path: &str, query: &[(&str, String)], body: &[u8]) -> anyhow::Result<Value> {
        let request = self.agent.post(self.url(path)).config().timeout_global(Some(ANSWER_TIMEOUT)).build();
        let request = query.iter().fold(request, |request, (name, value)| request.query(name, value));
        read_json(self.sent(request.header("authorization", self.bearer()?).send(body))?)
    }

    /// Deletes.
    pub fn delete(&self, path: &str) -> anyhow::Result<Value> {
        let request = self.agent.delete(self.url(path)).config().timeout_global(Some(ANSWER_TIMEOUT)).build();
        read_json(self.sent(request.header("authorization", self.bearer()?).call())?)
    }

    /// The data of a stream of events, one after the other.
    pub fn events(&self, path: &str) -> anyhow::Result<impl Iterator<Item = anyhow::Result<Value>> + use<>> {
        let response = self.sent(self.agent.get(self.url(path)).call())?;
        if !response.status().is_success() {
            return Err(refused(response));
        }
        let mut reader = BufReader::new(response.into_body().into_reader());
        Ok(std::iter::from_fn(move || {
            loop {
                let mut line = String::new();
                match std::io::Read::take(&mut reader, LINE_LEN_MAX).read_line(&mut line) {
                    Ok(0) => return None,
                    Err(error) => return Some(Err(error.into())),
                    Ok(_) => {}
                }
                if let Some(data) = line.strip_prefix("data:") {
                    return Some(serde_json::from_str(data.trim()).map_err(Into::into));
                }
            }
        }))
    }

    fn bearer(&self) -> anyhow::Result<&str> {
        self.token.as_deref().with_context(|| format!("cannot read the node's {}", api::TOKEN_FILE))
    }

    fn sent(&self, result: Result<Response<Body>, ureq::Error>) -> anyhow::Result<Response<Body>> {
        result.with_context(|| format!("the node does not answer on {}; does it still run?", self.base))
    }
}

fn read_json(mut response: Response<Body>) -> anyhow::Result<Value> {
    if !response.status().is_success() {
        return Err(refused(response));
    }
    Ok(response.body_mut().read_json()?)
}

/// The API's own words.
fn refused(mut response: Response<Body>) -> anyhow::Error {
    let status = response.status();
    let answer: Option<Value> = response.body_mut().read_json().ok();
    match answer.as_ref().and_then(|a| a["error"]["message"].as_str()) {
        Some(message) => anyhow::anyhow!("{message}"),
        None => anyhow::anyhow!("the node answers {status}"),
    }
}

/// A path segment as it came from the command line, if it can stand in a URL.
pub fn segment(text: &str) -> anyhow::Result<&str> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./".contains(&b);
    if text.is_empty() || !text.bytes().all(plain) {
        bail!("{text:?} is no id or name");
    }
    Ok(text)
}
