//! Real values of every kind, from which the corpus is made: small, deterministic, and with every
//! variant that a decoder branches on.

mod chain;
mod jobs;
mod light;
mod webrtc;
mod work;

use super::Kind;
use chain::Chain;
use jobs::{CSV, answers, cid, data, model, record};
use light::{contribution, handovers, light_requests, light_responses};
use tequio_core::{
    codec,
    consensus::WalRecord,
    content::{CidCodec, object},
    ledger::{Key, Phase},
    light::{LightClient, handover::HandoverFile},
    types::Digest,
    wire::{
        compression,
        consensus::{Message, Proposal, SignedVote, ViewChange},
        light::FinalHeader,
        mempool, sync,
    },
};
use work::{coordinator_records, tasks, work_requests, work_responses};

fn mempool_new(chain: &Chain) -> mempool::Message {
    mempool::Message::New { transactions: chain.transactions().try_into().unwrap(), forward: true }
}

fn names(chain: &Chain) -> mempool::TransactionIds {
    chain.transactions().iter().map(|t| t.id()).collect::<Vec<_>>().try_into().unwrap()
}

/// Returns encodings of real values; the first byte string of each is the simplest.
pub fn of(kind: Kind) -> Vec<Vec<u8>> {
    let chain = Chain::new();
    match kind {
        Kind::LightRequest => light_requests(&chain).iter().map(codec::encode).collect(),
        Kind::LightResponse => light_responses(&chain).iter().map(codec::encode).collect(),
        Kind::WorkRequest => work_requests().iter().map(codec::encode).collect(),
        Kind::WorkResponse => work_responses().iter().map(codec::encode).collect(),
        Kind::Task => tasks().iter().map(codec::encode).collect(),
        Kind::Product => tasks().iter().map(|task| codec::encode(&task.run().unwrap())).collect(),
        Kind::ConsensusMessage => consensus_messages(&chain).iter().map(codec::encode).collect(),
        Kind::Packed => {
            vec![compression::encode(&mempool_new(&chain)), compression::compress(b"small")]
        }
        Kind::SyncRequest => [
            sync::Request::Blocks { from: 1, count: 64 },
            sync::Request::Snapshots,
            sync::Request::Chunk { height: 64, from: Digest([128; 32]) },
        ]
        .iter()
        .map(codec::encode)
        .collect(),
        Kind::SyncResponse => {
            let blocks =
                vec![(chain.block(), chain.certificate(Phase::Commit))].try_into().unwrap();
            let header = FinalHeader {
                header: chain.block().header,
                certificate: Some(chain.certificate(Phase::Commit)),
            };
            let headers = vec![header].try_into().unwrap();
            [
                sync::Response::Blocks(sync::Blocks { head: 1, lowest: 1, blocks }),
                sync::Response::Snapshots(sync::Snapshots { head: 1, lowest: 1, headers }),
                sync::Response::Chunk(chain.state.chunk(&Digest([0; 32])).unwrap()),
                sync::Response::Gone,
            ]
            .iter()
            .map(codec::encode)
            .collect()
        }
        Kind::MempoolMessage => {
            vec![
                codec::encode(&mempool_new(&chain)),
                codec::encode(&mempool::Message::Announce(names(&chain))),
            ]
        }
        Kind::GetTransactions => {
            vec![codec::encode(&mempool::GetTransactions { ids: names(&chain) })]
        }
        Kind::Block => vec![codec::encode(&chain.block())],
        Kind::Transaction => chain.transactions().iter().map(codec::encode).collect(),
        Kind::Certificate => vec![codec::encode(&chain.certificate(Phase::Commit))],
        Kind::StateEntry => chain.state.entries().map(codec::encode).collect(),
        Kind::ProvedEntry => [Key::Params, Key::PendingJobs]
            .iter()
            .map(|key| codec::encode(&chain.state.prove(key)))
            .collect(),
        Kind::GenesisFile => vec![chain.genesis.encode()],
        Kind::Checkpoint => vec![chain.checkpoint()],
        Kind::HandoverFile => vec![HandoverFile::new(handovers(&chain)).unwrap().encode()],
        Kind::ContributionFile => vec![contribution(&chain).encode()],
        Kind::LightSaved => vec![LightClient::start(&chain.checkpoint(), None, 0).unwrap().save()],
        Kind::WalRecord => vec![
            codec::encode(&WalRecord::Accepted(chain.proposal())),
            codec::encode(&WalRecord::Locked(chain.certificate(Phase::Prepare))),
        ],
        Kind::CoordinatorRecord => coordinator_records(),
        Kind::Dataset => vec![codec::encode(&data())],
        Kind::DatasetCsv => {
            vec![[&[0], CSV.as_bytes()].concat(), [&[2 | 8], CSV.as_bytes()].concat()]
        }
        Kind::Keystore => vec![keystore_with_small_parameters()],
        Kind::Cid => {
            vec![codec::encode(&cid(CidCodec::Raw)), codec::encode(&cid(CidCodec::DagCbor))]
        }
        Kind::CidText => {
            vec![
                cid(CidCodec::Raw).to_string().into_bytes(),
                cid(CidCodec::DagCbor).to_string().into_bytes(),
            ]
        }
        Kind::Object => {
            vec![object::split(&vec![1; object::PART_LEN + 1]).unwrap().remove(0).bytes]
        }
        Kind::Model => vec![model().to_block().unwrap().bytes],
        Kind::Record => vec![record().to_block().unwrap().bytes],
        Kind::Answers => vec![answers().to_block().unwrap().bytes],
        Kind::BlsKey => vec![chain.voting.public().0.to_vec()],
        Kind::BlsSignature => vec![chain.voting.sign(b"sample").0.to_vec()],
        Kind::RpcRequest => {
            (0..5).map(|protocol| [&[protocol, 3, 0, 0, 0], b"ask".as_slice()].concat()).collect()
        }
        Kind::RpcResponse => (0..5)
            .map(|protocol| [&[protocol, 0, 6, 0, 0, 0], b"answer".as_slice()].concat())
            .chain((1..7).map(|status| vec![0, status]))
            .collect(),
        Kind::StunUsername => webrtc::stun_usernames(),
        Kind::ChannelFraming => webrtc::frames(),
        Kind::SessionDescription => webrtc::session_descriptions(),
        Kind::Signalling => webrtc::signalling(),
    }
}

