//! A database of SQLite, through rusqlite.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use ferromqtt::{DeadLetter, OnceStore};
use rusqlite::{Connection, ErrorCode, Row, Transaction, TransactionBehavior, params};

pub(crate) const TABLES: &str = "
    CREATE TABLE orders (dish TEXT);
    CREATE TABLE handled (handler TEXT NOT NULL, message_key TEXT NOT NULL, handled_at INTEGER NOT NULL,
        PRIMARY KEY (handler, message_key));
    CREATE TABLE dead_letters (message_key TEXT, payload BLOB NOT NULL, error TEXT NOT NULL);";

/// What the program that is killed does beside the work of a store.
pub(crate) struct Watched {
    /// Whether the row that remembers is inserted: without it there is the mistake that a test has to find.
    pub(crate) remembers: bool,
    pub(crate) found_row: fn(),
    pub(crate) before_commit: fn(),
    pub(crate) behind_commit: fn(),
}

pub(crate) static WATCHED: OnceLock<Watched> = OnceLock::new();

pub(crate) struct Sqlite(pub(crate) Connection);

impl OnceStore for Sqlite {
    type Transaction<'s> = Transaction<'s>;
    type Error = rusqlite::Error;

    async fn begin(&mut self) -> rusqlite::Result<Self::Transaction<'_>> {
        self.0
            .transaction_with_behavior(TransactionBehavior::Immediate)
    }

    async fn remember(
        transaction: &mut Self::Transaction<'_>,
        handler: &str,
        key: &str,
        now: i64,
    ) -> rusqlite::Result<bool> {
        if WATCHED.get().is_some_and(|watched| !watched.remembers) {
            return Ok(true);
        }
        let insert = "INSERT INTO handled VALUES (?, ?, ?) ON CONFLICT DO NOTHING";
        let is_new = transaction.execute(insert, params![handler, key, now])? == 1;
        if let Some(watched) = WATCHED.get()
            && !is_new
            && key != "connecting"
        {
            (watched.found_row)();
        }
        Ok(is_new)
    }

    async fn forget(
        transaction: &mut Self::Transaction<'_>,
        handler: &str,
        before: i64,
        most: i64,
    ) -> rusqlite::Result<()> {
        let delete = "DELETE FROM handled WHERE rowid IN \
            (SELECT rowid FROM handled WHERE handler = ? AND handled_at < ? LIMIT ?)";
        transaction.execute(delete, params![handler, before, most])?;
        Ok(())
    }

    async fn release(
        transaction: &mut Self::Transaction<'_>,
        handler: &str,
        keys: Option<&[String]>,
    ) -> rusqlite::Result<()> {
        let Some(keys) = keys else {
            transaction.execute("DELETE FROM handled WHERE handler = ?", [handler])?;
            return Ok(());
        };
        let delete = "DELETE FROM handled WHERE handler = ? AND message_key = ?";
        let mut delete = transaction.prepare_cached(delete)?;
        for key in keys {
            delete.execute([handler, key])?;
        }
        Ok(())
    }

    async fn bury(
        transaction: &mut Self::Transaction<'_>,
        letter: &DeadLetter<'_>,
    ) -> rusqlite::Result<()> {
        let insert = "INSERT INTO dead_letters VALUES (?, ?, ?)";
        let row = params![letter.key, &letter.message.payload[..], letter.error];
        transaction.execute(insert, row)?;
        Ok(())
    }

    async fn commit(transaction: Self::Transaction<'_>) -> rusqlite::Result<()> {
        if let Some(watched) = WATCHED.get() {
            (watched.before_commit)();
        }
        transaction.commit()?;
        if let Some(watched) = WATCHED.get() {
            (watched.behind_commit)();
        }
        Ok(())
    }

    fn may_try_again(error: &rusqlite::Error) -> bool {
        error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
    }
}

/// Opens a database. What is written survives the program, if not the machine.
pub(crate) fn connect(path: &Path) -> Connection {
    let db = Connection::open(path).unwrap();
    db.pragma_update(None, "synchronous", "OFF").unwrap();
    db
}

/// A file for the database of a test, with tables, and without what former runs have left.
pub(crate) fn new_file(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.db"));
    for ending in ["", "-journal"] {
        let _ = std::fs::remove_file(format!("{}{ending}", path.display()));
    }
    connect(&path).execute_batch(TABLES).unwrap();
    path
}

/// The only column of what a statement selects.
pub(crate) fn column(db: &Connection, select: &str) -> Vec<String> {
    let mut select = db.prepare(select).unwrap();
    let text = |row: &Row<'_>| row.get::<_, String>(0);
    let rows = select.query_map([], text).unwrap();
    rows.map(Result::unwrap).collect()
}

pub(crate) fn orders(db: &Connection) -> Vec<String> {
    column(db, "SELECT dish FROM orders ORDER BY rowid")
}
