//! The promise line and what happens behind it, driven one step at a time on one thread: real
//! scrub, spool, journal and objects; an archive and a hospital that do as they are told; a clock
//! set by hand.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod line_support;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use jiff::Timestamp;
use serde_json::{Value, json};
use shutterbridge::archive::{Report, Unwanted};
use shutterbridge::capture::claim::parse_taken_at;
use shutterbridge::capture::{CaptureId, Commitment, FailureCode, Operator, SopRef, Stage, Uid, Visit};
use shutterbridge::media::exif;
use shutterbridge::pipeline::{Acceptor, Act, Receipt, RefusalCode};
use shutterbridge::seal::digest::sha256;
use shutterbridge::store::memory::MemoryStore;

use line_support::*;

#[test]
fn a_photo_reaches_the_archive_under_the_uid_of_its_receipt() {
    let world = World::new("way");
    let house = world.start();
    let receipt = house.send(&claim("4711"), None, &[&photo(1)]).unwrap();
    let item = &receipt.record.items[0];
    assert!(item.facts.location_found && item.facts.removed.iter().any(|r| r == "exif.gps"));
    house.settle();
    assert_eq!(house.stage(receipt.record.id()), Stage::Forwarded);
    let stored = world.shelf.stored.lock().unwrap();
    let copies = stored.get(item.facts.sop_instance_uid.as_str()).expect("the UID of the receipt");
    assert_eq!((stored.len(), copies.len()), (1, 1));
}

#[test]
fn what_was_sealed_is_proven_by_its_digest_before_the_answer() {
    let world = World::new("sealed");
    let house = world.start();
    let located = photo(1);
    let receipt = house.send(&claim("4711"), None, &[&located]).unwrap();
    let facts = receipt.record.items[0].facts.clone();
    assert_eq!(facts.sha256, sha256(&located));
    house.settle();
    let clean = {
        let stored = world.shelf.stored.lock().unwrap();
        let object = &stored.values().next().unwrap()[0];
        let start = object.windows(3).rposition(|w| w == [0xFF, 0xD8, 0xFF]).unwrap();
        let length = usize::try_from(facts.sealed_bytes).unwrap();
        object[start..start + length].to_vec()
    };
    assert_eq!(facts.sealed_sha256, Some(sha256(&clean)));
    // Of a photo that loses nothing both are one.
    let again = house.send(&claim("4711"), None, &[&clean]).unwrap().record.items[0].facts.clone();
    assert_eq!((again.sha256, again.sealed_sha256), (sha256(&clean), Some(sha256(&clean))));
}

#[test]
fn what_left_turned_is_proven_by_its_digest() {
    let world = World::new("digest");
    let house = world.start();
    let id = house.send(&claim("4711"), None, &[&turned(&jpeg(48, 32, 120), 6)]).unwrap().record.id();
    assert_eq!(house.record(id).items[0].sent_sha256, None);
    house.settle();
    let digest = house.record(id).items[0].sent_sha256.expect("it was sent");
    let stored = world.shelf.stored.lock().unwrap();
    let object = &stored.values().next().unwrap()[0];
    // The fragment is the scrubbed picture: from its SOI on, a pad byte behind it at most.
    let start = object.windows(3).rposition(|w| w == [0xFF, 0xD8, 0xFF]).unwrap();
    let ends = (start..=object.len()).filter(|end| object[start..*end].ends_with(&[0xFF, 0xD9]));
    assert!(ends.into_iter().any(|end| sha256(&object[start..end]) == digest));
}

#[test]
fn a_crash_right_behind_the_promise_loses_nothing() {
    let world = World::new("crash");
    let house = world.start();
    let receipt = house.send(&claim("4711"), Some("key-1"), &[&photo(1), &photo(2)]).unwrap();
    drop(house); // before the journal ever heard of it
    let house = world.start();
    house.settle();
    assert_eq!(house.stage(receipt.record.id()), Stage::Forwarded);
    assert_eq!(world.stored(), 2);
    let again = house.send(&claim("4711"), Some("key-1"), &[&photo(1), &photo(2)]).unwrap();
    assert!(again.replayed, "a restart forgot the key");
    assert_eq!(again.record.id(), receipt.record.id());
}

#[test]
fn a_lost_index_sends_the_very_same_object_again() {
    let mut world = World::new("index");
    let house = world.start();
    let receipt = house.send(&claim("4711"), None, &[&photo(1)]).unwrap();
    house.settle();
    drop(house);
    world.store = Arc::new(MemoryStore::default());
    world.hospital.admit("4711", "1999-09-09"); // what the hospital says meanwhile changes nothing
    let house = world.start();
    house.settle();
    assert_eq!(house.stage(receipt.record.id()), Stage::Forwarded);
    let stored = world.shelf.stored.lock().unwrap();
    let copies = stored.values().next().unwrap();
    assert_eq!((stored.len(), copies.len()), (1, 2));
    assert!(copies[0] == copies[1], "the two copies differ");
}

#[test]
fn an_unknown_patient_is_held_until_the_hospital_makes_the_match_exact() {
    let world = World::new("late");
    let house = world.start();
    let late = house.send(&claim("815"), None, &[&photo(1)]).unwrap().record.id();
    let twin = json!({"patient": {"id": "4711", "issuer": "HOSP"}, "birth_date": "1980-01-01", "department": "derm"});
    let twin = house.send(&twin, None, &[&photo(2)]).unwrap().record.id();
    house.settle();
    assert_eq!((house.stage(late), house.stage(twin)), (Stage::Held, Stage::Held));
    assert_eq!(world.stored(), 0);
    world.hospital.admit("815", "1999-09-09");
    house.line.facts_changed();
    house.line.wake(house.journal.waiting(&["815".into(), "4711".into()]).unwrap());
    house.settle();
    assert_eq!((house.stage(late), house.stage(twin)), (Stage::Forwarded, Stage::Held));
    assert_eq!(house.record(twin).items[0].failure.as_ref().map(|f| f.code), Some(FailureCode::IdentityDisagrees));
}

#[test]
fn where_the_site_says_so_a_patient_nobody_announced_is_refused_and_every_other_doubt_is_held() {
    let mut world = World::new("strangers");
    world.refuses_strangers = true;
    let house = world.start();
    let key = Some("8a1f");
    let stranger = house.send(&claim("815"), key, &[&photo(1)]).unwrap_err();
    assert_eq!(stranger.code, RefusalCode::UnknownPatient);
    assert!(stranger.detail.contains("the patient number") && !stranger.detail.contains("815"), "{}", stranger.detail);
    let twin = json!({"patient": {"id": "4711", "issuer": "HOSP"}, "birth_date": "1980-01-01", "department": "derm"});
    let twin = house.send(&twin, None, &[&photo(2)]).unwrap().record.id();
    house.settle();
    assert_eq!(house.stage(twin), Stage::Held);
    world.hospital.admit("815", "1999-09-09");
    let first = house.send(&claim("815"), key, &[&photo(1)]).unwrap();
    world.hospital.forget("815");
    let again = house.send(&claim("815"), key, &[&photo(1)]).unwrap();
    assert_eq!((again.replayed, again.record.id()), (true, first.record.id()), "what was promised stays promised");
}

