//! Folders for tests, and a program that waits for its store.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ferromqtt_proto::{Direction, Publish, SessionChange};
use ferromqtt_store::{
    LogStore, OpenedStore, Store, StoreChange, StoreEntry, StoreMarks, StoreOptions, StoreWaker,
};

/// Long enough for the slowest machine; nothing waits that long unless it is broken.
const LIMIT: Duration = Duration::from_secs(60);

/// A folder that is removed in the end.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("ferromqtt-store-{}-{number}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn open(&self) -> OpenedStore {
        LogStore::open(&self.0, StoreOptions::new()).expect("it opens")
    }

    pub(crate) fn start(&self) -> Program {
        Program::start(self.open())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A store, and what its waker says.
pub(crate) struct Program {
    pub(crate) store: LogStore,
    woken: Receiver<()>,
    numbers: u64,
}

impl Program {
    pub(crate) fn start(opened: OpenedStore) -> Self {
        let (wake, woken) = channel();
        let wake = Mutex::new(wake);
        let waker: StoreWaker = Arc::new(move || {
            let _ = wake.lock().unwrap().send(());
        });
        Self {
            store: opened.start(Some(waker)).expect("it starts"),
            woken,
            numbers: 0,
        }
    }

    pub(crate) fn submit(&mut self, change: StoreChange) -> u64 {
        self.numbers += 1;
        let entry = StoreEntry {
            change,
            mark: Some((Direction::Sent, self.numbers)),
        };
        self.store.submit(entry).expect("it is taken")
    }

    pub(crate) fn accept(&mut self, key: u64, publish: Publish) -> u64 {
        self.submit(accepted(key, publish))
    }

    /// Waits until something holds, which the waker must say.
    pub(crate) fn wait_for<T>(&self, mut what: impl FnMut(&LogStore) -> Option<T>) -> T {
        loop {
            if let Some(found) = what(&self.store) {
                return found;
            }
            self.woken.recv_timeout(LIMIT).expect("the waker is called");
        }
    }

    pub(crate) fn wait_for_record(&self, ticket: u64) -> StoreMarks {
        self.wait_for(|store| {
            let marks = store.marks();
            assert_eq!(marks.failure, None);
            (marks.on_record >= ticket).then_some(marks)
        })
    }
}

pub(crate) fn accepted(key: u64, publish: Publish) -> StoreChange {
    StoreChange::Session(SessionChange::Accepted {
        key,
        publish,
        expires_in: None,
        keep_latest: false,
    })
}
