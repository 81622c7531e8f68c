//! Beside the owner of a store, and in its place for a moment: who it is, commands, and changes without its thread.

use ferromqtt_store::{
    EndedHow, LogStore, Store, StoreChange, StoreCommand, StoreError, StoreEvent, StoreOptions,
    StoreReader, give_commands, store_owner,
};

use crate::folder::{Folder, accepted};
use crate::world::publish;

#[test]
fn the_owner_is_told_as_long_as_it_has_the_store() {
    let folder = Folder::new();
    assert_eq!(store_owner(folder.path()).unwrap(), None); // no folder
    let opened = folder.open();
    let owner = store_owner(folder.path()).unwrap().unwrap();
    assert_eq!(owner.process, Some(std::process::id()));
    assert!(owner.since.is_some() && owner.program.is_some());
    drop(opened);
    assert_eq!(store_owner(folder.path()).unwrap(), None); // what it wrote is still there
}

/// Looking for the owner locks for an instant.
#[test]
fn who_looks_for_the_owner_keeps_nobody_out() {
    let folder = Folder::new();
    drop(folder.open());
    let path = folder.path().to_owned();
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let looking = std::thread::spawn(move || {
        while stopped.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
            store_owner(&path).unwrap();
        }
    });
    for _ in 0..200 {
        drop(folder.open());
    }
    drop(stop);
    looking.join().unwrap();
}

#[test]
fn all_of_many_commands_come_to_the_owner() {
    let folder = Folder::new();
    let program = folder.start();
    give_commands(folder.path(), (1..=5_000).map(StoreCommand::Drop)).unwrap();
    let mut commands = Vec::new();
    program.wait_for(|store| {
        for event in store.take_events() {
            match event {
                StoreEvent::Command(command) => commands.push(command),
                other => panic!("{other:?}"),
            }
        }
        (commands.len() >= 5_000).then_some(())
    });
    assert!(commands.into_iter().eq((1..=5_000).map(StoreCommand::Drop)));
}

#[test]
fn changes_without_the_thread_are_on_record_when_the_call_returns() {
    let folder = Folder::new();
    let mut opened = folder.open();
    let changes: Vec<_> = (1..=3).map(|key| accepted(key, publish(key))).collect();
    opened.record(&changes).unwrap();
    let how = EndedHow::Requeued;
    let requeued = [accepted(4, publish(2)), StoreChange::Ended { key: 2, how }];
    opened.record(&requeued).unwrap();
    let keys = |messages: &mut dyn Iterator<Item = ferromqtt_store::StoredInfo>| {
        messages.map(|it| it.key).collect::<Vec<_>>()
    };
    let reader = StoreReader::open(folder.path()).unwrap();
    assert_eq!(keys(&mut reader.messages()), [1, 3, 4]);
    assert_eq!(keys(&mut reader.messages_from(2)), [3, 4]);
    assert_eq!(keys(&mut reader.messages_from(5)), []);
    assert!(reader.now() > 1_600_000_000_000);
    opened.close().unwrap();
    let mut opened = folder.open();
    assert_eq!(opened.read(4).unwrap().unwrap().publish, publish(2));
    assert_eq!(opened.stats().counters.requeued, 1);
    let index = folder.path().join("00000001.log");
    let bytes = std::fs::read(index).unwrap();
    assert_eq!(bytes[bytes.len() - 12..bytes.len() - 8], *b"fmqi"); // it was sealed
}

#[test]
fn damage_is_told_once_without_the_thread_too() {
    let folder = Folder::new();
    let mut opened = folder.open();
    for key in 1..=3 {
        opened.record(&[accepted(key, publish(key))]).unwrap();
    }
    drop(opened);
    let path = folder.path().join("00000001.log");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[40] ^= 1; // in the first frame
    std::fs::write(&path, bytes).unwrap();
    let mut opened = folder.open();
    assert_eq!(opened.new_damages().len(), 1);
    opened.record(&[accepted(9, publish(9))]).unwrap();
    opened.close().unwrap();
    assert_eq!(folder.open().new_damages(), []);
}

#[test]
fn a_store_that_is_open_without_its_thread_is_in_use() {
    let folder = Folder::new();
    let opened = folder.open();
    let again = LogStore::open(folder.path(), StoreOptions::new());
    assert!(matches!(again.err(), Some(StoreError::InUse { .. })));
    opened.close().unwrap();
    drop(folder.open());
}