#[test]
fn an_archive_that_is_away_is_asked_again_without_end_and_the_uid_stays() {
    let world = World::new("away");
    let house = world.start();
    *world.shelf.refuse.lock().unwrap() =
        vec![FailureCode::ArchiveAborted, FailureCode::ArchiveBusy, FailureCode::ArchiveUnreachable];
    let id = house.send(&claim("4711"), None, &[&photo(1)]).unwrap().record.id();
    let mut attempts = Vec::new();
    for _ in 0..200 {
        house.settle();
        let now = world.shelf.attempts.load(Ordering::SeqCst);
        if attempts.last().is_none_or(|(_, n)| *n != now) {
            attempts.push((house.clock.now(), now));
        }
        if house.stage(id) == Stage::Forwarded {
            break;
        }
        house.clock.advance_ms(250);
    }
    assert_eq!(house.stage(id), Stage::Forwarded);
    let times: Vec<Timestamp> = attempts.iter().map(|(at, _)| *at).collect();
    let waits: Vec<i64> = times.windows(2).map(|w| w[1].as_millisecond() - w[0].as_millisecond()).collect();
    assert_eq!(waits.len(), 3);
    assert!(waits.windows(2).all(|w| w[0] < w[1]), "waits do not grow: {waits:?}");
    let stored = world.shelf.stored.lock().unwrap();
    let copies = stored.values().next().unwrap();
    assert_eq!((stored.len(), copies.len()), (1, 2), "the unknown outcome was sent again under one UID");
    assert!(copies[0] == copies[1], "the two copies differ");
}

#[test]
fn what_an_archive_refuses_for_good_waits_for_a_person_and_does_not_stop_the_next() {
    let world = World::new("refused");
    let house = world.start();
    *world.shelf.refuse.lock().unwrap() = vec![FailureCode::ArchiveRefusedObject];
    let first = house.send(&claim("4711"), None, &[&photo(1)]).unwrap().record.id();
    house.settle();
    let second = house.send(&claim("4711"), None, &[&photo(2)]).unwrap().record.id();
    house.settle();
    assert_eq!((house.stage(first), house.stage(second)), (Stage::Held, Stage::Forwarded));
}

#[test]
fn one_key_means_one_capture_also_for_eight_phones_at_once() {
    let world = World::new("key");
    let house = world.start();
    let picture = photo(1);
    let receipts: Vec<Receipt> = std::thread::scope(|scope| {
        let phones: Vec<_> =
            (0..8).map(|_| scope.spawn(|| house.send(&claim("4711"), Some("k"), &[&picture]).unwrap())).collect();
        phones.into_iter().map(|p| p.join().unwrap()).collect()
    });
    assert_eq!(receipts.iter().filter(|r| !r.replayed).count(), 1);
    assert!(receipts.windows(2).all(|w| w[0].record.id() == w[1].record.id()));
    let other = house.send(&claim("4711"), Some("k"), &[&photo(2)]).unwrap_err();
    assert_eq!(other.code, RefusalCode::IdempotencyMismatch);
    house.settle();
    assert_eq!(world.stored(), 1);
    assert_eq!(files_in(&world.spool_folder().join("draft")), Vec::<String>::new());
}

#[test]
fn a_site_that_the_body_has_twice_is_refused_at_the_door_until_a_side_is_said() {
    let world = World::new("side");
    let house = world.start();
    let hand = |side: Option<&str>| {
        let mut claim = claim("4711");
        claim["body_site"] = json!({"code": "85562004", "scheme": "SCT", "meaning": "Hand"});
        claim["laterality"] = json!(side);
        house.send(&claim, None, &[&photo(1)])
    };
    for side in [None, Some("U")] {
        let Err(refusal) = hand(side) else { panic!("no side was said") };
        assert_eq!((refusal.code, refusal.errors[0].pointer.as_str()), (RefusalCode::ClaimInvalid, "/laterality"));
    }
    assert!(hand(Some("L")).is_ok());
}

#[test]
fn a_request_that_is_refused_or_cut_leaves_nothing() {
    let world = World::new("nothing");
    let house = world.start();
    let whole = photo(1);
    let refused: Vec<(&str, Value, Vec<&[u8]>, RefusalCode)> = vec![
        ("no file", claim("4711"), vec![], RefusalCode::Malformed),
        ("empty", claim("4711"), vec![b""], RefusalCode::DamagedMedia),
        ("html", claim("4711"), vec![b"<!doctype html><html><body>hello</body></html>"], RefusalCode::UnsupportedMedia),
        ("truncated", claim("4711"), vec![&whole[..whole.len() - 9]], RefusalCode::DamagedMedia),
        ("second bad", claim("4711"), vec![&whole, &whole[..40]], RefusalCode::DamagedMedia),
        ("too many", claim("4711"), vec![&whole, &whole, &whole, &whole], RefusalCode::TooLarge),
        ("department", json!({"patient": {"id": "4711"}, "department": "none"}), vec![&whole], RefusalCode::ClaimInvalid),
        ("nobody", json!({"department": "derm"}), vec![&whole], RefusalCode::ClaimInvalid),
    ];
    for (what, claim, files, code) in refused {
        assert_eq!(house.send(&claim, Some(what), &files).map_err(|r| r.code).unwrap_err(), code, "{what}");
    }
    let operator = Operator { issuer: "idp".to_owned(), subject: "u-1".to_owned(), name: String::new() };
    let mut cut = house.desk.begin(&operator, &claim("4711"), None).unwrap();
    cut.start_file().unwrap();
    cut.push(&whole[..200]).unwrap();
    drop(cut);
    for folder in ["draft", "live"] {
        assert_eq!(files_in(&world.spool_folder().join(folder)), Vec::<String>::new(), "{folder}");
    }
    house.settle();
    assert_eq!(world.stored(), 0);
}

#[test]
fn a_turned_photo_arrives_upright_and_is_still_the_original() {
    let world = World::new("turned");
    let house = world.start();
    house.send(&claim("4711"), None, &[&turned(&jpeg(48, 32, 120), 6)]).unwrap();
    house.settle();
    let stored = world.shelf.stored.lock().unwrap();
    let object = &stored.values().next().expect("one object")[0];
    let holds = |text: &str| object.windows(text.len()).any(|w| w == text.as_bytes());
    assert!(holds("ORIGINAL\\PRIMARY"), "its coefficients were only moved");
    // Rows 48, Columns 32: (0028,0010) and (0028,0011), both US.
    assert!(object.windows(10).any(|w| w == b"\x28\0\x10\0US\x02\0\x30\0"), "rows");
    assert!(object.windows(10).any(|w| w == b"\x28\0\x11\0US\x02\0\x20\0"), "columns");
}

/// One photo, forwarded, at an archive that is asked for commitment.
fn asked(world: &mut World, commitment: Commitment, words: &[Says], photos: &[&[u8]]) -> (House, CaptureId) {
    world.commitment = commitment;
    *world.shelf.words.lock().unwrap() = words.iter().rev().copied().collect();
    let house = world.start();
    let id = house.send(&claim("4711"), None, photos).unwrap().record.id();
    house.settle();
    (house, id)
}

fn stages(house: &House, id: CaptureId) -> Vec<Stage> {
    house.record(id).items.iter().map(|i| i.stage).collect()
}

#[test]
fn a_photo_is_committed_when_the_archive_says_so() {
    let mut world = World::new("kept");
    let (house, id) = asked(&mut world, Commitment::Required, &[Says::Kept], &[&photo(1)]);
    assert_eq!(house.stage(id), Stage::Committed);
    let (_, wanted) = world.shelf.last_question();
    let item = &house.record(id).items[0];
    assert_eq!((item.failure.is_none(), item.schedule.due), (true, None));
    assert_eq!(wanted[0].sop_instance, item.facts.sop_instance_uid);
    assert_eq!(wanted[0].sop_class.as_str(), "1.2.840.10008.5.1.4.1.1.77.1.4");
    house.clock.advance_ms(100 * 60 * 60 * 1_000);
    house.settle();
    assert_eq!((world.shelf.questions(), world.shelf.sends()), (1, 1));
}

#[test]
fn nobody_is_asked_where_no_commitment_is_wanted() {
    let mut world = World::new("unasked");
    let (house, id) = asked(&mut world, Commitment::None, &[], &[&photo(1)]);
    house.clock.advance_ms(100 * 60 * 60 * 1_000);
    house.settle();
    assert_eq!((house.stage(id), world.shelf.questions()), (Stage::Forwarded, 0));
}

