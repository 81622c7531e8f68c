//! Rules for faults as TOML, both ways.

use std::time::Duration;

use ferromqtt_proto::packet::{PacketType, QoS, ReasonCode};
use ferromqtt_testing::{CutPoint, FaultAction, FaultRule, FaultTimes};
use proptest::prelude::*;

#[test]
fn a_file_has_a_rule_for_each_fault() {
    let text = r#"
        # What a flaky broker does.
        [[fault]]
        sends = "PUBACK"
        nth = 3
        do = "lose"

        [[fault]]
        receives = "any"
        client = "pump-7"
        packet_id = 7
        times = 2
        optional = true
        do = ["delay 1.5s", 'duplicate without_dup after 20ms', "cut after_bytes 5 reset"]

        [[fault]]
        receives = "SUBSCRIBE"
        topic = "secret/#"
        qos = 1
        always = true
        after = "2m"
        with_probability = 1
        do = 'refuse 0x87 "no"'
    "#;
    let rules = FaultRule::from_toml(text).unwrap();
    let mut any = FaultRule::receives(None)
        .client("pump-7")
        .packet_id(7)
        .times(2)
        .optional()
        .delay(Duration::from_millis(1_500))
        .duplicate_after(Duration::from_millis(20), false)
        .cut_after_bytes(5)
        .reset();
    assert_eq!(rules[0], FaultRule::sends(PacketType::PubAck).nth(3).lose());
    assert_eq!(rules[1], any);
    let refused = FaultRule::receives(PacketType::Subscribe)
        .topic("secret/#")
        .qos(QoS::AtLeastOnce)
        .always()
        .after(Duration::from_secs(120))
        .refuse_with(ReasonCode::NotAuthorized, "no");
    assert_eq!(rules[2], refused);
    assert_eq!(FaultRule::from_toml(&FaultRule::to_toml(&rules)), Ok(rules));
    any.timing.times = Some(FaultTimes::Always);
    assert!(FaultRule::to_toml(&[any]).contains("\nalways = true\n"));
    assert_eq!(FaultRule::from_toml(""), Ok(Vec::new()));
}

#[test]
fn what_is_wrong_is_named_with_its_line() {
    for (text, wrong) in [
        ("[[fault]]\nsends = ", "line 2: "),
        ("[[fault]\n", "line 1: "),
        ("x = 1\n", "line 1: x is not known here"),
        (
            "\n[fault]\nsends = 'PUBACK'\n",
            "line 2: fault is not known here",
        ),
        (
            "[[fault]]\nsends = 'PUBACK'\nloose = 1\ndo = 'lose'\n",
            "line 3: loose is no key of a fault",
        ),
        (
            "[[fault]]\nsends = 'PUBAK'\ndo = 'lose'\n",
            "line 2: sends must be the name of a packet",
        ),
        (
            "[[fault]]\ndo = 'lose'\n",
            "line 1: a fault needs either sends or receives",
        ),
        (
            "[[fault]]\nsends = 'any'\nreceives = 'any'\ndo = 'lose'\n",
            "line 1: a fault needs either",
        ),
        ("[[fault]]\nsends = 'any'\n", "line 1: a fault needs do"),
        (
            "[[fault]]\nsends = 'any'\nnth = 'x'\ndo = 'lose'\n",
            "line 3: nth must be a whole number",
        ),
        (
            "[[fault]]\nsends = 'any'\nnth = -1\ndo = 'lose'\n",
            "line 3: nth must be a whole number",
        ),
        (
            "[[fault]]\nsends = 'any'\nqos = 3\ndo = 'lose'\n",
            "line 3: qos must be 0, 1 or 2",
        ),
        (
            "[[fault]]\nsends = 'any'\nclient = 3\ndo = 'lose'\n",
            "line 3: client must be a text",
        ),
        (
            "[[fault]]\nsends = 'any'\nalways = 3\ndo = 'lose'\n",
            "line 3: always must be true or false",
        ),
        (
            "[[fault]]\nsends = 'any'\nafter = 3\ndo = 'lose'\n",
            "line 3: after must be a duration",
        ),
        (
            "[[fault]]\nsends = 'any'\nwith_probability = 'x'\ndo = 'lose'\n",
            "line 3: with_probability must be a number",
        ),
        (
            "[[fault]]\nsends = 'any'\ndo = 3\n",
            "line 3: do must be an action",
        ),
        (
            "[[fault]]\nsends = 'any'\ndo = ['lose', 3]\n",
            "line 3: do must be an action",
        ),
        (
            "[[fault]]\nsends = 'any'\ndo = 'loose'\n",
            "line 3: do: fault rule: \"loose\" is no word of a rule",
        ),
        (
            "[[fault]]\nsends = 'any'\nalways = true\nnth = 3\ntimes = 2\ndo = 'lose'\n",
            "line 1: always and times 2 contradict each other",
        ),
        (
            "[[fault]]\nsends = 'any'\nnth = 4294967296\ndo = 'lose'\n",
            "line 3: nth must be a whole number from 1 to 4,294,967,295",
        ),
        (
            "[[fault]]\nsends = 'any'\npacket_id = 65536\ndo = 'lose'\n",
            "line 3: packet_id must be a whole number from 1 to 65,535",
        ),
        (
            "\n[[fault]]\nreceives = 'PINGREQ'\ndo = 'refuse 0x87'\n",
            "line 2: a fault rule cannot refuse PINGREQ",
        ),
    ] {
        let error = FaultRule::from_toml(text).expect_err(text).to_string();
        assert!(error.starts_with(wrong), "{text}: {error}");
    }
}

prop_compose! {
    /// Rules that make sense.
    fn rules()(
        client in prop::option::of("[ -~äß\t\n\u{0}\u{7f}\"\\\\]{0,9}"),
        topic in prop::option::of("[a-z+/]{1,3}"),
        nth in 1_u32..9,
        times in prop::option::of(prop_oneof![Just(FaultTimes::Always), (1_u32..3).prop_map(FaultTimes::Exactly)]),
        after in 0_u64..10_000_000_000,
        probability in prop_oneof![Just(1.0), 0.0..1.0],
        optional in any::<bool>(),
        bytes in 1_usize..9,
        text in prop::option::of("[ -~äß\"\\\\]{0,9}"),
    ) -> FaultRule {
        let mut rule = FaultRule::receives(PacketType::Publish);
        rule.place.client = client;
        rule.place.topic = topic.filter(|it| ferromqtt_proto::TopicFilter::check(it).is_ok());
        rule.timing.nth = nth;
        rule.timing.times = times;
        rule.timing.after = Duration::from_nanos(after);
        rule.timing.probability = probability;
        rule.timing.optional = optional;
        rule.actions = match text {
            Some(text) => vec![FaultAction::Refuse { reason: ReasonCode::NotAuthorized, text: Some(text) }],
            None => vec![
                FaultAction::Duplicate { dup: false, after: Duration::from_nanos(after) },
                FaultAction::Cut { at: CutPoint::AfterBytes(bytes), reset: true },
            ],
        };
        rule
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rules_read_back_as_they_were_written(rules in prop::collection::vec(rules(), 0..4)) {
        prop_assert_eq!(FaultRule::from_toml(&FaultRule::to_toml(&rules)), Ok(rules));
    }

    #[test]
    fn no_text_panics(text in "(\\[\\[fault\\]\\]\n)?(sends|do|nth) = .{0,40}") {
        let _ = FaultRule::from_toml(&text);
    }
}
