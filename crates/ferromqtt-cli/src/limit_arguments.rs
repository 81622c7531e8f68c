//! The arguments of `ferromqtt broker` that are made of the rows of the broker's table: one for each option with a unit.

use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;

use clap::builder::ValueParser;
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches, value_parser};
use ferromqtt_proto::{QoS, Utf8String};
use ferromqtt_testing::BrokerOptions;

/// The broker's options with what was given; what was not stays as `BrokerOptions` has it.
#[derive(Debug)]
pub(crate) struct LimitArguments(BrokerOptions);

impl LimitArguments {
    pub(crate) const fn options(&self) -> &BrokerOptions {
        &self.0
    }
}

/// An option that is read from the command line.
trait OptionArgument: From<<Self as OptionArgument>::Given> {
    /// What the parser makes of the text.
    type Given: Clone + Send + Sync + 'static;

    fn parser() -> ValueParser;
}

/// Types whose text the parser itself knows to read.
macro_rules! parsed {
    ($($type:ty),+) => {$(
        impl OptionArgument for $type {
            type Given = Self;

            fn parser() -> ValueParser {
                value_parser!($type).into()
            }
        }
    )+};
}

parsed!(bool, u16, u32, usize, NonZeroU16, NonZeroU32);

impl OptionArgument for QoS {
    type Given = Self;

    fn parser() -> ValueParser {
        ValueParser::new(qos)
    }
}

impl OptionArgument for Duration {
    type Given = Self;

    fn parser() -> ValueParser {
        ValueParser::new(seconds)
    }
}

impl OptionArgument for Utf8String {
    type Given = Self;

    fn parser() -> ValueParser {
        ValueParser::new(text)
    }
}

impl<T: OptionArgument<Given = T> + Clone + Send + Sync + 'static> OptionArgument for Option<T> {
    type Given = T;

    fn parser() -> ValueParser {
        T::parser()
    }
}

fn argument<T: OptionArgument>(name: &'static str, unit: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name.replace('_', "-"))
        .value_name(unit)
        .help(help)
        .value_parser(T::parser())
}

fn set<T: OptionArgument>(option: &mut T, name: &str, matches: &ArgMatches) {
    if let Some(given) = matches.get_one::<T::Given>(name) {
        *option = given.clone().into();
    }
}

/// Makes two functions of the rows: one adds the arguments, one reads them.
macro_rules! arguments {
    ($($(#[$meta:meta])* $name:ident: $type:ty = $default:expr $(, $unit:literal, $help:literal)?;)+) => {
        fn add_arguments(command: Command) -> Command {
            command.next_help_heading("Limits")
                $($(.arg(argument::<$type>(stringify!($name), $unit, $help)))?)+
        }

        fn set_options(options: &mut BrokerOptions, matches: &ArgMatches) {
            $($(
                let _: &str = $unit; // an option with a unit
                set(&mut options.$name, stringify!($name), matches);
            )?)+
        }
    };
}

ferromqtt_testing::broker_options!(arguments);

impl Args for LimitArguments {
    fn augment_args(command: Command) -> Command {
        add_arguments(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        add_arguments(command)
    }
}

impl FromArgMatches for LimitArguments {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut read = Self(BrokerOptions::default());
        read.update_from_arg_matches(matches)?;
        Ok(read)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        set_options(&mut self.0, matches);
        Ok(())
    }
}

fn qos(text: &str) -> Result<QoS, String> {
    let qos = text.parse().ok().and_then(QoS::from_value);
    qos.ok_or_else(|| "give 0, 1 or 2".to_owned())
}

/// Reads a number of seconds, which may have a fraction.
fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().filter(|&seconds| seconds > 0.0);
    seconds
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| "give a number of seconds, more than 0".to_owned())
}

pub(crate) fn text(text: &str) -> Result<Utf8String, String> {
    Utf8String::try_from(text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_may_have_a_fraction_and_must_be_a_time() {
        assert_eq!(seconds("2.5"), Ok(Duration::from_millis(2500)));
        for text in ["0", "-1", "nan", "inf", "1e30", "soon", ""] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }

    #[test]
    fn each_option_with_a_unit_is_an_argument_that_sets_it() {
        let command = add_arguments(Command::new("broker"));
        let matches = command.get_matches_from([
            "broker",
            "--maximum-qos=1",
            "--retain-available=false",
            "--server-keep-alive=7",
            "--handshake-timeout=0.5",
            "--response-information=there",
            "--maximum-output=9",
        ]);
        let read = LimitArguments::from_arg_matches(&matches).unwrap();
        let mut expected = BrokerOptions::default();
        expected.maximum_qos = QoS::AtLeastOnce;
        expected.retain_available = false;
        expected.server_keep_alive = Some(7);
        expected.handshake_timeout = Duration::from_millis(500);
        expected.response_information = Some(text("there").unwrap());
        expected.maximum_output = 9;
        assert_eq!(*read.options(), expected);
    }
}