#[test]
fn a_report_counts_for_the_instances_of_its_question_and_for_no_other() {
    use Stage::{Committed, Forwarded};
    let mut world = World::new("report");
    let (house, id) = asked(&mut world, Commitment::Required, &[], &[&photo(1), &photo(2)]);
    let (transaction, wanted) = world.shelf.last_question();
    assert_eq!(wanted.len(), 2);
    let of = |transaction: &Uid, committed: &[SopRef], failed: Vec<(SopRef, u16)>| Report {
        transaction: transaction.clone(),
        committed: committed.to_vec(),
        failed,
    };
    let forged = Uid::parse("2.25.1").unwrap();
    let other = SopRef { sop_instance: forged.clone(), ..wanted[0].clone() };
    let other_class = SopRef { sop_class: forged.clone(), ..wanted[0].clone() };
    let table = [
        // given the report, then it is taken so, and the items are there
        (of(&forged, &wanted, vec![]), Err(Unwanted::UnknownTransaction), [Forwarded, Forwarded]),
        (of(&transaction, &[other, other_class], vec![]), Ok(()), [Forwarded, Forwarded]),
        (of(&transaction, &[], vec![]), Ok(()), [Forwarded, Forwarded]),
        (of(&transaction, &[], vec![(wanted[0].clone(), 0x0110)]), Ok(()), [Forwarded, Forwarded]),
        (of(&transaction, &wanted[1..], vec![]), Ok(()), [Forwarded, Committed]),
        (of(&transaction, &wanted[1..], vec![]), Ok(()), [Forwarded, Committed]),
        (of(&transaction, &[], vec![(wanted[1].clone(), 0x0112)]), Ok(()), [Forwarded, Committed]),
        (of(&transaction, &wanted, vec![]), Ok(()), [Committed, Committed]),
    ];
    for (report, taken, then) in table {
        assert_eq!(house.line.report(&["pacs"], &report), taken, "{report:?}");
        house.settle();
        assert_eq!(stages(&house, id), then, "{report:?}");
    }
    assert_eq!(world.shelf.sends(), 2, "something was sent again");
    let refused = world.refused.lock().unwrap();
    assert_eq!(*refused, ["unknown transaction", "instances that were not asked about"]);
}

#[test]
fn a_report_that_never_comes_is_asked_for_again_and_a_late_one_still_counts() {
    let mut world = World::new("never");
    let (house, id) = asked(&mut world, Commitment::Required, &[], &[&photo(1)]);
    let first = world.shelf.last_question();
    let (start, mut times) = (house.clock.now(), Vec::new());
    for _ in 0..120 {
        house.clock.advance_ms(60_000);
        house.settle();
        if world.shelf.questions() > times.len() + 1 {
            times.push(house.clock.now().duration_since(start).as_secs() / 60);
        }
    }
    let waits: Vec<i64> = times.windows(2).map(|w| w[1] - w[0]).collect();
    assert!(times.len() >= 4 && waits.windows(2).all(|w| w[0] < w[1]), "asked after minutes {times:?}");
    assert_eq!((house.stage(id), world.shelf.sends()), (Stage::Forwarded, 1));
    let all = world.shelf.asked.lock().unwrap().clone();
    let transactions: std::collections::BTreeSet<&Uid> = all.iter().map(|(t, _)| t).collect();
    assert_eq!(transactions.len(), all.len(), "a transaction was used twice");
    drop(house); // an archive answers after a crash of ours, and to the first question
    let house = world.start();
    let late = Report { transaction: first.0, committed: first.1, failed: Vec::new() };
    assert_eq!(house.line.report(&["pacs"], &late), Ok(()));
    house.settle();
    assert_eq!(house.stage(id), Stage::Committed);
}

#[test]
fn what_the_archive_lost_is_sent_again_under_the_same_uid_and_never_in_a_circle() {
    let mut world = World::new("lost");
    let words = [Says::NotKept(0x0112), Says::NotKept(0x0112), Says::NotKept(0x0112), Says::Kept];
    let (house, id) = asked(&mut world, Commitment::Required, &words, &[&photo(1)]);
    assert_eq!((house.stage(id), world.shelf.sends()), (Stage::Wrapped, 2), "sent again at once, then not at once");
    assert_eq!(house.record(id).items[0].failure.as_ref().map(|f| f.code), Some(FailureCode::ArchiveNotCommitted));
    let mut minutes = 0;
    while house.stage(id) != Stage::Committed {
        house.clock.advance_ms(60_000);
        house.settle();
        minutes += 1;
        assert!(minutes < 60, "it never comes to an end");
    }
    assert!(minutes >= 3, "the archive was fed in a circle");
    assert_eq!((world.shelf.sends(), world.shelf.questions()), (4, 4));
    let stored = world.shelf.stored.lock().unwrap();
    let copies = stored.values().next().unwrap();
    assert_eq!((stored.len(), copies.len()), (1, 4));
    assert!(copies.iter().all(|c| *c == copies[0]), "the copies differ");
    let again = house.record(id).history.iter().filter(|e| e.why.as_deref().is_some_and(|w| w.contains("sent again"))).count();
    assert_eq!(again, 3, "the history does not tell");
}

#[test]
fn an_unknown_outcome_is_asked_about_before_anything_is_sent_again() {
    let table = [
        // given the archive says, then so many sends, and the item is
        (Says::Kept, 1, Stage::Committed),
        (Says::NotKept(0x0112), 2, Stage::Committed),
        (Says::Nothing, 2, Stage::Committed),
        (Says::Refuses(FailureCode::ArchiveRefusedClass), 2, Stage::Committed),
        (Says::Refuses(FailureCode::ArchiveUnreachable), 1, Stage::Committed),
    ];
    for (n, (says, sends, then)) in table.into_iter().enumerate() {
        let mut world = World::new(&format!("doubt-{n}"));
        world.commitment = Commitment::Required;
        *world.shelf.refuse.lock().unwrap() = vec![FailureCode::ArchiveAborted];
        *world.shelf.words.lock().unwrap() = vec![Says::Kept, says];
        let house = world.start();
        let id = house.send(&claim("4711"), None, &[&photo(1)]).unwrap().record.id();
        for _ in 0..300 {
            house.settle();
            if house.stage(id) == then {
                break;
            }
            assert!(world.shelf.questions() > 0 || world.shelf.sends() == 1, "{n}: sent again without a question");
            house.clock.advance_ms(1_000);
        }
        assert_eq!((house.stage(id), world.shelf.sends()), (then, sends), "{n}");
    }
}

#[test]
fn an_archive_without_commitment_is_enough_only_where_it_may_be() {
    let cannot = [Says::Refuses(FailureCode::ArchiveRefusedClass); 3];
    for (commitment, again) in [(Commitment::Ask, false), (Commitment::Required, true)] {
        let mut world = World::new(&format!("cannot-{again}"));
        let (house, id) = asked(&mut world, commitment, &cannot, &[&photo(1)]);
        assert_eq!(house.stage(id), Stage::Forwarded);
        assert_eq!(house.record(id).items[0].schedule.due.is_some(), again, "{commitment:?}");
        house.clock.advance_ms(10 * 60_000);
        house.settle();
        assert_eq!(world.shelf.questions() > 1, again, "{commitment:?}");
        assert_eq!(world.shelf.sends(), 1);
    }
}

