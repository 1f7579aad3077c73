//! Client of the HTTP API for the commands. A command finds its node by the node's directory.
//!
//! Every request has a limit on silence. If a node sends nothing for [`RESPONSE_TIMEOUT`], the
//! request fails, and the error states the cause. Large bodies may take longer while bytes move.

use crate::{
    api,
    config::{self, Config},
    data::DATA_LEN_MAX,
    node::peers::devnet::{RUN_FILE, RUN_FILE_LEN_MAX},
};
use anyhow::bail;
use serde_json::Value;
use std::{
    io::{BufRead, BufReader, ErrorKind},
    path::{Path, PathBuf},
    time::Duration,
};
use tequio_host::{directory_lock, files};
use ureq::{Agent, Body, http::Response};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Limit on silence, and on the whole of a small response.
pub const RESPONSE_TIMEOUT: Duration = Duration::from_secs(15);
/// Extra time for each MiB of data that the node prepares before it answers.
const PREPARE_PER_MIB: Duration = Duration::from_secs(1);
/// Limit on the whole of a response that may be large.
const TRANSFER_TIMEOUT: Duration = Duration::from_secs(120);
/// How often a submission is sent again under its key.
const RETRIES_MAX: u32 = 2;
/// Delay before a submission is sent again. The second delay is longer, so that a restarted node is
/// ready.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Longest line of an event stream, bytes.
const LINE_LEN_MAX: u64 = 4 * 1024 * 1024;

/// HTTP client of one running node.
#[derive(Debug)]
pub struct Client {
    agent: Agent,
    base: String,
    token: Option<String>,
    dir: PathBuf,
    response_timeout: Duration,
}

/// The node has not answered.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub struct NoResponse {
    text: String,
    /// Whether the node may have executed the request.
    was_sent: bool,
}

/// The request failed for a reason other than its data.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct RequestFailed(String);

impl Client {
    /// A client of the node that runs on a directory.
    pub fn of(dir: &Path) -> anyhow::Result<Self> {
        Self::with_response_timeout(dir, RESPONSE_TIMEOUT)
    }

    fn with_response_timeout(dir: &Path, response_timeout: Duration) -> anyhow::Result<Self> {
        let base = base(dir)?;
        // Reads need no token, and another user may have the right to read only.
        let token = api::bearer(dir).ok();
        let config = Agent::config_builder()
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_per_read(Some(response_timeout))
            .timeout_per_write(Some(response_timeout))
            // The node is on this machine, so no proxy applies.
            .proxy(None)
            .http_status_as_error(false)
            .build();
        Ok(Self { agent: config.into(), base, token, dir: dir.to_path_buf(), response_timeout })
    }

    /// The node's directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// Gets a JSON response.
    pub fn json(&self, path: &str) -> anyhow::Result<Value> {
        let request = self
            .agent
            .get(self.url(path))
            .config()
            .timeout_global(Some(self.response_timeout))
            .build();
        self.read_json(self.check_transport(request.call())?)
    }

    /// Gets the bytes of a response; `None` for 404.
    pub fn bytes(&self, path: &str) -> anyhow::Result<Option<Vec<u8>>> {
        let request =
            self.agent.get(self.url(path)).config().timeout_global(Some(TRANSFER_TIMEOUT)).build();
        let mut response = self.check_transport(request.call())?;
        if response.status() == 404 {
            return Ok(None);
        }
        if !response.status().is_success() {
            return Err(refused(response));
        }
        let read = response.body_mut().with_config().limit(DATA_LEN_MAX as u64).read_to_vec();
        Ok(Some(read.map_err(|error| self.no_response(&error))?))
    }

    /// Posts bytes.
    pub fn post(&self, path: &str, query: &[(&str, String)], body: &[u8]) -> anyhow::Result<Value> {
        self.post_with_key(path, query, body, None)
    }

    /// Posts a submission under an idempotency key. If the response is lost, sends the submission
    /// again: the key prevents a second execution. The node may have restarted on another port in
    /// the meantime.
    pub fn submit(
        &mut self,
        path: &str,
        query: &[(&str, String)],
        body: &[u8],
        key: &str,
    ) -> anyhow::Result<Value> {
        let mut again = 0;
        loop {
            let error = match self.post_with_key(path, query, body, Some(key)) {
                Err(error) if error.is::<NoResponse>() => error,
                answered => return answered,
            };
            if again == 0
                && error.downcast_ref::<NoResponse>().is_some_and(|unanswered| !unanswered.was_sent)
            {
                return Err(error);
            }
            if again == RETRIES_MAX {
                return Err(error.context(format!(
                    "it is not known whether the job was submitted: give the same command again \
                     with --key {key}, which makes no second job"
                )));
            }
            again += 1;
            eprintln!(
                "{error}\nsending the submission again under its key {key}, which makes no second \
                 job ..."
            );
            std::thread::sleep(RETRY_AFTER * again.pow(2));
            if let Ok(base) = base(&self.dir) {
                self.base = base;
            }
        }
    }