/// Returns one consensus message of each kind, and a justified proposal.
fn consensus_messages(chain: &Chain) -> Vec<Message> {
    let prepared = Some(chain.certificate(Phase::Prepare));
    let change =
        ViewChange { chain: chain.id(), epoch: 0, height: 1, view: 1, prepared }.sign(&chain.key);
    let justified = Proposal::sign(
        1,
        chain.block(),
        Some(vec![change.clone()].try_into().unwrap()),
        &chain.key,
    );
    vec![
        Message::Vote(SignedVote::sign(chain.vote(Phase::Prepare), &chain.voting)),
        Message::Proposal(chain.proposal()),
        Message::Proposal(justified),
        Message::ViewChange { change, block: Some(chain.block()) },
        Message::CommitCertificate(chain.certificate(Phase::Commit)),
        Message::PrepareCertificate(chain.certificate(Phase::Prepare)),
    ]
}

/// A keystore with the least cost that Argon2 allows. Opening it fails after all the work that a
/// wrong passphrase causes.
fn keystore_with_small_parameters() -> Vec<u8> {
    let mut file = tequio_core::keystore::seal(b"secret", b"passphrase", [1; 16], [2; 24]).unwrap();
    file[9..13].copy_from_slice(&8u32.to_le_bytes());
    file[13..17].copy_from_slice(&1u32.to_le_bytes());
    file
}