#[test]
fn each_reason_not_to_commit_has_its_consequence() {
    use Stage::{Forwarded, Held, Wrapped};
    let table = [
        // given the reason, then the stage, and in ten minutes so many sends and questions more
        (0x0110, Forwarded, 0, true),
        (0x0213, Forwarded, 0, true),
        (0x0131, Forwarded, 0, true),
        (0x0000, Forwarded, 0, true),
        (0x0112, Wrapped, 1, true),
        (0x0119, Held, 0, false),
        (0x0122, Held, 0, false),
        (0xC123, Held, 0, false),
    ];
    for (reason, stage, sends, is_asked_again) in table {
        let mut world = World::new(&format!("reason-{reason:04x}"));
        // Of an archive that lost it twice the second loss is not mended at once.
        let words = [Says::NotKept(reason); 2];
        let (house, id) = asked(&mut world, Commitment::Required, &words[..if sends > 0 { 2 } else { 1 }], &[&photo(1)]);
        assert_eq!((house.stage(id), world.shelf.sends()), (stage, 1 + sends), "{reason:04X}");
        let failure = house.record(id).items[0].failure.clone().unwrap();
        assert_eq!(failure.code == FailureCode::ArchiveWillNotCommit, stage == Held, "{reason:04X}");
        let before = world.shelf.questions();
        house.clock.advance_ms(10 * 60_000);
        house.settle();
        assert_eq!(world.shelf.questions() > before, is_asked_again, "{reason:04X}");
        let all = world.shelf.asked.lock().unwrap().clone();
        let transactions: std::collections::BTreeSet<&Uid> = all.iter().map(|(t, _)| t).collect();
        assert_eq!(transactions.len(), all.len(), "{reason:04X}: a transaction was used twice");
    }
}

#[test]
fn what_an_archive_will_not_commit_to_stays_until_it_does_or_a_person_gives_it_up() {
    let will_not = [Says::NotKept(0x0122)];
    let live = |world: &World| files_in(&world.spool_folder().join("live"));
    let mut world = World::new("will-not-late");
    let (house, id) = asked(&mut world, Commitment::Required, &will_not, &[&photo(1)]);
    let (transaction, committed) = world.shelf.last_question();
    assert_eq!(house.stage(id), Stage::Held);
    let lost = Report { transaction: transaction.clone(), committed: Vec::new(), failed: vec![(committed[0].clone(), 0x0112)] };
    assert_eq!(house.line.report(&["pacs"], &lost), Ok(()));
    house.settle();
    assert_eq!((house.stage(id), world.shelf.sends()), (Stage::Held, 1), "a person has it");
    let late = Report { transaction, committed, failed: Vec::new() };
    assert_eq!(house.line.report(&["pacs"], &late), Ok(()));
    house.settle();
    assert_eq!(house.stage(id), Stage::Committed, "it changed its mind");

    let mut world = World::new("will-not-retry");
    let (house, id) = asked(&mut world, Commitment::Required, &[will_not[0], Says::Kept], &[&photo(1)]);
    house.decide(id, Act::Retry).unwrap();
    house.settle();
    assert_eq!((house.stage(id), world.shelf.sends(), world.shelf.questions()), (Stage::Committed, 1, 2));

    let mut world = World::new("will-not-discard");
    let (house, id) = asked(&mut world, Commitment::Required, &will_not, &[&photo(1)]);
    assert!(house.decide(id, to_patient("4711")).is_err(), "the archive has it");
    assert!(!live(&world).is_empty());
    house.decide(id, Act::Discard).unwrap();
    assert_eq!((house.stage(id), live(&world)), (Stage::Discarded, Vec::new()));
}

#[test]
fn a_loss_that_is_told_twice_is_mended_once() {
    let mut world = World::new("lost-twice");
    let (house, id) = asked(&mut world, Commitment::Required, &[], &[&photo(1)]);
    let (transaction, committed) = world.shelf.last_question();
    let lost = Report { transaction, committed: Vec::new(), failed: vec![(committed[0].clone(), 0x0112)] };
    for _ in 0..3 {
        assert_eq!(house.line.report(&["pacs"], &lost), Ok(()));
        house.settle();
    }
    assert_eq!((house.stage(id), world.shelf.sends()), (Stage::Forwarded, 2), "an old word undid what was mended");
}

#[test]
fn what_was_kept_once_and_is_lost_now_is_not_taken_for_kept() {
    let mut world = World::new("order");
    let words = [Says::Nothing, Says::NotKept(0x0112), Says::Nothing];
    let (house, id) = asked(&mut world, Commitment::Required, &words, &[&photo(1)]);
    let (transaction, committed) = world.shelf.last_question();
    house.clock.advance_ms(100_000);
    house.settle(); // asked again: lost; sent again; asked a third time
    assert_eq!((world.shelf.questions(), world.shelf.sends()), (3, 2));
    assert_eq!(house.line.report(&["pacs"], &Report { transaction, committed, failed: Vec::new() }), Ok(()));
    house.settle();
    assert_eq!(house.stage(id), Stage::Forwarded, "an old word counted against a newer one");
}

#[test]
fn an_item_that_fails_waits_also_when_the_clock_was_set_back() {
    let world = World::new("clock-back");
    let house = world.start();
    *world.shelf.refuse.lock().unwrap() = vec![FailureCode::ArchiveBusy; 90];
    let id = house.send(&claim("4711"), None, &[&photo(1)]).unwrap().record.id();
    house.clock.advance_ms(-3_600_000);
    house.settle();
    assert_eq!(world.shelf.attempts.load(Ordering::SeqCst), 1, "tried without a pause");
    world.shelf.refuse.lock().unwrap().clear();
    house.clock.advance_ms(3_700_000);
    house.settle();
    assert_eq!(house.stage(id), Stage::Forwarded);
}

#[test]
fn nobody_waits_behind_a_capture_that_became_another_patients() {
    let world = World::new("behind");
    world.hospital.admit("0815", "1999-09-09");
    let house = world.start();
    *world.shelf.refuse.lock().unwrap() = vec![FailureCode::ArchiveUnreachable];
    let first = house.send(&claim("4711"), None, &[&photo(1)]).unwrap().record.id();
    house.settle();
    house.clock.advance_ms(100);
    house.decide(first, to_patient("0815")).unwrap();
    house.settle();
    house.clock.advance_ms(100_000);
    house.settle();
    let second = house.send(&claim("4711"), None, &[&photo(2)]).unwrap().record.id();
    house.settle();
    assert_eq!((house.stage(first), house.stage(second)), (Stage::Forwarded, Stage::Forwarded));
}

#[test]
fn an_attempt_that_was_given_back_and_is_made_in_the_same_round_counts() {
    let world = World::new("given-back");
    world.hospital.admit("0815", "1999-09-09");
    let house = world.start();
    let fails_once = || *world.shelf.refuse.lock().unwrap() = vec![FailureCode::ArchiveAborted];
    house.send(&claim("4711"), None, &[&photo(1)]).unwrap();
    for n in 2..5 {
        fails_once();
        house.settle();
        // The archive takes others meanwhile.
        house.send(&claim("0815"), None, &[&photo(n)]).unwrap();
        house.settle();
        house.clock.advance_ms(100_000);
    }
    fails_once();
    let behind = house.send(&claim("4711"), None, &[&photo(5)]).unwrap().record.id();
    house.line.step();
    assert!(house.line.work_one(), "the first of the patient");
    house.line.step(); // gives back the second, and claims it again
    let leg = house.record(behind).items[0].legs[0].clone();
    assert_eq!((leg.schedule.attempts, leg.schedule.open), (1, true), "an attempt that nobody knows of");
    house.settle();
    assert_eq!(house.stage(behind), Stage::Forwarded);
}

