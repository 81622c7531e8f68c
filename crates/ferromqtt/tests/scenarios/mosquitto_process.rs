//! mosquitto in a process of its own.

use std::fs;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The broker's process, and the folder of its files: both go with it.
pub(crate) struct Mosquitto {
    process: Child,
    folder: PathBuf,
}

/// A port that nobody uses at this moment. Not one that the system chooses: it also gives those to connections, before the
/// server is up.
pub(crate) fn free_port() -> u16 {
    loop {
        let random = RandomState::new().build_hasher().finish();
        let port = 20_000 + u16::try_from(random % 12_000).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

impl Mosquitto {
    /// `listeners` are for `mosquitto.conf`, and name the files by their paths in `folder`, which is removed at the end. Returns
    /// when the broker says that it is running; blocks until then.
    pub(crate) fn start(folder: PathBuf, listeners: &str) -> Self {
        fs::create_dir_all(&folder).unwrap();
        let configuration = folder.join("mosquitto.conf");
        let common = "user root\nallow_anonymous true\nlog_dest stderr\nlog_type all\n";
        fs::write(&configuration, format!("{common}{listeners}")).unwrap();
        let search = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin";
        let process = Command::new("mosquitto")
            .env("PATH", search)
            .arg("-c")
            .arg(configuration)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("mosquitto starts; install it with: apt-get install mosquitto");
        let mut broker = Self { process, folder };
        let mut log = BufReader::new(broker.process.stderr.take().unwrap());
        let mut told = String::new();
        while !told.contains("running") {
            let read = log.read_line(&mut told).unwrap();
            assert!(read > 0, "mosquitto did not start:\n{told}");
        }
        // Its log is read on, so that it never waits for that.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        broker
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}
