//! Rules that make no sense, and texts that are none.

use ferromqtt_proto::packet::{PacketType, ReasonCode};
use ferromqtt_testing::{BrokerSide, FaultRule, FaultTextError};

use crate::scene::Scene;

use super::SECOND;

#[test]
fn a_rule_that_makes_no_sense_is_refused_in_words() {
    use PacketType::{ConnAck, PingReq, PubAck, Publish, Subscribe};
    let reason = ReasonCode::NotAuthorized;
    for (rule, words) in [
        (FaultRule::sends(PubAck), "needs an action"),
        (
            FaultRule::sends(PubAck).lose().delay(SECOND),
            "lose and delay 1s contradict",
        ),
        (
            FaultRule::sends(PubAck).hold().delay(SECOND),
            "hold and delay 1s contradict",
        ),
        (
            FaultRule::sends(PubAck).lose().truncate(1),
            "lose and truncate 1 contradict",
        ),
        (
            FaultRule::sends(PubAck).cut().cut_before(),
            "cut before and cut before contradict",
        ),
        (
            FaultRule::sends(PubAck)
                .disconnect(ReasonCode::ServerBusy)
                .cut(),
            "contradict",
        ),
        (
            FaultRule::receives(PingReq).refuse(reason),
            "cannot refuse PINGREQ",
        ),
        (
            FaultRule::receives(None).refuse(reason),
            "cannot refuse packets of any type",
        ),
        (
            FaultRule::sends(PubAck).refuse(reason),
            "cannot refuse what the broker sends",
        ),
        (
            FaultRule::receives(Publish).refuse(ReasonCode::Success),
            "PUBACK cannot carry Success",
        ),
        (
            FaultRule::receives(Subscribe).refuse(ReasonCode::Banned),
            "SUBACK cannot carry Banned",
        ),
        (FaultRule::sends(PubAck).disconnect(reason).nth(2), ""),
        (
            FaultRule::sends(Subscribe).lose(),
            "the broker never sends SUBSCRIBE",
        ),
        (
            FaultRule::receives(ConnAck).lose(),
            "the broker never receives CONNACK",
        ),
        (
            FaultRule::sends(PubAck).topic("a").lose(),
            "PUBACK has no topic",
        ),
        (FaultRule::sends(Publish).topic("a/#/b").lose(), "\"a/#/b\""),
        (
            FaultRule::sends(Publish).nth(0).lose(),
            "nth of a fault rule must be at least 1",
        ),
        (
            FaultRule::sends(Publish).with_probability(2.0).lose(),
            "from 0 to 1, not 2",
        ),
        (
            FaultRule::receives(Publish).refuse_with(reason, "a\0b"),
            "the text of refuse",
        ),
    ] {
        let mut scene = Scene::new();
        let result = scene.broker.add_fault(scene.now, rule);
        match words {
            "" => assert!(result.is_ok()),
            _ => {
                let error = result.unwrap_err().to_string();
                assert!(error.contains(words), "{error}");
            }
        }
    }
}

#[test]
fn a_text_that_is_no_rule_says_what_is_wrong() {
    let error = |text: &str| text.parse::<FaultRule>().unwrap_err().to_string();
    assert_eq!(
        error(""),
        "fault rule: sends or receives is missing before the end"
    );
    assert_eq!(
        error("sends PUBAK lose"),
        "fault rule: the name of a packet, or any is missing before \"PUBAK\""
    );
    assert_eq!(
        error("sends any nth x lose"),
        "fault rule: a number is missing before \"x\""
    );
    assert_eq!(
        error("sends any"),
        "fault rule: an action such as lose or cut is missing before the end"
    );
    assert_eq!(
        error("sends any delay 3"),
        "fault rule: a duration such as 3s or 50ms is missing before \"3\""
    );
    assert_eq!(
        error("sends any client x lose"),
        "fault rule: a Client Identifier in quotation marks is missing before \"x\""
    );
    for text in [
        "sends any nth 1 nth 2 lose",
        "sends any loose",
        "sends any lose cut",
    ] {
        let error = text.parse::<FaultRule>().unwrap_err();
        assert!(matches!(error, FaultTextError::Unknown(_)), "{error}");
    }
    for text in [
        r#"sends any client "x lose"#,
        r#"sends any client "\u{110000}" lose"#,
        r#"sends any client "\q" lose"#,
    ] {
        let error = text.parse::<FaultRule>().unwrap_err();
        assert!(matches!(error, FaultTextError::Quotes(_)), "{error}");
    }
    assert_eq!(BrokerSide::Sends.to_string(), "sends");
}
