//! Every decoder that meets bytes from outside, each as one [`Kind`] with one check.
//!
//! A check never panics, whatever the bytes, and holds the decoder to what it promises: what
//! decodes encodes to the same bytes again. The fuzz targets under `tests/fuzz` call [`check`] with
//! bytes of their own making; the tests of this crate replay the corpus and mutations of it.
//! Depends on `tequio-core`, `tequio-p2p` and what that needs alone, to keep the fuzzers' build
//! short.

use borsh::{BorshDeserialize, BorshSerialize};
use tequio_core::{
    codec,
    compute::dataset::{self, CsvOptions, Dataset, Label, Scaling},
    consensus::WalRecord,
    crypto::bls,
    keystore,
    knowledge::{Cid, CidCodec, answers::Answers, model::Model, object, record::TrainingRecord},
    ledger::{
        self, Certificate, Checkpoint, Entry, Key, SignedTransaction,
        genesis::GenesisFile,
        state::{ENTRY_LEN_MAX, ProvedEntry},
        transaction::TRANSACTION_LEN_MAX,
    },
    light::{LightClient, contribution::ContributionFile, handover::HandoverFile},
    scheduler::coordinator::Record,
    types::{ChainId, Digest, NodeId, Unverified, Verified},
    wire::{consensus, light, mempool, packed, sync, work},
};
use tequio_p2p::{Protocol, framing};
use tequio_webrtc::fuzzing;

/// Names every kind of bytes, its fuzz target, and its check.
macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident $name:literal => $check:expr,)*) => {
        /// What some bytes claim to be.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Kind { $($(#[$doc])* $kind,)* }

        impl Kind {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$kind,)*];

            /// The name of its fuzz target and corpus.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$kind => $name,)* }
            }
        }

        /// Decodes bytes as `kind` and checks what must hold of the outcome.
        pub fn check(kind: Kind, bytes: &[u8]) {
            match kind { $(Kind::$kind => $check(bytes),)* }
        }
    };
}

kinds! {
    /// Light protocol, towards a node.
    LightRequest "light_request" => canonical::<light::Request, { light::REQUEST_LEN_MAX }>,
    /// Light protocol, towards a browser.
    LightResponse "light_response" => canonical::<light::Response, { light::RESPONSE_LEN_MAX }>,
    /// Work protocol, towards a coordinator.
    WorkRequest "work_request" => canonical::<work::Request, { work::REQUEST_LEN_MAX }>,
    /// Work protocol, towards a worker.
    WorkResponse "work_response" => canonical::<work::Response, { work::RESPONSE_LEN_MAX }>,
    /// What goes to the thread that computes.
    Task "task" => canonical::<work::Task, { work::TASK_LEN_MAX }>,
    /// What comes back from it.
    Product "product" => canonical::<work::Product, { work::PRODUCT_LEN_MAX }>,
    /// Consensus protocol.
    ConsensusMessage "consensus_message" => canonical::<consensus::Message, { consensus::REQUEST_LEN_MAX }>,
    /// A body that may be compressed.
    Packed "packed" => packed_body,
    /// Sync protocol, towards a node that has blocks.
    SyncRequest "sync_request" => canonical::<sync::Request, { sync::REQUEST_LEN_MAX }>,
    /// Sync protocol, towards a node that lacks them.
    SyncResponse "sync_response" => canonical::<sync::Response, { sync::RESPONSE_LEN_MAX }>,
    /// Mempool protocol.
    MempoolMessage "mempool_message" => canonical::<mempool::Message, { mempool::MESSAGE_LEN_MAX }>,
    /// Want protocol.
    Want "want" => canonical::<mempool::Want, { mempool::WANT_LEN_MAX }>,
    /// A block.
    Block "block" => canonical::<ledger::Block, { ledger::block::BLOCK_LEN_MAX }>,
    /// A transaction and its signature.
    Transaction "transaction" => transaction,
    /// A quorum's votes.
    Certificate "certificate" => canonical::<Certificate, 4096>,
    /// An entry of the state.
    StateEntry "state_entry" => canonical::<Entry, { ENTRY_LEN_MAX }>,
    /// An entry with its proof.
    ProvedEntry "proved_entry" => proved_entry,
    /// `genesis.bin`.
    GenesisFile "genesis_file" => genesis_file,
    /// `checkpoint.bin`.
    Checkpoint "checkpoint" => checkpoint,
    /// `handovers.bin`.
    HandoverFile "handover_file" => handover_file,
    /// The proof of a contribution.
    ContributionFile "contribution_file" => contribution_file,
    /// What a light node keeps.
    LightSaved "light_saved" => light_saved,
    /// A record of the consensus log.
    WalRecord "wal_record" => canonical::<WalRecord, { WalRecord::LEN_MAX }>,
    /// A record of a job's coordinator.
    CoordinatorRecord "coordinator_record" => canonical::<Record, { 64 << 20 }>,
    /// A prepared data set.
    Dataset "dataset" => canonical::<Dataset, { dataset::DATASET_BYTES_MAX }>,
    /// A CSV file; the first byte chooses the options.
    DatasetCsv "dataset_csv" => dataset_csv,
    /// The file of secret keys.
    Keystore "keystore" => keystore_file,
    /// A CID in binary.
    Cid "cid" => canonical::<Cid, 64>,
    /// A CID in text.
    CidText "cid_text" => cid_text,
    /// A DAG-CBOR list of the parts of large contents.
    Object "object" => object_contents,
    /// A model's object.
    Model "model" => model,
    /// A training record's object.
    Record "record" => record,
    /// A batch's answers.
    Answers "answers" => answers,
    /// A BLS public key.
    BlsKey "bls_key" => bls_key,
    /// A BLS signature.
    BlsSignature "bls_signature" => bls_signature,
    /// A request on its substream; the first byte chooses the protocol.
    RpcRequest "rpc_request" => rpc_request,
    /// A response on its substream; the first byte chooses the protocol.
    RpcResponse "rpc_response" => rpc_response,
    /// A datagram for a WebRTC listener, or a STUN USERNAME.
    StunUsername "stun_username" => fuzzing::stun_username,
    /// Frames of a WebRTC data channel; the first byte chooses how they are cut.
    ChannelFraming "channel_framing" => fuzzing::framing,
    /// A server's address and a browser's session description.
    SessionDescription "session_description" => fuzzing::session_description,
    /// A role and the stream that two browsers find each other by.
    Signalling "signalling" => fuzzing::signalling,
}