#[test]
fn an_old_word_of_the_archive_stays_old_when_the_clock_is_set_back() {
    let mut world = World::new("order-clock");
    let words = [Says::Nothing, Says::NotKept(0x0112), Says::Nothing];
    let (house, id) = asked(&mut world, Commitment::Required, &words, &[&photo(1)]);
    let (transaction, committed) = world.shelf.last_question();
    house.clock.advance_ms(-3_600_000);
    house.decide(id, Act::Retry).unwrap();
    house.settle(); // asked again: lost; sent again; asked a third time
    assert_eq!((world.shelf.questions(), world.shelf.sends()), (3, 2));
    assert_eq!(house.line.report(&["pacs"], &Report { transaction, committed, failed: Vec::new() }), Ok(()));
    house.settle();
    assert_eq!(house.stage(id), Stage::Forwarded, "what the archive lost would be erased");
}

const TEN_MINUTES_MS: i64 = 10 * 60 * 1_000;

#[test]
fn what_the_archive_committed_to_leaves_the_spool_and_does_not_come_back() {
    let mut world = World::new("sweep");
    world.commitment = Commitment::Required;
    *world.shelf.words.lock().unwrap() = vec![Says::Kept];
    let house = world.start();
    let files: [&[u8]; 2] = [&photo(1), &turned(&jpeg(40, 24, 7), 6)];
    let id = house.send(&claim("4711"), Some("key-1"), &files).unwrap().record.id();
    house.settle();
    assert_eq!(house.stage(id), Stage::Committed);
    house.clock.advance_ms(TEN_MINUTES_MS - 1);
    assert_eq!(house.line.sweep(), Ok(0));
    assert_eq!(files_in(&world.spool_folder().join("live")).len(), 4, "two items, a binding, a derived picture");
    house.clock.advance_ms(1);
    assert_eq!((house.line.sweep(), house.line.sweep()), (Ok(1), Ok(0)));
    assert_eq!(files_in(&world.spool_folder().join("live")), Vec::<String>::new());
    drop(house);
    let house = world.start();
    house.line.find_unswept().unwrap();
    house.settle();
    assert_eq!(house.stage(id), Stage::Committed, "the record went with its bytes");
    let again = house.send(&claim("4711"), Some("key-1"), &files).unwrap();
    assert!(again.replayed && again.record.id() == id, "the key went with the bytes");
    house.settle();
    assert_eq!((world.stored(), world.shelf.sends()), (2, 2), "it was sent again");
}

#[test]
fn what_a_crash_left_unerased_is_erased_at_the_next_start() {
    let mut world = World::new("unswept");
    let (house, id) = asked(&mut world, Commitment::Required, &[Says::Kept], &[&photo(1)]);
    assert_eq!(house.stage(id), Stage::Committed);
    drop(house);
    let house = world.start();
    house.line.find_unswept().unwrap();
    assert_eq!(house.line.sweep(), Ok(0), "too early");
    house.clock.advance_ms(TEN_MINUTES_MS);
    assert_eq!(house.line.sweep(), Ok(1));
    assert_eq!(files_in(&world.spool_folder().join("live")), Vec::<String>::new());
}

#[test]
fn a_clock_that_is_set_back_does_not_keep_what_is_committed() {
    let mut world = World::new("sweep-clock");
    let (house, id) = asked(&mut world, Commitment::Required, &[Says::Kept], &[&photo(1)]);
    assert_eq!(house.stage(id), Stage::Committed);
    house.clock.advance_ms(-365 * 24 * 60 * 60 * 1_000);
    assert_eq!(house.line.sweep(), Ok(0));
    house.clock.advance_ms(6 * TEN_MINUTES_MS);
    assert_eq!(house.line.sweep(), Ok(1));
}

#[test]
fn what_an_archive_took_that_is_not_asked_to_commit_is_erased_an_hour_later() {
    let world = World::new("on-its-word");
    let house = world.start();
    let id = house.send(&claim("4711"), Some("key-1"), &[&photo(1)]).unwrap().record.id();
    let held = house.send(&claim("815"), None, &[&photo(2)]).unwrap().record.id();
    house.settle();
    assert_eq!((house.stage(id), house.stage(held)), (Stage::Forwarded, Stage::Held));
    house.clock.advance_ms(6 * TEN_MINUTES_MS - 1);
    assert_eq!(house.line.sweep(), Ok(0));
    drop(house);
    let house = world.start();
    house.clock.advance_ms(6 * TEN_MINUTES_MS);
    house.line.find_unswept().unwrap();
    assert_eq!(house.line.sweep(), Ok(1));
    assert_eq!(files_in(&world.spool_folder().join("live")).len(), 1, "what is held stays");
    let again = house.send(&claim("4711"), Some("key-1"), &[&photo(1)]).unwrap();
    assert!(again.replayed && again.record.id() == id, "the key went with the bytes");
    house.settle();
    assert_eq!(world.shelf.sends(), 1);
}

#[test]
fn nothing_is_erased_that_the_archive_may_not_have() {
    // given what is configured and what the archive says: one item kept, or none
    for (n, commitment) in [Commitment::Required, Commitment::Ask].into_iter().enumerate() {
        for is_one_kept in [true, false] {
            let mut world = World::new(&format!("stays-{n}-{is_one_kept}"));
            let (house, id) = asked(&mut world, commitment, &[], &[&photo(1), &photo(2)]);
            let (transaction, wanted) = world.shelf.last_question();
            if is_one_kept {
                let report = Report { transaction, committed: wanted[..1].to_vec(), failed: Vec::new() };
                assert_eq!(house.line.report(&["pacs"], &report), Ok(()));
            }
            house.settle();
            let held = house.send(&claim("815"), None, &[&photo(3)]).unwrap().record.id();
            for _ in 0..50 {
                house.clock.advance_ms(TEN_MINUTES_MS);
                house.settle();
                house.line.find_unswept().unwrap();
                assert_eq!(house.line.sweep(), Ok(0));
            }
            assert_eq!((house.stage(id), house.stage(held)), (Stage::Forwarded, Stage::Held));
            assert_eq!(files_in(&world.spool_folder().join("live")).len(), 4);
        }
    }
}

#[test]
fn what_was_refused_for_good_goes_on_where_it_was_when_a_person_retries() {
    let world = World::new("retry");
    let house = world.start();
    *world.shelf.refuse.lock().unwrap() = vec![FailureCode::ArchiveRefusedObject];
    let id = house.send(&claim("4711"), None, &[&photo(1)]).unwrap().record.id();
    house.settle();
    assert_eq!(house.stage(id), Stage::Held);
    let record = house.decide(id, Act::Retry).unwrap();
    assert_eq!((record.stage(), record.items[0].failure.clone()), (Stage::Wrapped, None));
    house.settle();
    let record = house.record(id);
    assert_eq!((record.stage(), record.items[0].schedule.attempts), (Stage::Forwarded, 2));
    let lines: Vec<_> = record.history.iter().filter_map(|e| Some((e.by.as_deref()?, e.why.as_deref()?))).collect();
    assert_eq!(lines, [("Desk, Dora", "retried: the ward called")]);
    let nothing = house.decide(id, Act::Retry).unwrap_err();
    assert_eq!((nothing.code, nothing.is_retryable()), (RefusalCode::Conflict, false));
}

#[test]
fn what_waits_for_its_time_is_due_now_when_a_person_retries() {
    let world = World::new("now");
    let house = world.start();
    *world.shelf.refuse.lock().unwrap() = vec![FailureCode::ArchiveUnreachable];
    let id = house.send(&claim("4711"), None, &[&photo(1)]).unwrap().record.id();
    house.settle();
    assert_eq!(house.stage(id), Stage::Wrapped);
    house.decide(id, Act::Retry).unwrap();
    house.settle(); // the clock stands still
    assert_eq!(house.stage(id), Stage::Forwarded);
}

