//! A random program on a disk that fails: what it stores must be found.

use bytes::Bytes;
use ferromqtt_proto::{Direction, PacketId, Properties, Publish, QoS, SessionChange, TopicName};
use ferromqtt_store::{EndedHow, LogError, QuarantineReason, StoreChange, StoreLog};

use crate::disk::{Fault, Random, SimDisk};
use crate::model::Model;

/// When a program syncs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Syncs {
    Always,
    Sometimes,
    Never,
}

pub(crate) const SEGMENT: u32 = 4_000;

pub(crate) struct World {
    pub(crate) random: Random,
    pub(crate) disk: SimDisk,
    pub(crate) syncs: Syncs,
    pub(crate) faults: bool,
    log: Option<StoreLog<SimDisk>>,
    /// What may be found: what is known to be on the disk, and each state since.
    pub(crate) states: Vec<Model>,
    next_key: u64,
    now: u64,
    pub(crate) crashes: u64,
    pub(crate) refused: u64,
}

/// A message whose contents follow from its key.
pub(crate) fn publish(key: u64) -> Publish {
    let mut random = Random::new(key);
    let length = match random.below(10) {
        0 => random.below(1_500),
        1 => 0,
        _ => random.below(80),
    };
    let payload: Vec<u8> = (0..length).map(|_| random.next() as u8).collect();
    let qos = match random.below(3) {
        0 => QoS::ExactlyOnce,
        _ => QoS::AtLeastOnce,
    };
    let properties = random.one_in(4).then(|| {
        Box::new(Properties {
            message_expiry_interval: Some(60),
            content_type: Some("text/plain".try_into().unwrap()),
            ..Properties::default()
        })
    });
    Publish {
        topic: TopicName::new(format!("topic/{}", key % 7)).unwrap(),
        payload: Bytes::from(payload),
        qos,
        retain: random.one_in(5),
        properties,
    }
}

impl World {
    pub(crate) fn new(seed: u64, syncs: Syncs, faults: bool) -> Self {
        let mut world = Self {
            random: Random::new(seed),
            disk: SimDisk::default(),
            syncs,
            faults,
            log: None,
            states: vec![Model::default()],
            next_key: 1,
            now: 1_700_000_000_000,
            crashes: 0,
            refused: 0,
        };
        world.open();
        world
    }

    fn open(&mut self) {
        let log = StoreLog::open_with(self.disk.clone(), SEGMENT).expect("it opens");
        assert_eq!(log.new_damages(), [], "no damage, and it is reported");
        self.log = Some(log);
    }

    pub(crate) fn latest(&self) -> &Model {
        self.states.last().unwrap()
    }

    fn change(&mut self, model: &Model) -> StoreChange {
        let pending: Vec<u64> = model.messages.keys().copied().collect();
        let any = |random: &mut Random, keys: &[u64]| {
            (!keys.is_empty()).then(|| keys[random.below(keys.len() as u64) as usize])
        };
        let id = |random: &mut Random| PacketId::new(1 + random.below(30) as u16).unwrap();
        let random = &mut self.random;
        let change = match random.below(24) {
            0..=7 => None,
            8..=10 => any(random, &pending)
                .filter(|key| !model.quarantined.contains_key(key))
                .filter(|key| model.sends.get(key).is_none_or(|send| !send.released))
                .map(|key| SessionChange::Sending {
                    key,
                    packet_id: id(random),
                }),
            11 => any(random, &pending)
                .filter(|key| {
                    let send = model.sends.get(key);
                    send.is_some_and(|send| send.id.is_some() && !send.released)
                })
                .map(|key| SessionChange::Releasing { key }),
            12..=17 => {
                // The oldest mostly end first.
                let key = match random.below(4) {
                    0 => any(random, &pending),
                    _ => pending.first().copied(),
                };
                let how = match random.below(4) {
                    0 => EndedHow::Dropped,
                    1 => EndedHow::Refused(0x97),
                    _ => EndedHow::Acknowledged,
                };
                match key {
                    Some(key) if random.one_in(3) => Some(SessionChange::Finished { key }),
                    Some(key) => return StoreChange::Ended { key, how },
                    None => None,
                }
            }
            18 => Some(SessionChange::Received {
                packet_id: id(random),
            }),
            19 => Some(SessionChange::Released {
                packet_id: id(random),
            }),
            20 if random.one_in(2) => Some(SessionChange::SessionLost {
                direction: match random.one_in(2) {
                    true => Direction::Sent,
                    false => Direction::Received,
                },
            }),
            21 => {
                let key = any(random, &pending);
                if let Some(key) = key {
                    let why = QuarantineReason::Refused(0x87);
                    return StoreChange::Quarantined { key, why };
                }
                None
            }
            22 => match random.below(6) {
                0 | 1 => Some(SessionChange::Connecting),
                2 => Some(SessionChange::Resumed),
                3 => any(random, &pending).map(|key| SessionChange::Uncertain { key }),
                _ => None,
            },
            23 if random.one_in(3) => Some(SessionChange::Retired {
                packet_id: id(random),
            }),
            _ => None,
        };
        let key = self.next_key;
        StoreChange::Session(change.unwrap_or_else(|| {
            self.next_key += 1;
            match self.random.below(6) {
                0 => SessionChange::Publishing {
                    key,
                    packet_id: id(&mut self.random),
                    publish: publish(key),
                },
                _ => SessionChange::Accepted {
                    key,
                    publish: publish(key),
                    expires_in: None,
                    keep_latest: self.random.one_in(5),
                },
            }
        }))
    }