/// What decodes is the one encoding of its value.
fn canonical<T: BorshDeserialize + BorshSerialize, const LEN_MAX: usize>(bytes: &[u8]) {
    if let Ok(value) = codec::decode::<T>(bytes, LEN_MAX) {
        assert_eq!(codec::encode(&value), bytes, "a second encoding of the same value");
    }
}

fn packed_body(bytes: &[u8]) {
    const LEN_MAX: usize = 64 << 10;
    if let Ok(body) = packed::unpack(bytes, LEN_MAX) {
        // Other compressors may find other encodings; ours must come back.
        assert_eq!(packed::unpack(&packed::pack(&body), LEN_MAX).as_ref(), Ok(&body));
    }
}

fn transaction(bytes: &[u8]) {
    canonical::<SignedTransaction, TRANSACTION_LEN_MAX>(bytes);
    if let Ok(signed) = codec::decode::<SignedTransaction>(bytes, TRANSACTION_LEN_MAX) {
        let chain = signed.transaction.chain;
        let _ = Unverified::new(signed).verify(&chain);
    }
}

fn proved_entry(bytes: &[u8]) {
    canonical::<ProvedEntry, { 2 * ENTRY_LEN_MAX }>(bytes);
    if let Ok(proved) = codec::decode::<ProvedEntry>(bytes, 2 * ENTRY_LEN_MAX) {
        let _ = proved.verify(&Digest([7; 32]), &Key::Account(NodeId([7; 32])));
    }
}

fn genesis_file(bytes: &[u8]) {
    if let Ok(file) = GenesisFile::decode(bytes) {
        assert_eq!(file.encode(), bytes, "a second encoding of the same genesis");
        let _ = file.start();
    }
}

fn checkpoint(bytes: &[u8]) {
    if let Ok((checkpoint, _)) = Checkpoint::open(bytes, None, 0) {
        assert_eq!(checkpoint.encode(), bytes, "a second encoding of the same checkpoint");
    }
}

fn handover_file(bytes: &[u8]) {
    if let Ok(file) = HandoverFile::decode(bytes) {
        assert_eq!(file.encode(), bytes, "a second encoding of the same handovers");
    }
}

fn contribution_file(bytes: &[u8]) {
    if let Ok(file) = ContributionFile::decode(bytes) {
        assert_eq!(file.encode(), bytes, "a second encoding of the same contribution");
    }
}

fn light_saved(bytes: &[u8]) {
    // Saved states of other chains are refused, so the chain is taken from where a header has it.
    let mut chain = [0; 32];
    if let Some(found) = bytes.get(8..40) {
        chain.copy_from_slice(found);
    }
    if let Ok(client) = LightClient::resume(bytes, &ChainId(chain), 0) {
        assert_eq!(client.save(), bytes, "a second encoding of the same state");
    }
}