#[test]
fn what_a_person_holds_stays_whatever_the_hospital_says() {
    let world = World::new("hold");
    let house = world.start();
    let id = house.send(&claim("815"), None, &[&photo(1)]).unwrap().record.id();
    house.settle();
    house.decide(id, Act::Hold).unwrap();
    world.hospital.admit("815", "1999-09-09");
    house.line.wake(house.journal.waiting(&["815".into()]).unwrap());
    house.settle();
    let record = house.record(id);
    assert_eq!(record.items[0].failure.as_ref().map(|f| f.code), Some(FailureCode::HeldByPerson));
    assert_eq!((record.stage(), world.stored()), (Stage::Held, 0));
    assert_eq!(house.decide(id, Act::Hold).unwrap_err().code, RefusalCode::Conflict);
    house.decide(id, Act::Retry).unwrap();
    house.settle();
    assert_eq!(house.stage(id), Stage::Forwarded);
}

#[test]
fn a_decision_about_what_is_being_sent_waits_for_the_end_of_the_attempt() {
    let world = World::new("in-hand");
    let house = world.start();
    *world.shelf.refuse.lock().unwrap() = vec![FailureCode::ArchiveBusy];
    let id = house.send(&claim("4711"), None, &[&photo(1)]).unwrap().record.id();
    // Not even in the journal yet.
    let awaited = house.line.ask(decision(id, Act::Hold)).unwrap();
    house.line.step();
    house.line.step();
    assert_eq!(house.stage(id), Stage::Identified, "held while a worker has it");
    assert!(house.line.work_one());
    house.line.step();
    assert_eq!(house.line.answer(&awaited).unwrap().stage(), Stage::Held);
    house.clock.advance_ms(3_600_000);
    house.settle();
    assert_eq!((house.stage(id), world.stored()), (Stage::Held, 0));
}

#[test]
fn what_is_discarded_is_erased_also_when_a_crash_comes_in_between() {
    let world = World::new("discard");
    let live = world.spool_folder().join("live");
    let house = world.start();
    let id = house.send(&claim("815"), None, &[&photo(1), &photo(2)]).unwrap().record.id();
    let sent = house.send(&claim("4711"), None, &[&photo(3)]).unwrap().record.id();
    house.settle();
    assert_eq!(house.decide(sent, Act::Discard).unwrap_err().code, RefusalCode::Conflict, "only what is held");
    let names: Vec<String> = files_in(&live).into_iter().filter(|n| n.starts_with(&id.to_string())).collect();
    let bytes: Vec<Vec<u8>> = names.iter().map(|n| std::fs::read(live.join(n)).unwrap()).collect();
    assert_eq!(names.len(), 2);
    assert_eq!(house.decide(id, Act::Discard).unwrap().stage(), Stage::Discarded);
    let is_there = || files_in(&live).iter().any(|n| n.starts_with(&id.to_string()));
    assert!(!is_there(), "discarded, and still on the disk");
    drop(house);
    // The row was written, the power went, the files are still there.
    for (name, bytes) in names.iter().zip(&bytes) {
        std::fs::write(live.join(name), bytes).unwrap();
    }
    let house = world.start();
    assert!(!is_there(), "the next start did not finish the discard");
    house.settle();
    assert_eq!((house.stage(id), house.stage(sent), world.stored()), (Stage::Discarded, Stage::Forwarded, 1));
}

#[test]
fn bytes_that_another_item_of_the_capture_needs_stay_until_it_is_at_the_archive() {
    let world = World::new("mixed");
    let live = world.spool_folder().join("live");
    let house = world.start();
    *world.shelf.refuse.lock().unwrap() = vec![FailureCode::ArchiveUnreachable, FailureCode::ArchiveRefusedObject];
    let id = house.send(&claim("4711"), None, &[&photo(1), &photo(2)]).unwrap().record.id();
    house.settle();
    house.decide(id, Act::Discard).unwrap();
    assert!(!files_in(&live).is_empty(), "the second photo still waits");
    house.clock.advance_ms(3_600_000);
    house.settle();
    let record = house.record(id);
    assert_eq!((record.items[0].stage, record.items[1].stage), (Stage::Discarded, Stage::Forwarded));
    assert_eq!((files_in(&live), world.stored()), (Vec::<String>::new(), 1));
}

#[test]
fn bytes_beside_a_discarded_photo_stay_until_the_archive_has_committed_to_the_other() {
    let mut world = World::new("mixed-commitment");
    *world.shelf.refuse.lock().unwrap() = vec![FailureCode::ArchiveRefusedObject];
    let (house, id) = asked(&mut world, Commitment::Required, &[], &[&photo(1), &photo(2)]);
    assert_eq!(stages(&house, id), [Stage::Held, Stage::Forwarded]);
    house.decide(id, Act::Discard).unwrap();
    let live = world.spool_folder().join("live");
    assert!(!files_in(&live).is_empty(), "the archive may still say that it lost the second photo");
    let (transaction, committed) = world.shelf.last_question();
    house.line.report(&["pacs"], &Report { transaction, committed, failed: Vec::new() }).unwrap();
    house.settle();
    assert_eq!((stages(&house, id), files_in(&live)), (vec![Stage::Discarded, Stage::Committed], Vec::<String>::new()));
}

#[test]
fn an_assigned_capture_goes_to_the_archive_under_its_new_patient_and_no_other() {
    let mut world = World::new("assign");
    world.hospital.admit("0815", "1999-09-09");
    let house = world.start();
    let wrong = json!({"patient": {"id": "4711", "issuer": "HOSP"}, "birth_date": "1999-09-09", "department": "derm"});
    let id = house.send(&wrong, None, &[&photo(1)]).unwrap().record.id();
    house.settle();
    assert_eq!(house.stage(id), Stage::Held);
    let unknown = house.decide(id, to_patient("nobody")).unwrap_err();
    assert_eq!((unknown.code, house.stage(id)), (RefusalCode::UnknownPatient, Stage::Held));
    assert_eq!(house.decide(id, to_patient("0815")).unwrap().stage(), Stage::Identified);
    house.settle();
    let record = house.record(id);
    assert_eq!(record.stage(), Stage::Forwarded);
    assert!(record.history.iter().any(|e| e.why.as_deref() == Some("assigned: the ward called")));
    let copy = world.shelf.stored.lock().unwrap().values().next().expect("one object")[0].clone();
    let holds = |text: &[u8]| copy.windows(text.len()).any(|w| w == text);
    // Patient ID (0010,0020), LO.
    assert!(holds(b"\x10\0\x20\0LO\x04\x000815"), "the object names the wrong patient");
    // The decision is sealed beside the photo: a lost index changes nothing.
    drop(house);
    world.store = Arc::new(MemoryStore::default());
    let house = world.start();
    house.settle();
    assert_eq!(house.record(id).study_instance_uid, record.study_instance_uid);
    let stored = world.shelf.stored.lock().unwrap();
    assert_eq!(stored.values().next().unwrap(), &[copy.clone(), copy]);
}

#[test]
fn nobody_gets_another_patient_once_an_attempt_was_made() {
    let mut world = World::new("too-late");
    world.hospital.admit("0815", "1999-09-09");
    let house = world.start();
    *world.shelf.refuse.lock().unwrap() = vec![FailureCode::ArchiveAborted; 2];
    let id = house.send(&claim("4711"), None, &[&photo(1)]).unwrap().record.id();
    house.settle();
    let refused = |house: &House| {
        let refusal = house.decide(id, to_patient("0815")).unwrap_err();
        assert_eq!((refusal.code, refusal.is_retryable()), (RefusalCode::Conflict, false));
    };
    refused(&house);
    house.decide(id, Act::Hold).unwrap();
    refused(&house);
    drop(house);
    // After a lost index nobody knows whether it was sent, so it is the same.
    world.store = Arc::new(MemoryStore::default());
    refused(&world.start());
}

