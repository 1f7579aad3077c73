//! Messages and files of light nodes.

use super::{
    chain::{Chain, TIME_MS},
    jobs::cid,
    work::progress,
};
use tequio_core::{
    content::CidCodec,
    ledger::{Key, Phase},
    light::contribution::ContributionFile,
    types::{Digest, NodeId},
    wire::{light, work},
};

pub fn light_requests(chain: &Chain) -> Vec<light::Request> {
    let keys =
        vec![Key::Params, Key::Account(chain.key.id()), Key::Ref("models/x".try_into().unwrap())];
    vec![
        light::Request::Head { after: 3, wait_ms: 15_000 },
        light::Request::Header { height: 1 },
        light::Request::Prove { keys: keys.try_into().unwrap() },
        light::Request::Object { cid: cid(CidCodec::Raw) },
        light::Request::Submit { transaction: chain.transactions().remove(0) },
        light::Request::Jobs,
        light::Request::Events { after: 0 },
        light::Request::Members,
        light::Request::Handovers { from: 3, count: 8 },
        light::Request::Addresses { of: light::AddressQuery::Coordinator(chain.key.id()) },
        light::Request::Addresses { of: light::AddressQuery::Relays },
    ]
}

pub fn light_responses(chain: &Chain) -> Vec<light::Response> {
    let header = light::FinalHeader {
        header: chain.header.clone(),
        certificate: Some(chain.certificate(Phase::Commit)),
    };
    let rejected = light::Event::Rejected {
        job: Digest([4; 32]),
        round: 1,
        unit: 2,
        worker: NodeId([5; 32]),
        kind: work::RejectionKind::Wrong,
        reason: "step 3 is computed wrongly".try_into().unwrap(),
    };
    let member = light::Member { node: chain.key.id(), agent: "tequio/0.1.0".try_into().unwrap() };
    vec![
        light::Response::Header(header.clone()),
        light::Response::Proved {
            header,
            entries: vec![chain.state.prove(&Key::Params)].try_into().unwrap(),
        },
        light::Response::Object(b"object".to_vec().try_into().unwrap()),
        light::Response::Submitted(Digest([6; 32])),
        light::Response::Jobs(vec![progress()].try_into().unwrap()),
        light::Response::Events(vec![(1, TIME_MS, rejected)].try_into().unwrap()),
        light::Response::Members(vec![member].try_into().unwrap()),
        light::Response::Handovers(handovers(chain).try_into().unwrap()),
        light::Response::Addresses(
            vec!["/ip4/192.0.2.1/tcp/4810".try_into().unwrap()].try_into().unwrap(),
        ),
        light::Response::Refused(light::Refusal::NotAccepted("no".try_into().unwrap())),
    ]
}

pub fn contribution(chain: &Chain) -> ContributionFile {
    let (header, job) = (handovers(chain)[0].header.clone(), Digest([7; 32]));
    let entry = chain.state.prove(&Key::Job(job));
    ContributionFile::new(chain.key.id(), job, handovers(chain), header, entry).unwrap()
}

/// Returns two handovers: one with unchanged seats, and one with new seats.
pub fn handovers(chain: &Chain) -> Vec<light::CommitteeHandover> {
    let header = light::FinalHeader {
        header: chain.header.clone(),
        certificate: Some(chain.certificate(Phase::Commit)),
    };
    let same = light::CommitteeHandover { header, formed_ms: TIME_MS, seats: None };
    vec![same.clone(), light::CommitteeHandover { seats: Some(chain.record.seats.clone()), ..same }]
}