fn dataset_csv(bytes: &[u8]) {
    let Some((options, csv)) = bytes.split_first() else { return };
    let options = CsvOptions {
        header: options & 1 == 0,
        separator: [None, Some(','), Some(';'), Some('\t')][usize::from(options >> 1 & 3)],
        scaling: [None, Some(Scaling::Global)][usize::from(options >> 3 & 1)],
        ..CsvOptions::new(Label::Name("class"))
    };
    if let Ok(dataset) = dataset::prepare(csv, &options) {
        let encoded = codec::encode(&dataset);
        assert_eq!(
            codec::decode::<Dataset>(&encoded, dataset::DATASET_BYTES_MAX).as_ref(),
            Ok(&dataset)
        );
        let (header, separator) = (options.header, options.separator);
        let batch =
            dataset::read_batch(csv, header, separator, dataset.columns(), dataset.normalizer());
        if let Ok(batch) = batch {
            assert_eq!(batch.rows(), dataset.train().rows() + dataset.test().rows());
        }
    }
}

fn keystore_file(bytes: &[u8]) {
    // Argon2 within its limits may take a gigabyte and a minute: those parameters are not for a
    // fuzzer.
    let word = |at: usize| {
        bytes.get(at..at + 4).and_then(|word| word.try_into().ok()).map_or(0, u32::from_le_bytes)
    };
    let (memory_kib, passes) = (word(9), word(13));
    if memory_kib <= 256 && passes <= 2 || memory_kib > 1 << 24 {
        let _ = keystore::open(bytes, b"passphrase");
    }
}

fn cid_text(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(cid) = text.parse::<Cid>() {
        assert_eq!(cid.to_string().parse(), Ok(cid));
    }
}

fn object_contents(bytes: &[u8]) {
    if let Some(block) = dag_cbor(bytes) {
        let _ = object::contents(block);
    }
}

fn model(bytes: &[u8]) {
    if let Some(Ok(model)) = dag_cbor(bytes).map(Model::from_block) {
        let again = model.to_block().map(|block| block.bytes);
        assert_eq!(again.as_deref(), Ok(bytes), "a second encoding of the same model");
        let row = vec![1; model.features()];
        let _ = model.classifier().classify(&row);
    }
}

fn record(bytes: &[u8]) {
    if let Some(Ok(record)) = dag_cbor(bytes).map(TrainingRecord::from_block) {
        let again = record.to_block().map(|block| block.bytes);
        assert_eq!(again.as_deref(), Ok(bytes), "a second encoding of the same record");
    }
}

fn answers(bytes: &[u8]) {
    if let Some(Ok(answers)) = dag_cbor(bytes).map(Answers::from_block) {
        let again = answers.to_block().map(|block| block.bytes);
        assert_eq!(again.as_deref(), Ok(bytes), "a second encoding of the same answers");
    }
}

/// Bytes under their own name, as a liar would send them.
fn dag_cbor(bytes: &[u8]) -> Option<Verified<object::Block>> {
    let block = object::Block { cid: Cid::of(CidCodec::DagCbor, bytes), bytes: bytes.to_vec() };
    Unverified::new(block).verify().ok()
}

fn bls_key(bytes: &[u8]) {
    let Ok(bytes) = <[u8; 96]>::try_from(bytes) else { return };
    if let Ok(key) = bls::PublicKeyBytes(bytes).decode() {
        assert_eq!(key.bytes().0, bytes, "a second encoding of the same key");
    }
}

fn bls_signature(bytes: &[u8]) {
    let Ok(bytes) = <[u8; 48]>::try_from(bytes) else { return };
    if let Ok(sum) = bls::aggregate(&[bls::Signature(bytes)]) {
        assert_eq!(sum.0, bytes, "a second encoding of the same signature");
    }
}

fn protocol(bytes: &[u8]) -> Option<(Protocol, &[u8])> {
    let (choice, rest) = bytes.split_first()?;
    Protocol::ALL.get(usize::from(*choice) % Protocol::ALL.len()).map(|protocol| (*protocol, rest))
}

fn rpc_request(bytes: &[u8]) {
    let Some((protocol, bytes)) = protocol(bytes) else { return };
    if let Ok(body) = framing::read_request(protocol, bytes) {
        assert!(body.len() <= protocol.request_max());
        let framed = [&(body.len() as u32).to_le_bytes(), body.as_slice()].concat();
        assert!(bytes.starts_with(&framed), "another body than the one that was sent");
    }
}

fn rpc_response(bytes: &[u8]) {
    let Some((protocol, bytes)) = protocol(bytes) else { return };
    if let Ok(body) = framing::read_response(protocol, bytes) {
        assert!(body.len() <= protocol.response_max());
        let framed = [&[0], (body.len() as u32).to_le_bytes().as_slice(), &body].concat();
        assert!(bytes.starts_with(&framed), "another body than the one that was sent");
    }
}

#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;
