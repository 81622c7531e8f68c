//! No text shows what a message holds, or what is in the files.

use bytes::Bytes;
use ferromqtt_proto::{Publish, SessionChange};
use ferromqtt_store::{
    AcceptedMessage, DiskError, DiskOperation, LogRecord, ReadError, Store, StoreChange,
    StoreEntry, StoreError, SubmitError,
};

use crate::folder::{Folder, accepted};
use crate::markers::*;
use crate::world::publish;

fn secret() -> Publish {
    Publish {
        payload: Bytes::from_static(MARKER.as_bytes()),
        ..publish(1)
    }
}

#[test]
fn debug_shows_no_payload() {
    let folder = Folder::new();
    let mut program = folder.start();
    let change: StoreChange = accepted(1, secret());
    look(&change);
    let entry = StoreEntry { change, mark: None };
    look(&entry);
    let ticket = program.submit(entry.change);
    program.wait_for_record(ticket);
    program.store.close();
    let refused = program.store.submit(StoreEntry {
        change: accepted(2, secret()),
        mark: None,
    });
    let (entry, error): (_, SubmitError) = refused.unwrap_err();
    look(&entry);
    look_at_error(&error);
    program.wait_for(|store| store.marks().closed.then_some(()));
    let mut opened = folder.open();
    look(&opened.read(1));
    look(&opened.session_changes());
    let sending: SessionChange = SessionChange::Publishing {
        key: 1,
        packet_id: ferromqtt_proto::PacketId::MIN,
        publish: secret(),
    };
    look(&StoreChange::Session(sending));
    let message = AcceptedMessage {
        key: 1,
        accepted_at: 0,
        expires_at: 0,
        keep_latest: false,
        publish: MARKER.as_bytes(),
    };
    look(&message);
    look(&LogRecord::Accepted(message));
    look(&ReadError::Damaged);
}

#[test]
fn errors_name_files_and_not_what_is_in_them() {
    let error = DiskError {
        operation: DiskOperation::Write,
        segment: Some(7),
        kind: std::io::ErrorKind::StorageFull,
        reason: "no space left on device".to_owned(),
    };
    assert_eq!(
        error.to_string(),
        "cannot write (segment 00000007): no space left on device"
    );
    let error = StoreError::Disk {
        path: "data/outbox".into(),
        error,
    };
    look_at_error(&error);
    assert_eq!(
        error.to_string(),
        "the store data/outbox: cannot write (segment 00000007): no space left on device: check the disk, and who may write to \
         the folder"
    );
}

/// Public types that hold no message: numbers, states, or a handle without `Debug`.
const WITHOUT_SECRETS: &str = "StoreCommand Disk SegmentFile FolderDisk FrameAt FrameHeader StoreLog LogError LogStore \
    OpenedStore StoreOptions StoreSync StoreStats StoredInfo StoredPublish StoreReader EndedHow PlacedMessage QuarantineReason \
    SendState StoreCounters StoreIdentity Damage RecoveryError Quarantine FetchRequest FetchedMessage StoreEvent StoreOwner \
    StoreMarks StoreWaker StoreCheck StoreFinding";

#[test]
fn every_public_type_is_known() {
    let test = format!("{}{WITHOUT_SECRETS}", include_str!("secrets.rs"));
    knows_all_exports(include_str!("../../src/lib.rs"), &test);
}
