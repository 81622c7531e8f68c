//! One measured run: one client, one scenario, one line of JSON. `bench/rust.py` starts the far side, and this.

mod measure;
mod ntex;
mod ours;
mod rumqtt;

use std::env;
use std::future::Future;
use std::process::ExitCode;
use std::time::Duration;

use measure::{Cost, Failure, Plan, Scenario};
use tokio::runtime::Builder;

const TIME_LIMIT: Duration = Duration::from_secs(60);
const USAGE: &str = "usage: ferromqtt-bench-clients ferromqtt|ferromqtt-threads|rumqttc|ntex-mqtt \
                     pub_qos0|pub_qos1_w100|recv_qos0|recv_qos1 PORT WARM-UP MESSAGES";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match run(&arguments) {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("ferromqtt-bench-clients: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<String, Failure> {
    let [client, scenario, port, warm_up, messages] = arguments else {
        return Err(USAGE.into());
    };
    let scenario = match scenario.as_str() {
        "pub_qos0" => Scenario::PublishQos0,
        "pub_qos1_w100" => Scenario::PublishQos1,
        "recv_qos0" => Scenario::ReceiveQos0,
        "recv_qos1" => Scenario::ReceiveQos1,
        _ => return Err(USAGE.into()),
    };
    let plan = Plan {
        scenario,
        port: port.parse()?,
        warm_up: warm_up.parse()?,
        messages: messages.parse()?,
    };
    let Cost { cpu, wall } = match client.as_str() {
        "ferromqtt" => {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(limited(ours::run(plan)))?
        }
        // The work is a task, as in a server: what `block_on` polls is on no worker thread.
        "ferromqtt-threads" => {
            let runtime = Builder::new_multi_thread().enable_all().build()?;
            runtime.block_on(async { tokio::spawn(limited(ours::run(plan))).await })??
        }
        "rumqttc" => {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(limited(rumqtt::run(plan)))?
        }
        "ntex-mqtt" => ntex::block_on(limited(ntex::run(plan)))?,
        _ => return Err(USAGE.into()),
    };
    Ok(format!(
        "{{\"client\":{client:?},\"messages\":{messages},\"cpu_seconds\":{cpu},\"wall_seconds\":{wall}}}"
    ))
}

async fn limited(work: impl Future<Output = Result<Cost, Failure>>) -> Result<Cost, Failure> {
    match tokio::time::timeout(TIME_LIMIT, work).await {
        Ok(done) => done,
        Err(_) => {
            Err(format!("not done within {TIME_LIMIT:?}: it waits for what never comes").into())
        }
    }
}