#[test]
fn a_phone_whose_clock_is_ahead_dates_nothing_and_a_note_says_so() {
    let table = [
        // given the times of two files and of the claim, when it is 2026-03-01 13:00 at the site, then the day of
        // the study and of both objects, and whose time a note is about
        (["2026-02-28T09:00:00", "2026-03-01T13:05:00"], "2026-03-01T12:00:00Z", "20260228", ["20260228", "20260301"], vec![]),
        (
            ["2027-03-01T09:00:00", "2026-02-28T09:00:00"],
            "2026-02-27T12:00:00Z",
            "20260228",
            ["20260227", "20260228"],
            vec!["File 1"],
        ),
        (
            ["2026-03-02T09:00:00", "2026-03-02T09:00:01"],
            "2026-03-02T09:00:00Z",
            "20260301",
            ["20260301", "20260301"],
            vec!["File 1", "File 2", "The claim"],
        ),
    ];
    for (number, (files, claimed, study, objects, noted)) in table.into_iter().enumerate() {
        let mut world = World::new(&format!("ahead-{number}"));
        let house = world.start();
        let mut claim = claim("4711");
        claim["taken_at"] = json!(claimed);
        let taken = |text: &str| {
            let taken = parse_taken_at(text).unwrap();
            exif::with_location(&jpeg(32, 32, 90), 47.137_219, 9.523_847, &taken)
        };
        let [one, other] = files.map(taken);
        let id = house.send(&claim, None, &[&one, &other]).unwrap().record.id();
        house.settle();
        let record = house.record(id);
        assert_eq!((record.stage(), record.notes.len()), (Stage::Forwarded, noted.len()), "{number}: {:?}", record.notes);
        for (note, whose) in record.notes.iter().zip(noted) {
            assert!(note.starts_with(whose) && note.contains("clock was ahead"), "{number}: {note}");
        }
        drop(house);
        world.store = Arc::default();
        assert_eq!(world.start().record(id).notes, record.notes, "{number}: the index was lost");
        let shelf = (world.shelf.taken.lock().unwrap(), world.shelf.stored.lock().unwrap());
        let sent: Vec<_> = shelf.0.iter().map(|uid| shelf.1[uid][0].as_slice()).collect();
        let day = |element: u8| sent.iter().map(move |object| date(object, element)).collect::<Vec<_>>();
        assert_eq!((day(0x20), day(0x23)), (vec![study; 2], objects.to_vec()), "{number}");
    }
}

/// The date (0008,00xx) of an object in Explicit VR Little Endian.
fn date(object: &[u8], element: u8) -> &str {
    let head = [8, 0, element, 0, b'D', b'A', 8, 0];
    let at = object.windows(8).position(|piece| piece == head).unwrap() + 8;
    std::str::from_utf8(&object[at..at + 8]).unwrap()
}

#[test]
fn what_was_refused_for_its_class_alone_can_still_be_another_patients() {
    let world = World::new("no-class");
    world.hospital.admit("0815", "1999-09-09");
    let house = world.start();
    *world.shelf.refuse.lock().unwrap() = vec![FailureCode::ArchiveRefusedClass];
    let id = house.send(&claim("4711"), None, &[&photo(1)]).unwrap().record.id();
    house.settle();
    assert_eq!(house.stage(id), Stage::Held);
    house.decide(id, to_patient("0815")).unwrap();
    house.settle();
    assert_eq!((house.stage(id), world.stored()), (Stage::Forwarded, 1));
}

#[test]
fn an_order_of_the_claim_that_is_another_patients_is_left_out_and_noted() {
    let world = World::new("order");
    let house = world.start();
    let mixed = json!({"patient": {"id": "4711"}, "order": {"accession": "A9"}, "department": "derm"});
    let id = house.send(&mixed, None, &[&photo(1)]).unwrap().record.id();
    house.settle();
    assert_eq!(house.stage(id), Stage::Held, "the hospital does not know the order");
    house.decide(id, to_patient("4711")).unwrap();
    house.settle();
    let record = house.record(id);
    assert_eq!((record.stage(), record.notes.len()), (Stage::Forwarded, 1));
    assert!(record.notes[0].contains("order"), "{}", record.notes[0]);
}

#[test]
fn an_orders_study_goes_on_under_the_survivor_of_a_merge_and_under_nobody_else() {
    let world = World::new("merged-study");
    world.hospital.order("A77", "4711", "1.2.3.4");
    let house = world.start();
    let send = |number| {
        let ordered = json!({"order": {"accession": "A77"}, "department": "derm"});
        let id = house.send(&ordered, None, &[&photo(number)]).unwrap().record.id();
        house.settle();
        id
    };
    let first = send(1);
    world.hospital.admit("0815", "1970-03-01");
    world.hospital.merge("4711", "0815");
    let second = send(2);
    assert_eq!((house.stage(first), house.stage(second)), (Stage::Forwarded, Stage::Forwarded));
    assert_eq!(house.record(first).study_instance_uid, house.record(second).study_instance_uid);
    world.hospital.admit("9999", "1970-03-01");
    world.hospital.order("A77", "9999", "1.2.3.4");
    let third = send(3);
    assert_eq!(house.leg(third, "pacs"), (Stage::Held, Some(FailureCode::IdentityDisagrees)), "a study changed hands");
}

#[test]
fn what_was_identified_is_not_carried_over_to_another_patient_with_its_order() {
    let world = World::new("moved-order");
    world.hospital.admit("0815", "1999-09-09");
    world.hospital.order("A77", "4711", "");
    let house = world.start();
    let ordered = json!({"order": {"accession": "A77"}, "department": "derm"});
    let first = house.send(&ordered, None, &[&photo(1)]).unwrap().record.id();
    house.settle();
    *world.shelf.away.lock().unwrap() = Some(FailureCode::ArchiveUnreachable);
    let second = house.send(&ordered, None, &[&photo(2)]).unwrap().record.id();
    house.settle();
    assert_eq!((house.stage(first), house.stage(second)), (Stage::Forwarded, Stage::Wrapped));
    world.hospital.order("A77", "0815", "");
    *world.shelf.away.lock().unwrap() = None;
    for _ in 0..10 {
        house.clock.advance_ms(5 * 60_000);
        house.settle();
    }
    let held = (Stage::Held, Some(FailureCode::IdentityDisagrees));
    assert_eq!((house.leg(second, "pacs"), world.shelf.sends()), (held, 1 + 1), "one study of two patients");
    // A person knows whom it shows; then it is in a study of that patient.
    house.decide(second, to_patient("0815")).unwrap();
    house.settle();
    assert_eq!(house.stage(second), Stage::Forwarded);
    assert_ne!(house.record(first).study_instance_uid, house.record(second).study_instance_uid);
    // Where the hospital takes the move back, it goes on as it was.
    *world.shelf.away.lock().unwrap() = Some(FailureCode::ArchiveUnreachable);
    world.hospital.order("A78", "4711", "");
    let third = json!({"order": {"accession": "A78"}, "department": "derm"});
    let third = house.send(&third, None, &[&photo(3)]).unwrap().record.id();
    house.settle();
    let study = house.record(third).study_instance_uid;
    world.hospital.order("A78", "0815", "");
    *world.shelf.away.lock().unwrap() = None;
    house.clock.advance_ms(5 * 60_000);
    house.settle();
    assert_eq!(house.stage(third), Stage::Held);
    world.hospital.order("A78", "4711", "");
    house.clock.advance_ms(5 * 60_000);
    house.settle();
    assert_eq!((house.stage(third), house.record(third).study_instance_uid), (Stage::Forwarded, study));
}

