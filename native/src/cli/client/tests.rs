//! Tests against nodes that answer late, partly, or not at all.

use super::*;
use serde_json::json;
use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::mpsc::{Receiver, channel},
    time::Instant,
};

const SHORT: Duration = Duration::from_millis(400);
/// Far more than a loaded machine needs.
const SOON: Duration = Duration::from_secs(20);

/// The directory of a node whose API is `serve`; `serve` gets each connection and its number.
struct Fake {
    dir: tempfile::TempDir,
    requests: Receiver<String>,
}

impl Fake {
    fn new(mut serve: impl FnMut(usize, &mut TcpStream) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let dir = tempfile::tempdir().unwrap();
        let run = json!({"http": format!("http://{}", listener.local_addr().unwrap())});
        std::fs::write(dir.path().join(RUN_FILE), run.to_string()).unwrap();
        std::fs::write(dir.path().join(api::TOKEN_FILE), "0123456789abcdef").unwrap();
        let (sender, requests) = channel();
        std::thread::spawn(move || {
            // Served connections stay open: the test must not be the side that closes them.
            let mut open = Vec::new();
            for (number, stream) in listener.incoming().enumerate() {
                let mut stream = stream.unwrap();
                let _ = sender.send(head(&mut stream));
                serve(number, &mut stream);
                open.push(stream);
            }
        });
        Self { dir, requests }
    }

    fn client(&self) -> Client {
        Client::with_response_timeout(self.dir.path(), SHORT).unwrap()
    }
}

/// Reads a request up to the end of its headers.
fn head(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) > 0 {
        bytes.extend_from_slice(&byte);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn the_token_is_given_only_while_a_node_holds_the_directory() {
    let fake = Fake::new(|_, stream| answer(stream, "{}"));
    let held = tequio_host::DirectoryLock::take(fake.dir.path()).unwrap();
    fake.client().delete("/v1/jobs/x").unwrap();
    assert!(fake.requests.recv_timeout(SOON).unwrap().contains("Bearer 0123456789abcdef"));
    // The node is killed, and another program listens on its port.
    drop(held);
    let error = fake.client().submit("/v1/jobs", &[], b"", "key").unwrap_err();
    assert!(error.to_string().contains("no node runs"), "{error}");
    assert!(fake.requests.try_recv().is_err(), "nothing was sent");
}

fn answer(stream: &mut TcpStream, text: &str) {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", text.len());
    stream.write_all((head + text).as_bytes()).unwrap();
}

fn stream_head(stream: &mut TcpStream) {
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n").unwrap();
}

/// The text of the error, which must arrive in time.
fn silent<T>(began: Instant, result: anyhow::Result<T>) -> String {
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    let error = result.err().unwrap();
    assert!(error.is::<NoResponse>(), "{error:#}");
    format!("{error:#}")
}

#[test]
fn a_node_that_accepts_and_never_answers_is_silent() {
    let fake = Fake::new(|_, _| {});
    let client = fake.client();
    let began = Instant::now();
    let errors = [
        silent(began, client.json("/v1/status")),
        silent(began, client.bytes("/v1/objects/x")),
        silent(began, client.post("/v1/seat/leave", &[], &[])),
        silent(began, client.delete("/v1/jobs/x")),
        silent(began, client.events("/v1/jobs/x/events").map(|_| ())),
    ];
    for error in errors {
        let dir = fake.dir.path().display().to_string();
        assert!(
            error.contains("is silent")
                && error.contains(&dir)
                && error.contains("tequio run --dir")
                && !error.contains("tequio status"),
            "{error}"
        );
    }
    let cancelled = unknown_outcome(client.delete("/v1/jobs/x").unwrap_err(), || "unknown".into());
    assert!(format!("{cancelled:#}").starts_with("unknown: "), "{cancelled:#}");
}

#[test]
fn a_stream_that_stops_in_the_middle_is_silent_and_one_with_comments_is_not() {
    let fake = Fake::new(|_, stream| {
        stream_head(stream);
        stream.write_all(b"data: {\"round\":1}\n\n").unwrap();
        // The comments last longer than the limit on silence.
        for _ in 0..5 {
            std::thread::sleep(SHORT / 3);
            stream.write_all(b":\n\n").unwrap();
        }
        stream.write_all(b"data: {\"round\":2}\n\ndata: {\"rou").unwrap();
    });
    let client = fake.client();
    let mut events = client.events("/v1/jobs/x/events").unwrap();
    assert_eq!(events.next().unwrap().unwrap()["round"], 1);
    assert_eq!(events.next().unwrap().unwrap()["round"], 2);
    let began = Instant::now();
    let error = silent(began, events.next().unwrap());
    assert!(error.contains("is silent"), "{error}");
}

#[test]
fn a_response_that_arrives_too_slowly_times_out() {
    let fake = Fake::new(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n");
        while stream.write_all(b" ").is_ok() {
            std::thread::sleep(SHORT / 4);
        }
    });
    let began = Instant::now();
    silent(began, fake.client().json("/v1/status"));
}

#[test]
fn a_submission_without_a_response_is_sent_again_under_the_same_key() {
    let fake = Fake::new(|number, stream| match number {
        0 => stream.shutdown(std::net::Shutdown::Both).unwrap(),
        _ => answer(stream, "{\"id\":\"7\"}"),
    });
    let answer =
        fake.client().submit("/v1/jobs", &[("label", "a b".into())], b"x,y\n", "my-key").unwrap();
    assert_eq!(answer["id"], "7");
    let requests: Vec<String> = fake.requests.try_iter().collect();
    assert_eq!(requests.len(), 2);
    for request in requests {
        let request = request.to_ascii_lowercase();
        assert!(
            request.starts_with("post /v1/jobs?label=a%20b ")
                && request.contains("idempotency-key: my-key")
        );
    }
}

#[test]
fn the_error_of_an_unanswered_submission_explains_how_to_repeat_it() {
    let fake = Fake::new(|_, stream| stream.shutdown(std::net::Shutdown::Both).unwrap());
    let error = fake.client().submit("/v1/jobs", &[], b"x,y\n", "my-key").unwrap_err();
    let text = format!("{error:#}");
    assert!(
        text.contains("not known") && text.contains("--key my-key") && text.contains("is lost"),
        "{text}"
    );
    assert_eq!(fake.requests.try_iter().count(), 1 + RETRIES_MAX as usize);
}

#[test]
fn the_error_distinguishes_a_stopped_node_from_another_program_on_its_port() {
    let fake = Fake::new(|_, stream| answer(stream, "<html>hello</html>"));
    let error = format!("{:#}", fake.client().json("/v1/status").unwrap_err());
    assert!(error.contains("another program has its port"), "{error}");
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let run = json!({"http": format!("http://{closed}")});
    std::fs::write(fake.dir.path().join(RUN_FILE), run.to_string()).unwrap();
    let error = fake.client().submit("/v1/jobs", &[], b"", "key").unwrap_err();
    let text = format!("{error:#}");
    assert!(
        text.contains("has ended")
            && text.contains("tequio run --dir")
            && !text.contains("not known"),
        "{text}"
    );
}

#[test]
fn commands_ignore_proxy_settings() {
    let fake = Fake::new(|_, stream| answer(stream, "{}"));
    assert!(fake.client().agent.config().proxy().is_none());
}
