//! How many messages took which way, whatever becomes of the segments that they were in.

use ferromqtt_store::{EndedHow, StoreChange, StoreLog};

use crate::disk::SimDisk;
use crate::folder::accepted;
use crate::world::{SEGMENT, publish};

#[test]
fn what_has_ended_in_a_segment_that_is_given_up_is_counted_by_the_next_process() {
    let how = EndedHow::Acknowledged;
    for tidies in [false, true] {
        let disk = SimDisk::default();
        let open = || StoreLog::open_with(disk.clone(), SEGMENT).unwrap();
        let mut log = open();
        for key in 1..=5 {
            log.append(1, &[accepted(key, publish(key))]).unwrap();
        }
        log.seal().unwrap();
        let ends: Vec<_> = (1..=5).map(|key| StoreChange::Ended { key, how }).collect();
        log.append(1, &ends).unwrap();
        if tidies {
            log.tidy_now().unwrap();
        }
        // Has the segment given up, and counts beside that.
        let ended = StoreChange::Ended { key: 6, how };
        log.append(1, &[accepted(6, publish(6))]).unwrap();
        log.append(1, &[ended, accepted(7, publish(7))]).unwrap();
        log.sync().unwrap();
        let counters = log.stats().counters;
        assert_eq!((counters.accepted, counters.finished), (7, 6));
        disk.end_process();
        assert_eq!(open().stats().counters, counters, "tidied: {tidies}");
    }
}