    fn batch(&mut self) -> (Vec<StoreChange>, Model) {
        let mut model = self.latest().clone();
        let mut batch = Vec::new();
        if model.identity.is_none() {
            batch.push(StoreChange::Identity("pump-7".to_owned()));
            model.apply(&batch);
        }
        for _ in 0..=self.random.below(12) {
            let change = self.change(&model);
            model.apply(std::slice::from_ref(&change));
            batch.push(change);
        }
        (batch, model)
    }

    /// One more thing happens. Returns whether the program has ended by it.
    pub(crate) fn step(&mut self) -> bool {
        if self.faults && self.random.one_in(12) {
            let fault = [
                Fault::Write,
                Fault::Sync,
                Fault::Folder,
                Fault::Create,
                Fault::Cut,
            ][self.random.below(5) as usize];
            self.disk.fail_next(fault);
        }
        if self.faults && self.random.one_in(20) {
            let more = self.random.below(3_000) as usize;
            let capacity = (!self.random.one_in(3)).then(|| self.disk.length() + more);
            self.disk.set_capacity(capacity);
        }
        // Clocks are set, also to times long ago.
        self.now = match self.random.below(30) {
            0 => 0,
            1 => self.now.saturating_sub(self.random.below(1_000_000_000)),
            2 => self.now + self.random.below(1_000_000_000),
            _ => self.now + self.random.below(100),
        };
        let Some(mut log) = self.log.take() else {
            return true;
        };
        let result = match self.random.below(20) {
            0 => log.seal(),
            1 => log.tidy_now().map(|_| ()),
            2..=3 => log.tidy().map(|_| ()),
            4 if self.syncs == Syncs::Sometimes => log.sync(),
            _ => self.append(&mut log),
        };
        if log.is_synced() && result.is_ok() {
            self.known_synced();
        }
        match result {
            Ok(()) => {}
            Err(LogError::Full(_)) => self.refused += 1,
            Err(_) => return true, // it says so from now on: the program gives up
        }
        self.log = Some(log);
        false
    }

    fn append(&mut self, log: &mut StoreLog<SimDisk>) -> Result<(), LogError> {
        let (batch, model) = self.batch();
        // Also what fails may be on the disk.
        let written = log.append(self.now, &batch);
        match written {
            Err(LogError::Full(error)) => return Err(LogError::Full(error)),
            _ => self.states.push(model),
        }
        written?;
        if self.syncs == Syncs::Always {
            log.sync()?;
        }
        Ok(())
    }

    /// What is synced survives whatever comes.
    pub(crate) fn known_synced(&mut self) {
        self.states.drain(..self.states.len() - 1);
    }

    fn end(&mut self, power: bool) {
        if power {
            self.disk.cut_power(&mut self.random);
        } else {
            self.disk.end_process();
        }
    }

    /// The program ends, as does the power perhaps; another begins, and finds a state that may be found.
    pub(crate) fn crash(&mut self, power: bool) {
        self.crashes += 1;
        self.log = None;
        self.end(power);
        // Some programs end while they open the log, or meet a disk that fails or is full.
        while self.random.one_in(3) {
            match self.random.below(3) {
                0 => {
                    let operation = self.disk.operations() + 1 + self.random.below(6);
                    self.disk.crash_at(operation);
                }
                1 => {
                    let more = self.random.below(600) as usize;
                    self.disk.set_capacity(Some(self.disk.length() + more));
                }
                _ => {
                    let faults = [Fault::Write, Fault::Sync, Fault::Folder, Fault::Create];
                    self.disk.fail_next(faults[self.random.below(4) as usize]);
                }
            }
            match StoreLog::open_with(self.disk.clone(), SEGMENT) {
                Ok(log) => {
                    assert_eq!(log.new_damages(), [], "no damage, and it is reported");
                    self.log = Some(log);
                    if self.random.one_in(2) && !self.disk.fails_from_now_on() {
                        break;
                    }
                }
                Err(error) => assert!(self.disk.fails(), "{error:?}"),
            }
            self.log = None;
            self.end(power);
        }
        if self.log.is_none() {
            self.open();
        }
        let mut log = self.log.take().unwrap();
        let found = Model::of(&mut log);
        let at = self.states.iter().rposition(|it| *it == found);
        if at.is_none() {
            let differences: Vec<_> = (self.states.iter())
                .map(|state| state.difference(&found))
                .collect();
            panic!("found a state that never was: {differences:#?}");
        }
        // A process that has only ended loses nothing that was written.
        if !power && !self.faults {
            let least = self.states.len().saturating_sub(2);
            assert!(at.unwrap() >= least, "lost without a power cut");
        }
        // Keys that were given and are not on record may be given again, as the session does.
        self.next_key = found.next_key.max(1);
        self.states = vec![found]; // opening has synced it
        self.log = Some(log);
    }
}
