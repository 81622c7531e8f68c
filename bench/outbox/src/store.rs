//! The store alone: messages are accepted with 4,000 of them not on record at most, and each ends when it is 100 behind the last
//! one on record.

use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use ferromqtt_proto::{Publish, QoS, SessionChange, TopicName};
use ferromqtt_store::{EndedHow, LogStore, Store, StoreChange, StoreEntry, StoreOptions};

use crate::Failure;
use crate::client::{AHEAD, IN_FLIGHT, TOPIC};
use crate::figures::{Meter, frames};

pub(crate) fn run(folder: &Path, size: usize, messages: u64) -> Result<String, Failure> {
    let program = Program::new(folder, size)?;
    let frames_before = frames(folder)?;
    let meter = Meter::start()?;
    program.run(messages)?;
    let cost = meter.stop()?;
    program.store.close_and_wait();
    let frames = frames(folder)? - frames_before;
    Ok(format!("{{{cost}, \"frames\": {frames}}}"))
}

struct Program {
    store: LogStore,
    woken: Receiver<()>,
    topic: TopicName,
    payload: Bytes,
}

impl Program {
    fn new(folder: &Path, size: usize) -> Result<Self, Failure> {
        let (wake, woken) = channel();
        let wake = Mutex::new(wake);
        let waker = Arc::new(move || {
            let _ = wake.lock().map(|wake| wake.send(()));
        });
        Ok(Self {
            store: LogStore::open(folder, StoreOptions::new())?.start(Some(waker))?,
            woken,
            topic: TOPIC.try_into()?,
            payload: vec![b'x'; size].into(),
        })
    }

    fn run(&self, messages: u64) -> Result<(), Failure> {
        let (mut accepted, mut stored, mut ended) = (0, 0, 0);
        let mut tickets = Vec::new(); // of what was accepted, by key
        let mut last = 0;
        while ended < messages {
            while accepted < messages && accepted - stored < AHEAD {
                accepted += 1;
                tickets.push(self.submit(self.accepted(accepted))?);
            }
            let mark = self.store.marks().on_record;
            stored = tickets.partition_point(|ticket| *ticket <= mark) as u64;
            let until = match stored == messages {
                true => stored,
                false => stored.saturating_sub(IN_FLIGHT.into()),
            };
            if ended == until {
                self.woken.recv()?;
            }
            while ended < until {
                ended += 1;
                let how = EndedHow::Acknowledged;
                last = self.submit(StoreChange::Ended { key: ended, how })?;
            }
        }
        while self.store.marks().on_record < last {
            self.woken.recv()?;
        }
        Ok(())
    }

    fn accepted(&self, key: u64) -> StoreChange {
        StoreChange::Session(SessionChange::Accepted {
            key,
            publish: Publish {
                topic: self.topic.clone(),
                payload: self.payload.clone(),
                qos: QoS::AtLeastOnce,
                retain: false,
                properties: None,
            },
            expires_in: None,
            keep_latest: false,
        })
    }

    fn submit(&self, change: StoreChange) -> Result<u64, Failure> {
        let mut entry = StoreEntry { change, mark: None };
        loop {
            match self.store.submit(entry) {
                Ok(ticket) => return Ok(ticket),
                Err((refused, _)) => entry = *refused,
            }
            self.woken.recv()?;
        }
    }
}
