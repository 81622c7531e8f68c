//! Rules that make no sense, and texts that are none.

use ferromqtt_proto::packet::{PacketType, QoS, ReasonCode};
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
            FaultRule::sends(Publish).always().times(1).lose(),
            "always and times 1 contradict each other",
        ),
        (
            FaultRule::sends(Publish).times(3).always().lose(),
            "always and times 3 contradict each other",
        ),
        (
            "sends PUBLISH always nth 3 times 2 lose".parse().unwrap(),
            "always and times 2 contradict each other",
        ),
        (FaultRule::sends(Publish).times(3).times(2).lose(), ""),
        (
            FaultRule::sends(Publish)
                .qos(QoS::AtMostOnce)
                .packet_id(1)
                .lose(),
            "PUBLISH of QoS 0 has no Packet Identifier",
        ),
        (
            FaultRule::receives(Publish).topic("$share/g/a").lose(),
            "\"$share/g/a\" is the filter of a Shared Subscription",
        ),
        (
            FaultRule::sends(None).topic("$share/g/a").lose(),
            "which no topic matches",
        ),
        (
            FaultRule::receives(Subscribe).topic("$share/g/a").lose(),
            "",
        ),
        (FaultRule::receives(None).topic("$share/g/a").lose(), ""),
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
        "fault rule: \"PUBAK\" is not the name of a packet, or any"
    );
    assert_eq!(
        error("sends any nth x lose"),
        "fault rule: \"x\" is not a whole number from 1 to 4,294,967,295"
    );
    assert_eq!(
        error("sends any"),
        "fault rule: an action such as lose or cut is missing before the end"
    );
    assert_eq!(
        error("sends any delay 3"),
        "fault rule: \"3\" is not a duration such as 3s or 50ms, of 10,000 days at most"
    );
    assert_eq!(
        error("sends any client x lose"),
        "fault rule: a Client Identifier in quotation marks is missing before \"x\""
    );
    for text in ["4294967296", "1e3", "-1"] {
        let error = error(&format!("sends any nth {text} lose"));
        let wanted = "is not a whole number from 1 to 4,294,967,295";
        assert_eq!(error, format!("fault rule: {text:?} {wanted}"));
    }
    for text in ["1e3s", "10001d", "99999999999999999999999s"] {
        let error = error(&format!("sends any delay {text}"));
        assert!(error.starts_with(&format!("fault rule: {text:?} is not a duration")));
    }
    assert_eq!(
        error("sends any nth 1 nth 2 lose"),
        "fault rule: \"nth\" stands there twice: leave one out"
    );
    let unknown = error("sends any loose");
    assert!(unknown.starts_with("fault rule: \"loose\" is no word of a rule"));
    assert!(unknown.contains("packet_id, nth") && unknown.contains("actions lose, duplicate"));
    assert_eq!(
        error("sends any lose cut"),
        "fault rule: a comma is missing before \"cut\""
    );
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
