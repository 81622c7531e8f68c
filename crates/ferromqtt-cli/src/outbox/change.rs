//! Changing an outbox: by whoever has it open, or without.

use std::path::Path;
use std::time::{Duration, Instant};

use ferromqtt_proto::{Publish, SessionChange};
use ferromqtt_store::{
    LogStore, OpenedStore, StoreChange, StoreCommand, StoreError, StoreOptions, give_commands,
};

use super::output::{OutboxEnd, count, print_done, say};

/// How many changes are recorded at once, at most.
const BATCH_CHANGES: usize = 4_096;

/// How many bytes of messages. One message is recorded in any case.
const BATCH_BYTES: usize = 1 << 20;

/// How long to wait until the owner has taken commands. It looks once a second.
const PATIENCE: Duration = Duration::from_secs(3);

/// How often to look whether it has.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Who changes an outbox.
pub(crate) enum OutboxAccess {
    /// This process, which has it now.
    Own(Box<OpenedStore>),
    /// The program that has it: its name for people.
    Owner(String),
}

impl OutboxAccess {
    /// Takes an outbox that is there, unless a program has it.
    pub(crate) fn take(path: &Path) -> Result<Self, OutboxEnd> {
        super::expect_store(path)?;
        expect_own(path, user())?;
        match open(path) {
            Ok(store) => Ok(Self::Own(Box::new(store))),
            Err(StoreError::InUse { holder, .. }) => Ok(Self::Owner(holder)),
            Err(error) => Err(error.into()),
        }
    }
}

/// The user of this process, where the system says so.
#[cfg(target_os = "linux")]
fn user() -> Option<u32> {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").ok().map(|it| it.uid())
}

#[cfg(not(target_os = "linux"))]
fn user() -> Option<u32> {
    None
}

/// Refuses a folder of another user than this process has: its client could not read files that are made here, and would not start.
#[cfg(unix)]
fn expect_own(path: &Path, user: Option<u32>) -> Result<(), OutboxEnd> {
    use std::os::unix::fs::MetadataExt;
    match (std::fs::metadata(path), user) {
        (Ok(folder), Some(user)) if folder.uid() != user => Err(OutboxEnd::Failed(format!(
            "{} belongs to user {}, whose client could not read what user {user} writes; run this as user {}",
            path.display(),
            folder.uid(),
            folder.uid()
        ))),
        _ => Ok(()),
    }
}

#[cfg(not(unix))]
fn expect_own(_path: &Path, _user: Option<u32>) -> Result<(), OutboxEnd> {
    Ok(())
}

/// Opens an outbox for an import, which makes it where there is none.
pub(crate) fn open_or_make(path: &Path) -> Result<OpenedStore, OutboxEnd> {
    expect_own(path, user())?;
    Ok(open(path)?)
}

/// Opens an outbox. Damage is reported here: it counts as reported as soon as something is recorded.
fn open(path: &Path) -> Result<OpenedStore, StoreError> {
    let store = LogStore::open(path, StoreOptions::new())?;
    let damages = store.new_damages().len() as u64;
    if damages > 0 {
        let places = count(damages, "place");
        say(&format!(
            "the outbox is damaged in {places}; 'ferromqtt outbox check' says what is lost"
        ));
    }
    Ok(store)
}

/// Changes that are recorded a batch at a time: what belongs together in one frame, which is there as a whole or not at all.
pub(crate) struct Batch {
    changes: Vec<StoreChange>,
    bytes: usize,
    messages: u64,
    /// Messages that are on record.
    pub(crate) recorded: u64,
}

impl Batch {
    pub(crate) const fn new() -> Self {
        Self {
            changes: Vec::new(),
            bytes: 0,
            messages: 0,
            recorded: 0,
        }
    }

    /// Adds the changes of one message, and records what there is if that is enough.
    pub(crate) fn add(
        &mut self,
        store: &mut OpenedStore,
        changes: impl IntoIterator<Item = StoreChange>,
    ) -> Result<(), StoreError> {
        for change in changes {
            self.bytes += match &change {
                StoreChange::Session(SessionChange::Accepted { publish, .. }) => {
                    publish.memory_size()
                }
                _ => 0,
            };
            self.changes.push(change);
        }
        self.messages += 1;
        match self.changes.len() >= BATCH_CHANGES || self.bytes >= BATCH_BYTES {
            true => self.record(store),
            false => Ok(()),
        }
    }

