//! The file of `--faults`.

use std::fs;
use std::path::Path;

use ferromqtt_testing::FaultRule;

/// The rules of the file; none without one.
pub(crate) fn read(file: Option<&Path>) -> Result<Vec<FaultRule>, String> {
    let Some(file) = file else {
        return Ok(Vec::new());
    };
    let name = file.display();
    let text = fs::read_to_string(file)
        .map_err(|error| format!("cannot read the faults in {name}: {error}"))?;
    FaultRule::from_toml(&text)
        .map_err(|error| format!("cannot read the faults in {name}: {error}"))
}