#[test]
fn a_crash_between_the_sealed_binding_and_its_row_never_tells_of_another_study_than_was_sent() {
    let world = World::new("torn");
    world.hospital.admit("0815", "1999-09-09");
    let visits = ["V1", "V2"].map(|id| Visit { id: id.into(), ..Visit::default() });
    world.hospital.0.lock().unwrap().get_mut("4711").unwrap().visits = visits.to_vec();
    let house = world.start_with(Vec::new());
    let id = house.send(&claim("4711"), None, &[&photo(1)]).unwrap().record.id();
    house.settle();
    let binding = world.spool_folder().join("live").join(format!("{id}.binding"));
    let (first, sealed) = (house.record(id), std::fs::read(&binding).unwrap());
    let second = house.decide(id, to_patient("0815")).unwrap();
    assert_ne!(first.study_instance_uid, second.study_instance_uid, "a study changed hands");
    assert_eq!((first.notes.len(), second.notes.len()), (1, 0), "of two visits none is chosen");
    drop(house);
    // Row and sealed binding are of two decisions, as a crash may leave them.
    std::fs::write(&binding, sealed).unwrap();
    let house = world.start();
    house.decide(id, Act::Retry).unwrap();
    house.settle();
    let record = house.record(id);
    assert_eq!((record.stage(), record.study_instance_uid), (Stage::Forwarded, first.study_instance_uid));
    assert_eq!(record.notes, first.notes);
    let stored = world.shelf.stored.lock().unwrap();
    let object = &stored.values().next().unwrap()[0];
    assert!(object.windows(12).any(|w| w == b"\x10\0\x20\0LO\x04\x004711"));
}

#[test]
fn whom_a_person_named_is_asked_for_again_and_never_the_claims_patient() {
    let world = World::new("assigned-again");
    world.hospital.admit("0815", "1999-09-09");
    let house = world.start();
    *world.shelf.refuse.lock().unwrap() = vec![FailureCode::ArchiveUnreachable];
    let id = house.send(&claim("4711"), None, &[&photo(1)]).unwrap().record.id();
    house.settle();
    assert_eq!(house.stage(id), Stage::Wrapped, "the archive certainly has nothing");
    let study = house.record(id).study_instance_uid;
    house.decide(id, to_patient("0815")).unwrap();
    house.settle();
    assert_ne!(house.record(id).study_instance_uid, study);
    // The hospital takes the patient back, and announces the person again under a corrected date.
    let gone = world.hospital.0.lock().unwrap().remove("0815").unwrap();
    house.clock.advance_ms(3_600_000);
    house.settle();
    assert_eq!((house.stage(id), world.stored()), (Stage::Held, 0), "sent for somebody the hospital does not know");
    world.hospital.admit(gone.identifier.id.expose(), "1988-08-08");
    house.line.facts_changed();
    house.line.wake(vec![id]);
    house.settle();
    assert_eq!(house.stage(id), Stage::Forwarded);
    let stored = world.shelf.stored.lock().unwrap();
    let object = &stored.values().next().expect("one object")[0];
    assert!(object.windows(12).any(|w| w == b"\x10\0\x20\0LO\x04\x000815"), "the object names the claim's patient");
    assert!(object.windows(8).any(|w| w == b"19880808"));
}

#[test]
fn what_a_person_holds_stays_on_every_walk_over_what_is_held() {
    let world = World::new("hold-walk");
    let house = world.start();
    *world.shelf.refuse.lock().unwrap() = vec![FailureCode::ArchiveUnreachable];
    let bound = house.send(&claim("4711"), None, &[&photo(1)]).unwrap().record.id();
    let unknown = house.send(&claim("815"), None, &[&photo(2)]).unwrap().record.id();
    house.settle();
    house.clock.advance_ms(3_600_000); // due, and held in the same round
    house.decide(bound, Act::Hold).unwrap();
    house.decide(unknown, Act::Hold).unwrap();
    world.hospital.0.lock().unwrap().remove("4711");
    world.hospital.admit("815", "1999-09-09");
    house.settle();
    house.clock.advance_ms(3_600_000);
    house.settle();
    for id in [bound, unknown] {
        let record = house.record(id);
        assert_eq!(record.items[0].failure.as_ref().map(|f| f.code), Some(FailureCode::HeldByPerson));
        assert_eq!((record.stage(), world.stored()), (Stage::Held, 0));
    }
}

#[test]
fn what_waits_for_the_archive_leaves_under_the_name_that_the_hospital_has_for_it_then() {
    let world = World::new("corrected");
    let house = world.start();
    *world.shelf.refuse.lock().unwrap() = vec![FailureCode::ArchiveUnreachable];
    let claim = json!({"patient": {"id": "4711", "issuer": "HOSP"}, "department": "derm"});
    let sure = json!({"patient": {"id": "4711", "issuer": "HOSP"}, "birth_date": "1970-03-01", "department": "derm"});
    let id = house.send(&claim, None, &[&photo(1)]).unwrap().record.id();
    house.settle();
    let doubted = house.send(&sure, None, &[&photo(2)]).unwrap().record.id();
    house.settle();
    world.hospital.admit("4711", "1999-09-09"); // the archive has nothing yet
    house.clock.advance_ms(5_000);
    house.settle();
    assert_eq!((house.stage(id), house.stage(doubted)), (Stage::Forwarded, Stage::Held));
    let stored = world.shelf.stored.lock().unwrap();
    let object = &stored.values().next().expect("one object")[0];
    assert!(object.windows(8).any(|w| w == b"19990909"), "the birth date is the old one");
}

#[test]
fn what_waits_for_the_archive_leaves_with_its_order_as_that_is_then() {
    let world = World::new("order-changed");
    let order = |step: &str, study: &str| {
        world.hospital.order("A77", "4711", study);
        world.hospital.1.lock().unwrap().get_mut("A77").unwrap().1.scheduled_step_id = step.into();
    };
    order("SPS-OLD", "1.2.3.4");
    let house = world.start();
    *world.shelf.away.lock().unwrap() = Some(FailureCode::ArchiveUnreachable);
    let ordered = json!({"order": {"accession": "A77"}, "department": "derm"});
    let send = |number| house.send(&ordered, None, &[&photo(number)]).unwrap().record.id();
    let (first, uid) = (send(1), |id| house.record(id).items[0].facts.sop_instance_uid.to_string());
    house.settle();
    order("SPS-NEW", "1.2.3.4");
    *world.shelf.away.lock().unwrap() = None;
    house.clock.advance_ms(100_000);
    house.settle();
    let holds = |id, text: &str| {
        let stored = world.shelf.stored.lock().unwrap();
        stored[&uid(id)][0].windows(text.len()).any(|w| w == text.as_bytes())
    };
    assert!(holds(first, "SPS-NEW") && !holds(first, "SPS-OLD"), "the order as it was");
    // Another study of the order does not take what is bound with it.
    *world.shelf.away.lock().unwrap() = Some(FailureCode::ArchiveUnreachable);
    let second = send(2);
    house.settle();
    order("SPS-THIRD", "1.2.3.5");
    *world.shelf.away.lock().unwrap() = None;
    house.clock.advance_ms(100_000);
    house.settle();
    assert!(holds(second, "SPS-NEW") && !holds(second, "1.2.3.5"), "an object of two studies");
}

#[test]
fn a_barcode_files_into_nothing_that_does_not_bear_it() {
    let world = World::new("barcode");
    let house = world.start();
    let claim = json!({"barcode": "4711", "department": "derm"});
    let id = house.send(&claim, None, &[&photo(1)]).unwrap().record.id();
    house.settle();
    assert_eq!(house.stage(id), Stage::Forwarded);
    let stored = world.shelf.stored.lock().unwrap();
    let object = &stored.values().next().expect("one object")[0];
    // (0008,0050) Accession Number, empty: the patient's only order was not scanned.
    assert!(object.windows(8).any(|w| w == b"\x08\0\x50\0SH\0\0"), "filed under an order that nobody named");
}