    /// Records what is left.
    pub(crate) fn record(&mut self, store: &mut OpenedStore) -> Result<(), StoreError> {
        if !self.changes.is_empty() {
            store.record(&self.changes)?;
        }
        self.changes.clear();
        self.recorded += self.messages;
        (self.bytes, self.messages) = (0, 0);
        Ok(())
    }

    /// How far it came when recording has failed, for the end of a sentence.
    pub(crate) fn progress(&self, error: &StoreError) -> String {
        let recorded = count(self.recorded, "message");
        match error {
            StoreError::Disk { error, .. } if error.is_full() => format!("{recorded} before that"),
            _ => format!(
                "{recorded} before that, and perhaps the next {}",
                self.messages
            ),
        }
    }
}

/// A message to accept at the time `now`. Its Message Expiry Interval is what is left until `expires_at`.
pub(crate) fn accept(
    key: u64,
    mut publish: Publish,
    expires_at: Option<u64>,
    keep_latest: bool,
    now: u64,
) -> StoreChange {
    let expires_in = expires_at.map(|at| Duration::from_millis(at.saturating_sub(now)));
    let interval = (publish.properties.as_deref_mut())
        .and_then(|properties| properties.message_expiry_interval.as_mut());
    if let (Some(left), Some(interval)) = (expires_in, interval) {
        let seconds = left.as_secs() + u64::from(left.subsec_nanos() > 0);
        *interval = u32::try_from(seconds).unwrap_or(u32::MAX);
    }
    StoreChange::Session(SessionChange::Accepted {
        key,
        publish,
        expires_in,
        keep_latest,
    })
}

/// Whether a message can no longer be sent in time.
pub(crate) fn is_expired(expires_at: Option<u64>, now: u64) -> bool {
    expires_at.is_some_and(|at| at <= now)
}

/// Asks the owner of an outbox, and prints what it was asked for: `what` is for after "to".
pub(crate) fn ask_owner(
    path: &Path,
    holder: &str,
    commands: &[StoreCommand],
    what: &str,
) -> Result<(), OutboxEnd> {
    if commands.is_empty() {
        return print_done("nothing to do");
    }
    for some in commands.chunks(BATCH_CHANGES) {
        give_commands(path, some.iter().copied()).map_err(|error| {
            let shown = path.display();
            OutboxEnd::Failed(format!(
                "cannot give {holder} commands in {shown}: {error}; run this as the user who owns the folder"
            ))
        })?;
    }
    print_done(&format!("asked {holder} to {what}"))?;
    if !is_taken(path) {
        say(&format!(
            "{holder} has not looked for 3 s; it does what it was asked for when it does, or the next program that opens the outbox"
        ));
    }
    Ok(())
}

/// Waits until the owner has taken the commands.
fn is_taken(path: &Path) -> bool {
    let commands = path.join("commands");
    let until = Instant::now() + PATIENCE;
    loop {
        match std::fs::metadata(&commands) {
            Ok(meta) if meta.len() > 0 => {}
            _ => return true,
        }
        if Instant::now() >= until {
            return false;
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}

#[cfg(test)]
mod tests {
    use ferromqtt_store::{DiskError, DiskOperation};

    use super::*;

    fn failure(kind: std::io::ErrorKind) -> StoreError {
        StoreError::Disk {
            path: "data/outbox".into(),
            error: DiskError {
                operation: DiskOperation::Write,
                segment: Some(1),
                kind,
                reason: kind.to_string(),
            },
        }
    }

    #[test]
    fn what_is_known_to_be_recorded_is_told_from_what_may_be() {
        let batch = Batch {
            changes: Vec::new(),
            bytes: 0,
            messages: 7,
            recorded: 100,
        };
        let full = batch.progress(&failure(std::io::ErrorKind::StorageFull));
        assert_eq!(full, "100 messages before that");
        let failed = batch.progress(&failure(std::io::ErrorKind::Other));
        assert_eq!(failed, "100 messages before that, and perhaps the next 7");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_folder_of_another_user_is_refused_with_that_user() {
        let folder = std::env::temp_dir().join(format!("ferromqtt-own-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let own = user().unwrap();
        let (same, other) = (
            expect_own(&folder, Some(own)),
            expect_own(&folder, Some(own + 1)),
        );
        std::fs::remove_dir(&folder).unwrap();
        assert!(same.is_ok());
        let Err(OutboxEnd::Failed(text)) = other else {
            panic!("{other:?}");
        };
        let said = format!(
            "belongs to user {own}, whose client could not read what user {} writes",
            own + 1
        );
        assert!(text.contains(&said), "{text}");
        assert!(expect_own(&folder, Some(own + 1)).is_ok(), "it is made");
    }
}
