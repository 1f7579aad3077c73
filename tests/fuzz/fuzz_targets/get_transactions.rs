#![no_main]

use libfuzzer_sys::fuzz_target;
use tequio_fuzz::decoders::{Kind, check};

fuzz_target!(|bytes: &[u8]| check(Kind::GetTransactions, bytes));
