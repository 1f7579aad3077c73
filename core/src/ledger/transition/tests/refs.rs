//! Only its owner moves a ref.

use super::*;
use crate::ledger::transition::refs::is_own;

#[test]
fn only_the_owner_moves_a_ref_and_in_sequence() {
    let mut ledger = Ledger::new();
    let own = ledger.keys[0].id().to_string();
    let update = |name: &str, expected| Action::UpdateRef {
        name: name.try_into().unwrap(),
        expected,
        cid: Cid::of(CidCodec::Raw, name.as_bytes()),
    };
    let path = alloc::format!("{own}/notes");
    assert_eq!(ledger.apply_action(0, update(&path, 0)), Ok(()));
    assert_eq!(ledger.apply_action(0, update(&path, 1)), Ok(()));
    assert_eq!(
        ledger.apply_action(0, update(&path, 1)),
        Err(TransactionError::WrongRefSequence { found: 2, expected: 1 })
    );
    let job = ledger.submit();
    for foreign in [path.as_str(), &alloc::format!("{MODELS}{job}"), &alloc::format!("{own}/"), "x"]
    {
        assert_eq!(
            ledger.apply_action(1, update(foreign, 0)),
            Err(TransactionError::NotOwner),
            "{foreign}"
        );
    }
}

#[test]
fn a_ref_name_begins_with_the_full_id_of_its_owner_and_a_suffix() {
    let (owner, other) = (NodeId([0xab; 32]), NodeId([0xac; 32]));
    let is_own = |name: &str| is_own(&RefName::try_from(name).unwrap(), &owner);
    assert!(is_own(&alloc::format!("{owner}/a")) && is_own(&alloc::format!("{owner}//")));
    let upper = owner.to_string().to_uppercase();
    for name in [
        "",
        "/a",
        &owner.to_string(),
        &alloc::format!("{owner}/"),
        &alloc::format!("{owner}a/b"),
        &alloc::format!("{other}/a"),
        &alloc::format!("{upper}/a"),
    ] {
        assert!(!is_own(name), "{name}");
    }
}

#[test]
fn a_ref_has_the_state_key_of_its_key() {
    let name = RefName::try_from("models/x").unwrap();
    let cid = Cid::of(CidCodec::Raw, b"x");
    let entry = Entry::Ref(Ref { name, owner: None, sequence: 1, cid, height: 1 });
    assert_eq!(entry.state_key(), entry.key().digest());
}
