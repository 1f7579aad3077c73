//! Compares the limits in docs/operating.md with the constants that enforce them.

use crate::{api, data, descriptors, node, store};
use tequio_core::{
    compute::limits,
    content::object,
    ledger::{block, committee, job, membership, transaction, transition},
    wire::light,
};
use tequio_p2p::Limits;

const OPERATING: &str = include_str!("../../docs/operating.md");

/// `1234567` as `1,234,567`.
fn number(value: impl TryInto<u64>) -> String {
    let digits = value.try_into().unwrap_or(u64::MAX).to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn mib(bytes: usize) -> String {
    assert!(bytes.is_multiple_of(1 << 20));
    format!("{} MiB", bytes >> 20)
}

fn kib(bytes: usize) -> String {
    assert!(bytes.is_multiple_of(1 << 10));
    format!("{} KiB", bytes >> 10)
}

#[test]
fn documented_limits_are_those_that_are_enforced() {
    let limits = Limits::default();
    let (items, bytes) = (node::mempool::ITEMS_MAX, node::mempool::BYTES_MAX);
    let sender = node::mempool::PER_SENDER_MAX;
    let days = store::SUBMISSION_AGE_MS_MAX / (24 * 60 * 60 * 1000);
    let rows = [
        (
            "HTTP requests of one address",
            format!("{} a second, {} at once", api::RATE_PER_SECOND, api::BURST),
        ),
        ("body of a request without data", kib(api::BODY_LEN_MAX)),
        ("CSV, packed or unpacked", mib(data::DATA_LEN_MAX)),
        ("prepared data set or batch", mib(limits::DATASET_BYTES_MAX)),
        ("rows of a data set", number(limits::ROWS_MAX)),
        ("columns of a data set, without the label", number(limits::FEATURES_MAX)),
        ("numbers of a data set (rows times columns)", number(limits::VALUES_MAX)),
        ("classes", number(limits::CLASSES_MAX)),
        ("name of a column or class", format!("{} bytes", limits::NAME_BYTES_MAX)),
        (
            "layers of a model, input and output included",
            format!("{}, each up to {} wide", limits::DIMS_MAX, number(limits::WIDTH_MAX)),
        ),
        ("weights of a model", number(limits::PARAMETERS_MAX)),
        ("rounds of a training", number(limits::ROUNDS_MAX)),
        ("work of a job", format!("{} multiply-accumulates", number(job::JOB_MACS_MAX))),
        ("name of a job", format!("{} bytes", job::JOB_NAME_LEN_MAX)),
        ("contributors that a result names", number(job::CONTRIBUTORS_MAX)),
        (
            "jobs of one coordinator at once, running or pending",
            format!(
                "{}: wait until one is final, or `tequio job cancel`",
                transition::jobs::JOBS_PER_OWNER_MAX
            ),
        ),
        (
            "jobs that a list shows",
            format!("{}: running ones first, then pending ones, then ended ones", light::LIST_MAX),
        ),
        ("refs of one owner", number(transition::refs::REFS_PER_OWNER_MAX)),
        ("members of the network", number(membership::MEMBERS_MAX)),
        ("seats of a committee", number(committee::SEATS_MAX)),
        (
            "waiting transactions",
            format!("{}, {}, {sender} of one sender", number(items), mib(bytes)),
        ),
        ("size of a transaction", kib(transaction::TRANSACTION_LEN_MAX)),
        ("life of a transaction", format!("{} blocks", number(transaction::VALIDITY_BLOCKS_MAX))),
        ("writes that wait for a quorum", number(store::OPEN_MAX)),
        ("settled writes whose outcome is stored", number(store::SETTLED_MAX)),
        (
            "keys of submissions",
            format!(
                "{}, for {days} days, each up to {} bytes",
                number(store::SUBMISSIONS_MAX),
                store::KEY_LEN_MAX
            ),
        ),
        ("free space that a submission leaves", mib(api::FREE_BYTES_MIN as usize)),
        (
            "block of the chain",
            format!(
                "{}, {} transactions",
                mib(block::BLOCK_LEN_MAX),
                number(block::BLOCK_TRANSACTIONS_MAX)
            ),
        ),
        (
            "block of an object",
            format!(
                "{}; contents in parts up to {}",
                mib(object::BLOCK_LEN_MAX),
                mib(object::CONTENT_LEN_MAX)
            ),
        ),
        (
            "connections",
            format!(
                "{} accepted, {} dialled, {} from one address",
                number(limits.inbound),
                limits.outbound,
                limits.inbound_per_ip
            ),
        ),
        (
            "open files of the process",
            format!("{} for all connections", number(descriptors::required())),
        ),
    ];
    let table = OPERATING.split_once("\n## Limits\n").unwrap().1;
    for (what, limit) in &rows {
        let row = format!("| {what} | {limit} |");
        assert!(table.contains(&row), "docs/operating.md lacks {row}");
    }
    let rows_in_docs =
        table.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| what")).count();
    assert_eq!(rows_in_docs, rows.len(), "docs/operating.md lists limits that nothing enforces");
}