    fn post_with_key(
        &self,
        path: &str,
        query: &[(&str, String)],
        body: &[u8],
        key: Option<&str>,
    ) -> anyhow::Result<Value> {
        let answer_within = self.response_timeout
            + PREPARE_PER_MIB * u32::try_from(body.len() >> 20).unwrap_or(u32::MAX);
        let request = self.agent.post(self.url(path)).config();
        let request = request
            .timeout_per_read(Some(answer_within))
            .timeout_recv_response(Some(answer_within))
            .build();
        let request =
            query.iter().fold(request, |request, (name, value)| request.query(name, value));
        let request = request.header("authorization", self.bearer()?);
        let request =
            key.into_iter().fold(request, |request, key| request.header("idempotency-key", key));
        self.read_json(self.check_transport(request.send(body))?)
    }

    /// Sends a DELETE request.
    pub fn delete(&self, path: &str) -> anyhow::Result<Value> {
        let request = self
            .agent
            .delete(self.url(path))
            .config()
            .timeout_global(Some(self.response_timeout))
            .build();
        self.read_json(
            self.check_transport(request.header("authorization", self.bearer()?).call())?,
        )
    }

    /// The data of an event stream, one event after the other. An idle node sends comments, so
    /// silence is an error.
    pub fn events(
        &self,
        path: &str,
    ) -> anyhow::Result<impl Iterator<Item = anyhow::Result<Value>> + '_> {
        let request = self
            .agent
            .get(self.url(path))
            .config()
            .timeout_recv_response(Some(self.response_timeout))
            .build();
        let response = self.check_transport(request.call())?;
        if !response.status().is_success() {
            return Err(refused(response));
        }
        let mut reader = BufReader::new(response.into_body().into_reader());
        Ok(std::iter::from_fn(move || {
            loop {
                let mut line = String::new();
                match std::io::Read::take(&mut reader, LINE_LEN_MAX).read_line(&mut line) {
                    Ok(0) => return None,
                    Err(error) => {
                        return Some(Err(self.no_response(&ureq::Error::Io(error)).into()));
                    }
                    Ok(_) => {}
                }
                if let Some(data) = line.strip_prefix("data:") {
                    return Some(
                        serde_json::from_str(data.trim()).map_err(|error| self.foreign(&error)),
                    );
                }
            }
        }))
    }

    /// The token, unless no process holds the directory's lock. A killed node leaves its address in
    /// the run file, and another user's program may listen there now.
    fn bearer(&self) -> anyhow::Result<&str> {
        if directory_lock::is_held(&self.dir) == Some(false) {
            let dir = self.dir.display();
            let text = format!(
                "no node runs on {dir}: it has ended without removing its run file. Start it with \
                 `tequio run --dir {dir}`"
            );
            return Err(NoResponse { text, was_sent: false }.into());
        }
        self.token.as_deref().ok_or_else(|| {
            let path = self.dir.join(api::TOKEN_FILE);
            let text = format!(
                "cannot read {}, without which nothing can be changed: run the command as the \
                 node's user",
                path.display()
            );
            NoResponse { text, was_sent: false }.into()
        })
    }

    fn check_transport(
        &self,
        result: Result<Response<Body>, ureq::Error>,
    ) -> anyhow::Result<Response<Body>> {
        result.map_err(|error| match &error {
            ureq::Error::Io(io) if io.kind() == ErrorKind::ConnectionRefused => {
                let (base, dir) = (&self.base, self.dir.display());
                let text = format!(
                    "no node answers on {base}: the node of {dir} has ended. Start it with `tequio \
                     run --dir {dir}`"
                );
                NoResponse { text, was_sent: false }.into()
            }
            ureq::Error::BadUri(_) | ureq::Error::Http(_) => {
                damaged(&self.dir.join(RUN_FILE), &error)
            }
            _ => self.no_response(&error).into(),
        })
    }

    /// The error for a lost response: its meaning and the remedy.
    fn no_response(&self, error: &ureq::Error) -> NoResponse {
        let (base, dir) = (&self.base, self.dir.display());
        let text = match is_timeout(error) {
            true => format!(
                "the node of {dir} is silent: nothing has come from {base} for {} s. Its process \
                 is stopped, or its machine is overloaded. Its log, the standard error of `tequio \
                 run`, shows more; end a \
                 stopped process, and start the node again with `tequio run --dir {dir}`",
                self.response_timeout.as_secs_f64()
            ),
            false => format!(
                "the connection to the node of {dir} on {base} is lost ({error}): see its log, \
                 and whether it runs, with `tequio status --dir {dir}`"
            ),
        };
        NoResponse { text, was_sent: true }
    }

    fn read_json(&self, mut response: Response<Body>) -> anyhow::Result<Value> {
        if !response.status().is_success() {
            return Err(refused(response));
        }
        response.body_mut().read_json().map_err(|error| match error {
            ureq::Error::Json(error) if !error.is_io() => self.foreign(&error),
            error => self.no_response(&error).into(),
        })
    }

    /// The error if another program listens at the node's address.
    fn foreign(&self, error: &serde_json::Error) -> anyhow::Error {
        anyhow::anyhow!(
            "what answers on {} is not a node of this version ({error}): another program has its \
             port now, or tequio was replaced while the node ran. Start the node of {} again",
            self.base,
            self.dir.display()
        )
    }
}

