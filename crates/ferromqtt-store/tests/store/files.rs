//! The store on real files.

use std::io::Write;
use std::time::Duration;

use ferromqtt_proto::{Direction, OutgoingLimits, PacketId, SessionChange};
use ferromqtt_store::{
    EndedHow, FetchRequest, LogStore, Store, StoreChange, StoreCommand, StoreEntry, StoreError,
    StoreEvent, StoreOptions, StoreReader, StoreSync, SubmitError, give_commands,
};

use crate::folder::{Folder, accepted};
use crate::world::publish;

#[test]
fn what_is_on_record_is_found_by_the_next_process() {
    let folder = Folder::new();
    let mut program = folder.start();
    for key in 1..=1_000 {
        program.accept(key, publish(key));
    }
    let packet_id = PacketId::MIN;
    program.submit(StoreChange::Session(SessionChange::Sending {
        key: 2,
        packet_id,
    }));
    let ticket = program.submit(StoreChange::Ended {
        key: 1,
        how: EndedHow::Acknowledged,
    });
    let marks = program.wait_for_record(ticket);
    assert_eq!((marks.sent, marks.received), (ticket, 0));
    program.store.close_and_wait();
    let mut opened = folder.open();
    let keys: Vec<_> = opened.messages().map(|message| message.key).collect();
    assert_eq!(keys, (2..=1_000).collect::<Vec<_>>());
    for key in keys {
        assert_eq!(opened.read(key).unwrap().unwrap().publish, publish(key));
    }
    let publish = publish(2);
    let sent = SessionChange::Publishing {
        key: 2,
        packet_id,
        publish,
    };
    assert_eq!(opened.session_changes().unwrap(), [sent]);
    assert_eq!(opened.next_key(), 1_001);
    assert_eq!(opened.stats().counters.finished, 1);
}

#[test]
fn marks_of_both_directions_are_counted_apart() {
    let folder = Folder::new();
    let program = folder.start();
    let entry = |direction, number, change| StoreEntry {
        change: StoreChange::Session(change),
        mark: Some((direction, number)),
    };
    let packet_id = PacketId::MIN;
    let received = SessionChange::Received { packet_id };
    let lost = SessionChange::SessionLost {
        direction: Direction::Sent,
    };
    (program.store)
        .submit(entry(Direction::Received, 7, received))
        .unwrap();
    let ticket = (program.store)
        .submit(entry(Direction::Sent, 3, lost))
        .unwrap();
    let marks = program.wait_for_record(ticket);
    assert_eq!((marks.sent, marks.received), (3, 7));
}

#[test]
fn a_store_in_use_is_refused_with_who_has_it() {
    let folder = Folder::new();
    let program = folder.start();
    let Err(error) = LogStore::open(folder.path(), StoreOptions::new()) else {
        panic!("it was opened twice");
    };
    assert!(matches!(error, StoreError::InUse { .. }), "{error:?}");
    let text = error.to_string();
    let process = format!("is in use by process {} (", std::process::id());
    assert!(text.contains(&process), "{text}");
    program.store.close_and_wait();
    drop(folder.open());
}

#[test]
fn the_store_of_another_client_is_refused() {
    let folder = Folder::new();
    let options = |name: &str| StoreOptions::new().client_identifier(name);
    let store = LogStore::open(folder.path(), options("pump-7")).unwrap();
    store.start(None).unwrap().close_and_wait();
    let Err(error) = LogStore::open(folder.path(), options("pump-8")) else {
        panic!("it was opened");
    };
    assert!(
        error
            .to_string()
            .contains("of client 'pump-7', and not of 'pump-8'")
    );
    let store = LogStore::open(folder.path(), options("pump-7")).unwrap();
    assert_eq!(store.identity().unwrap().client_identifier, "pump-7");
}

#[cfg(unix)]
#[test]
fn files_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new();
    let mut program = folder.start();
    let ticket = program.accept(1, publish(1));
    program.wait_for_record(ticket);
    give_commands(folder.path(), [StoreCommand::Drop(9)]).unwrap();
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(folder.path()), 0o700);
    let mut files = 0;
    for file in folder.path().read_dir().unwrap() {
        assert_eq!(mode(&file.unwrap().path()), 0o600);
        files += 1;
    }
    assert_eq!(files, 3); // lock, commands, segment
}

#[test]
fn messages_are_fetched_in_order_and_within_limits() {
    let folder = Folder::new();
    let mut program = folder.start();
    let mut ticket = 0;
    for key in 1..=300 {
        ticket = program.accept(key, publish(key));
    }
    program.wait_for_record(ticket);
    let fetch = |request| {
        assert!(program.store.fetch(request));
        let fetched = program.wait_for(|store| store.take_fetched());
        let message = |it: Result<_, _>| it.expect("readable");
        fetched.into_iter().map(message).collect::<Vec<_>>()
    };
    let limits = |messages, bytes| OutgoingLimits { messages, bytes };
    let request = |from, limits| FetchRequest::Waiting { from, limits };
    let fetched = fetch(request(101, limits(Some(100), None)));
    assert!(fetched.iter().map(|it| it.key).eq(101..=200));
    assert!(fetched.iter().all(|it| it.publish == publish(it.key)));
    assert_eq!(fetch(request(1, limits(None, Some(1)))).len(), 1); // one in any case
    assert_eq!(fetch(request(1, limits(None, None))).len(), 300);
    let keys = fetch(FetchRequest::Keys(vec![7, 9_999, 5]));
    assert!(keys.iter().map(|it| it.key).eq([7, 5]));
}

