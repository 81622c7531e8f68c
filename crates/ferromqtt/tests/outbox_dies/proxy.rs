//! A proxy that kills the client behind it at a packet: before or after it, or at its next record.

use std::collections::{HashMap, HashSet};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

pub(crate) const CONNACK: u8 = 2;
const PUBLISH: u8 = 3;
const PUBACK: u8 = 4;
pub(crate) const PUBREC: u8 = 5;
pub(crate) const PUBREL: u8 = 6;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Up,
    Down,
}

/// How the client dies of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// The packet is not delivered.
    Before,
    /// Killed as soon as the packet is delivered.
    After,
    /// The packet is delivered, and the next write to the outbox kills.
    AtRecord,
    /// The same, and a part of that write is in the file.
    InRecord,
}

pub(crate) const WAYS: [Way; 4] = [Way::Before, Way::After, Way::AtRecord, Way::InRecord];

/// When the client dies: at the `count`-th packet of a type in one direction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) direction: Direction,
    pub(crate) packet_type: u8,
    pub(crate) count: u32,
    pub(crate) way: Way,
}

/// The client that is to die, and what was seen of it.
struct Aim {
    victim: u32,
    folder: PathBuf,
    moment: Option<Moment>,
    left: u32,
    seen: Seen,
    sent: HashMap<u16, String>,
}

/// What has gone through for one client.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// The payloads of QoS 2 messages that the client has answered by PUBREC, whether the server has got that or not.
    pub(crate) answered: HashSet<String>,
    /// Those of QoS 1 messages that it has answered by PUBACK.
    pub(crate) acknowledged: HashSet<String>,
    /// The payloads of QoS 1 and 2 messages from the server, in their order.
    pub(crate) carried: Vec<String>,
    /// Session Present.
    pub(crate) resumed: Option<bool>,
}

/// The way of one client to a server. It carries MQTT 5.0.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    aim: Arc<Mutex<Aim>>,
    carrying: JoinHandle<()>,
}

impl Proxy {
    /// Carries the one connection that comes.
    pub(crate) fn start(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let aim = Arc::new(Mutex::new(Aim {
            victim: 0,
            folder: PathBuf::new(),
            moment: None,
            left: 0,
            seen: Seen::default(),
            sent: HashMap::new(),
        }));
        let aimed = Arc::clone(&aim);
        let carrying = thread::spawn(move || {
            let (near, _) = listener.accept().unwrap();
            let far = TcpStream::connect(("127.0.0.1", server)).unwrap();
            let (near_in, far_out) = (near.try_clone().unwrap(), far.try_clone().unwrap());
            let of_up = Arc::clone(&aimed);
            let up = thread::spawn(move || carry(Direction::Up, near_in, far_out, &of_up));
            carry(Direction::Down, far, near, &aimed);
            up.join().unwrap();
        });
        Self {
            port,
            aim,
            carrying,
        }
    }

    /// The client that is about to connect, and when it dies.
    pub(crate) fn aim(&self, victim: u32, folder: &Path, moment: Option<Moment>) {
        let mut aim = self.aim.lock().unwrap();
        aim.victim = victim;
        folder.clone_into(&mut aim.folder);
        aim.moment = moment;
        aim.left = moment.map_or(0, |it| it.count);
    }

    /// The client is about to be waited for, and its number may be another process's then.
    pub(crate) fn call_off(&self) {
        self.aim.lock().unwrap().moment = None;
    }

    /// What has gone through, once the client is dead.
    pub(crate) fn finish(self) -> Seen {
        // Ends the wait for one that has died before it came here.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
        self.carrying.join().unwrap();
        self.aim.lock().unwrap().seen.clone()
    }
}

/// Carries one direction until it ends, or until the client has died of a packet.
fn carry(direction: Direction, mut from: TcpStream, mut to: TcpStream, aim: &Mutex<Aim>) {
    let mut bytes = Vec::new();
    let mut buffer = [0; 65_536];
    'carrying: while let Ok(length) = from.read(&mut buffer)
        && length > 0
    {
        bytes.extend_from_slice(&buffer[..length]);
        while let Some((header, end)) = frame(&bytes) {
            let packet: Vec<u8> = bytes.drain(..end).collect();
            let way = aim.lock().unwrap().look(direction, &packet, header);
            if way == Some(Way::Before) || to.write_all(&packet).is_err() || way == Some(Way::After)
            {
                if way == Some(Way::After) {
                    aim.lock().unwrap().kill();
                }
                break 'carrying;
            }
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

/// How long the fixed header and the whole packet are that these bytes begin with, if all of it is there.
fn frame(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut length = 0;
    for (at, byte) in bytes.iter().enumerate().skip(1) {
        length |= usize::from(byte & 0x7f) << (7 * (at - 1));
        if byte & 0x80 == 0 {
            return (bytes.len() > at + length).then_some((at + 1, at + 1 + length));
        }
    }
    None
}

fn number(bytes: &[u8]) -> u16 {
    u16::from_be_bytes([bytes[0], bytes[1]])
}

impl Aim {
    /// Notes a packet before it goes on. Returns how the client dies of it, and prepares that.
    fn look(&mut self, direction: Direction, packet: &[u8], header: usize) -> Option<Way> {
        let (packet_type, body) = (packet[0] >> 4, &packet[header..]);
        match (direction, packet_type) {
            (Direction::Down, CONNACK) => self.seen.resumed = Some(body[0] & 1 == 1),
            (Direction::Down, PUBLISH) if packet[0] & 6 != 0 => {
                let topic_end = 2 + usize::from(number(body));
                let properties = topic_end + 2; // shorter than 128 bytes
                let payload = properties + 1 + usize::from(body[properties]);
                let payload = String::from_utf8(body[payload..].to_vec()).unwrap();
                self.seen.carried.push(payload.clone());
                self.sent.insert(number(&body[topic_end..]), payload);
            }
            (Direction::Up, PUBACK | PUBREC) => {
                let answered = self.sent.get(&number(body)).cloned();
                match packet_type {
                    PUBACK => self.seen.acknowledged.extend(answered),
                    _ => self.seen.answered.extend(answered),
                }
            }
            _ => {}
        }
        let moment = self.moment?;
        if (moment.direction, moment.packet_type) != (direction, packet_type) {
            return None;
        }
        self.left = self.left.checked_sub(1)?;
        if self.left > 0 {
            return None;
        }
        match moment.way {
            Way::Before => self.kill(),
            Way::AtRecord => self.limit_files(0),
            Way::InRecord => self.limit_files(10),
            Way::After => {}
        }
        Some(moment.way)
    }

    fn kill(&self) {
        if self.moment.is_none() {
            return; // it was called off since
        }
        run("kill", &["-KILL", &self.victim.to_string()]);
    }

    /// Lets the next record be deadly: the system sends SIGXFSZ, whose default is to end the process.
    fn limit_files(&self, more: u64) {
        let logs = std::fs::read_dir(&self.folder)
            .unwrap()
            .map(|it| it.unwrap().path());
        let newest = logs
            .filter(|it| it.extension().is_some_and(|it| it == "log"))
            .max();
        let length = newest.unwrap().metadata().unwrap().len() + more;
        let size = format!("--fsize={length}:{length}");
        run(
            "prlimit",
            &["--pid", &self.victim.to_string(), "--core=0", &size],
        );
    }
}

fn run(program: &str, arguments: &[&str]) {
    let status = Command::new(program).args(arguments).status().unwrap();
    assert!(status.success(), "{program} {arguments:?}");
}