/// Whether the error is a time-out. Body readers wrap the connection's error.
fn is_timeout(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::Timeout(_) => true,
        ureq::Error::Io(io) => {
            let inner = io.get_ref().and_then(|inner| inner.downcast_ref::<ureq::Error>());
            matches!(io.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock)
                || inner.is_some_and(is_timeout)
        }
        _ => false,
    }
}

/// Base URL of the HTTP API of a directory's node.
fn base(dir: &Path) -> anyhow::Result<String> {
    let path = dir.join(RUN_FILE);
    let bytes =
        files::read_capped(&path, RUN_FILE_LEN_MAX).map_err(|error| match error.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => not_running(dir),
            ErrorKind::PermissionDenied => anyhow::Error::new(error).context(format!(
                "cannot read {}: run the command as the node's user",
                path.display()
            )),
            _ => damaged(&path, &error),
        })?;
    let run: Value = serde_json::from_slice(&bytes).map_err(|error| damaged(&path, &error))?;
    let base = run["http"].as_str().filter(|base| base.starts_with("http://"));
    Ok(base.ok_or_else(|| damaged(&path, &"it names no address"))?.to_owned())
}

fn damaged(path: &Path, why: &dyn std::fmt::Display) -> anyhow::Error {
    anyhow::anyhow!(
        "{} is damaged ({why}): stop the node, remove the file, and start the node again",
        path.display()
    )
}

/// The error for a directory without a running node.
fn not_running(dir: &Path) -> anyhow::Error {
    match Config::load(dir) {
        Err(error) if !dir.join(config::FILE_NAME).exists() => error,
        Ok(_) | Err(_) => {
            anyhow::anyhow!(
                "no node runs on {}; start it with `tequio run --dir {}`",
                dir.display(),
                dir.display()
            )
        }
    }
}

/// The API's own error text. Only a request that the node rejects as invalid has an error in its
/// data.
fn refused(mut response: Response<Body>) -> anyhow::Error {
    let status = response.status();
    let answer: Option<Value> = response.body_mut().read_json().ok();
    let message = answer.as_ref().and_then(|a| a["error"]["message"].as_str());
    let message = message.map_or_else(|| format!("the node answers {status}"), str::to_owned);
    if status == 400 { anyhow::anyhow!(message) } else { RequestFailed(message).into() }
}

/// Adds a remedy to the error of a write that the node may have executed; leaves other errors
/// unchanged.
pub fn unknown_outcome(error: anyhow::Error, remedy: impl FnOnce() -> String) -> anyhow::Error {
    match error.downcast_ref::<NoResponse>() {
        Some(lost) if lost.was_sent => error.context(remedy()),
        _ => error,
    }
}

/// Checks that a command-line argument can be a path segment of a URL.
pub fn segment(text: &str) -> anyhow::Result<&str> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./".contains(&b);
    if text.is_empty() || !text.bytes().all(plain) {
        bail!(
            "{text:?} is not an id or name: ids are hexadecimal, as `tequio job list` shows them, \
             and names have letters, digits, -, _, . and /"
        );
    }
    Ok(text)
}

/// Checks a job id from the command line.
pub fn job_id(text: &str) -> anyhow::Result<&str> {
    const DIGITS: usize = 64;
    if text.len() != DIGITS || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        bail!(
            "{text:?} is not a job id: an id has {DIGITS} hexadecimal digits; `tequio job list` \
             shows the ids"
        );
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
