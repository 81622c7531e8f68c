use super::*;

fn problem(line: &str) -> String {
    match ImportedMessage::read(line.as_bytes()) {
        Err(problem) => problem,
        Ok(_) => panic!("it was read: {line}"),
    }
}

#[test]
fn the_least_that_is_a_message_has_a_topic_and_a_payload() {
    let message = ImportedMessage::read(br#"{"topic":"a/b","payload":"x"}"#).unwrap();
    let expected = Publish::new("a/b".parse().unwrap(), "x");
    assert_eq!(message.publish, expected);
    assert!(!message.was_sent && !message.keep_latest);
    assert_eq!((message.expires_at, message.quarantine), (None, None));
}

#[test]
fn what_is_wrong_with_a_line_is_said() {
    for (rest, said) in [
        (r#""qos":3"#, "qos must be 0, 1 or 2"),
        (r#""qos":-1"#, "qos must be a whole number, 0 or more"),
        (r#""qos":"1""#, "qos must be a whole number, 0 or more"),
        (r#""retain":1"#, "retain must be true or false"),
        (r#""reatin":true"#, "reatin is no member that is known"),
        (
            r#""payload_base64":"eA==""#,
            "there are both payload and payload_base64: leave one out",
        ),
        (
            r#""state":"gone""#,
            "state must be waits, sent, released or quarantined",
        ),
        (
            r#""state":"waits","why":"refused""#,
            "why goes with the state quarantined alone",
        ),
        (
            r#""state":"quarantined""#,
            "why must be refused, too-large, ends-connections or uncertain in quarantine",
        ),
        (
            r#""state":"quarantined","why":"refused","reason_code":256"#,
            "reason_code must be the Reason Code of the refusal",
        ),
        (r#""properties":[]"#, "properties must be an object"),
        (
            r#""properties":{"message_expiry_interval":4294967296}"#,
            "message_expiry_interval must fit into 32 bits",
        ),
        (
            r#""properties":{"payload_format_indicator":2}"#,
            "payload_format_indicator must be 0 or 1",
        ),
        (
            r#""properties":{"user_properties":[["a"]]}"#,
            "user_properties must be a list of pairs of texts",
        ),
        (
            r#""properties":{"user_properties_count":1}"#,
            "properties.user_properties_count stands for what was left out: export with --payload",
        ),
        (
            r#""properties":{"correlation_data_base64":"?"}"#,
            "correlation_data_base64 is no Base64",
        ),
    ] {
        let line = format!(r#"{{"topic":"t","payload":"","{}}}"#, &rest[1..]);
        assert_eq!(problem(&line), said);
    }
    assert_eq!(problem("[]"), "JSON, and no object");
    assert_eq!(problem(r#"{"topic":"t""#), "no JSON from column 12 on");
    assert_eq!(problem(r#"{"payload":""}"#), "topic is missing");
    assert_eq!(
        problem(r#"{"topic":"t"}"#),
        "there is no payload: export with --payload"
    );
    assert!(problem(r#"{"topic":"t/#","payload":""}"#).starts_with("topic: "));
    let long = format!(
        r#"{{"topic":"t","payload":"","properties":{{"correlation_data_base64":"{}"}}}}"#,
        "AAAA".repeat(22_000)
    );
    assert!(problem(&long).contains("longer than 65,535 bytes"));
}

#[test]
fn no_problem_repeats_what_a_payload_says() {
    for line in [
        r#"{"topic":"t","payload":"geheim",}"#,
        r#"{"topic":"t","payload":["geheim"]}"#,
        r#"{"topic":"t","payload":"geheim","qos":"geheim"}"#,
        r#"{"topic":"t","payload_base64":"geheim!"}"#,
    ] {
        assert!(!problem(line).contains("geheim"), "{line}");
    }
}

#[test]
fn a_message_above_the_largest_packet_is_refused() {
    let mut message = ImportedMessage::read(br#"{"topic":"t","payload":""}"#).unwrap();
    message.publish.payload = vec![0; 268_435_455 - 6].into();
    assert_eq!(message.expect_fit(), Ok(()));
    message.publish.payload = vec![0; 268_435_455 - 5].into();
    assert!(message.expect_fit().is_err());
}
