//! Recorders that write to files, and to the same one.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Instant;

use ferromqtt_recording::{ClosedBy, RecordedPayloads, Recorder, Recording};

/// A path for one test, whose file is removed at the end.
struct TestFile(PathBuf);

impl TestFile {
    fn new(name: &str) -> Self {
        let name = format!("{}-{name}.mqttlog", std::process::id());
        Self(PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name))
    }

    fn recorder(&self) -> std::io::Result<Recorder> {
        Recorder::to_file(&self.0, RecordedPayloads::Hashed)
    }

    /// How many entries it has.
    fn entries(&self) -> usize {
        Recording::read(&self.0).unwrap().entries().len()
    }
}

impl Drop for TestFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0); // of a test that fails there may be none
    }
}

fn play(recorder: &Recorder) {
    let now = Instant::now();
    recorder.open(now).close(now, ClosedBy::Client);
}

#[cfg(unix)]
#[test]
fn a_second_recorder_on_a_file_is_refused_and_the_first_goes_on() {
    let file = TestFile::new("two");
    let first = file.recorder().unwrap();
    let now = Instant::now();
    let link = first.open(now);
    let error = file.recorder().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ResourceBusy);
    let text = error.to_string();
    let expected = format!(
        "cannot record to {}: another recorder writes to it; give each recorder a file of its own",
        file.0.display()
    );
    assert!(text.starts_with(&expected), "{text}");
    link.close(now, ClosedBy::Client);
    first.finish().unwrap();
    assert_eq!(file.entries(), 2);
}

#[cfg(unix)]
#[test]
fn a_file_is_taken_before_the_first_link_is_open() {
    let file = TestFile::new("early");
    let _first = file.recorder().unwrap();
    assert!(file.recorder().is_err());
}

#[test]
fn a_recorder_whose_links_have_ended_leaves_its_file_to_another() {
    let file = TestFile::new("later");
    let first = file.recorder().unwrap();
    play(&first);
    let second = file.recorder().unwrap();
    play(&second);
    second.finish().unwrap();
    assert_eq!(file.entries(), 2, "it was emptied");
    drop(first);
}

#[test]
fn a_recorder_goes_on_when_its_links_had_ended() {
    let file = TestFile::new("again");
    let recorder = file.recorder().unwrap();
    play(&recorder);
    recorder.finish().unwrap();
    play(&recorder);
    recorder.finish().unwrap();
    assert_eq!(file.entries(), 4);
}

#[cfg(unix)]
#[test]
fn a_recorder_does_not_write_into_what_another_has_written_since() {
    let file = TestFile::new("since");
    let first = file.recorder().unwrap();
    play(&first);
    let second = file.recorder().unwrap();
    let now = Instant::now();
    let link = second.open(now);
    play(&first);
    let error = first.finish().unwrap_err();
    assert!(error.to_string().contains("another recorder writes to it"));
    link.close(now, ClosedBy::Client);
    play(&second);
    second.finish().unwrap();
    let third = file.recorder().unwrap();
    play(&third);
    play(&second);
    let error = second.finish().unwrap_err();
    assert!(
        error
            .to_string()
            .contains("it was written to since this recorder finished"),
        "{error}"
    );
    assert_eq!(file.entries(), 2, "those of the third");
}

/// A pipe has no length, and takes what any process writes.
#[cfg(unix)]
#[test]
fn what_is_no_regular_file_is_neither_taken_nor_emptied() {
    let null = || Recorder::to_file("/dev/null", RecordedPayloads::Hashed);
    let (first, second) = (null().unwrap(), null().unwrap());
    for recorder in [first, second] {
        play(&recorder);
        play(&recorder);
        recorder.finish().unwrap();
    }
}