#[test]
fn one_request_is_answered_at_a_time() {
    let folder = Folder::new();
    let mut program = folder.start();
    let ticket = program.accept(1, publish(1));
    program.wait_for_record(ticket);
    assert!(program.store.fetch(FetchRequest::Keys(vec![1])));
    assert!(!program.store.fetch(FetchRequest::Keys(vec![1])));
    assert_eq!(program.wait_for(|store| store.take_fetched()).len(), 1);
    assert!(program.store.fetch(FetchRequest::Keys(vec![])));
}

#[test]
fn more_than_the_bound_is_refused_with_the_entry_and_taken_later() {
    let folder = Folder::new();
    let mut program = folder.start();
    let mut key = 0;
    let (refused, error) = loop {
        key += 1;
        let mut message = publish(1);
        message.payload = vec![7; 1 << 20].into();
        let entry = StoreEntry {
            change: accepted(key, message),
            mark: None,
        };
        if let Err(refusal) = program.store.submit(entry) {
            break refusal;
        }
        assert!(key < 100_000, "no bound");
    };
    assert_eq!(error, SubmitError::Busy);
    assert_eq!(refused.change, {
        let mut message = publish(1);
        message.payload = vec![7; 1 << 20].into();
        accepted(key, message)
    });
    program.wait_for_record(key - 1);
    let ticket = program.submit(refused.change);
    program.wait_for_record(ticket);
}

#[test]
fn a_closed_store_refuses_and_has_written_all_before() {
    let folder = Folder::new();
    let mut program = folder.start();
    let ticket = program.accept(1, publish(1));
    program.store.close();
    let refused = program.store.submit(StoreEntry {
        change: accepted(2, publish(2)),
        mark: None,
    });
    assert_eq!(refused.unwrap_err().1, SubmitError::Closed);
    let marks = program.wait_for(|store| Some(store.marks()).filter(|marks| marks.closed));
    assert_eq!(marks.on_record, ticket);
    assert_eq!(folder.open().messages().count(), 1);
}

#[test]
fn a_store_is_read_beside_its_owner() {
    let folder = Folder::new();
    let mut program = folder.start();
    // Segments come and go meanwhile.
    for round in 0..60 {
        let first = 1 + round * 100;
        for key in first..first + 100 {
            let mut message = publish(key);
            message.payload = vec![key as u8; 3_000].into();
            program.accept(key, message);
        }
        let mut ticket = 0;
        for key in first..first + 90 {
            ticket = program.submit(StoreChange::Ended {
                key,
                how: EndedHow::Acknowledged,
            });
        }
        let mut reader = StoreReader::open(folder.path()).unwrap();
        let keys: Vec<_> = reader.messages().map(|message| message.key).collect();
        if let Some(Ok(message)) = keys.first().and_then(|key| reader.read(*key)) {
            assert_eq!(message.publish.payload[0], message.key as u8);
        }
        program.wait_for_record(ticket);
    }
    let reader = StoreReader::open(folder.path()).unwrap();
    let keys: Vec<_> = reader.messages().map(|message| message.key).collect();
    let expected: Vec<_> = (1..=6_000).filter(|key| (key - 1) % 100 >= 90).collect();
    assert_eq!(keys, expected);
    assert_eq!(reader.new_damages(), []);
}

#[test]
fn commands_from_beside_come_to_the_owner_once() {
    let folder = Folder::new();
    let program = folder.start();
    let given = [
        StoreCommand::Retry(7),
        StoreCommand::Drop(8),
        StoreCommand::Drop(u64::MAX),
    ];
    give_commands(folder.path(), given).unwrap();
    let mut file = std::fs::File::options()
        .append(true)
        .open(folder.path().join("commands"))
        .unwrap();
    file.write_all(b"later 5\nno command\n\xff\n").unwrap();
    let mut events = Vec::new();
    program.wait_for(|store| {
        events.extend(store.take_events());
        (events.len() >= 3).then_some(())
    });
    let expected: Vec<_> = given.map(StoreEvent::Command).into();
    assert_eq!(events, expected);
    assert_eq!(folder.path().join("commands").metadata().unwrap().len(), 0);
}

#[test]
fn an_interval_syncs_by_itself() {
    let folder = Folder::new();
    let options = StoreOptions::new().sync(StoreSync::Interval(Duration::from_millis(1)));
    let opened = LogStore::open(folder.path(), options).unwrap();
    let mut program = crate::folder::Program::start(opened);
    let ticket = program.accept(1, publish(1));
    program.wait_for_record(ticket);
    let ticket = program.accept(2, publish(2));
    program.wait_for_record(ticket);
    program.store.close_and_wait();
    assert_eq!(folder.open().messages().count(), 2);
}

#[test]
fn other_files_in_the_folder_are_left_alone() {
    let folder = Folder::new();
    std::fs::create_dir_all(folder.path()).unwrap();
    let names = ["notes.txt", "1.log", "00000000.log", "0000000x.log"];
    for name in names {
        std::fs::write(folder.path().join(name), b"mine").unwrap();
    }
    let mut program = folder.start();
    let ticket = program.accept(1, publish(1));
    program.wait_for_record(ticket);
    program.store.close_and_wait();
    for name in names {
        assert_eq!(std::fs::read(folder.path().join(name)).unwrap(), b"mine");
    }
}
