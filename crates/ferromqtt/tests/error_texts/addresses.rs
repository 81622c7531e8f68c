use ferromqtt::{
    AddressError, Message, Options, Proxy, Server, ServerProfile, TopicFilter, TopicName,
    TopicTemplate, Utf8String,
};

use crate::page::{Provoked, compare};

fn refused<T>(result: Result<T, AddressError>) -> Provoked {
    match result.map(|_| ()).unwrap_err() {
        error @ AddressError::Url(_) => (error.to_string(), "AddressError::Url"),
        error @ AddressError::Credentials => (error.to_string(), "AddressError::Credentials"),
        error @ AddressError::Query => (error.to_string(), "AddressError::Query"),
        other => panic!("a kind that this test does not know: {other:?}"),
    }
}

fn topic<T>(result: Result<T, ferromqtt::TopicError>) -> Provoked {
    (result.map(|_| ()).unwrap_err().to_string(), "TopicError")
}

#[test]
fn every_text_of_addresses_is_provoked_and_reads_as_the_page_says() {
    let mut provoked: Vec<_> = [
        "ssl://broker",
        "file://broker",
        "mqtt://",
        "mqtt://a..b",
        "mqtt://broker:0",
        "mqtt://broker/x",
        "mqtt://broker?user=a",
        "mqtt://broker?protocol=6",
        "ws://broker/a b",
        "mqtt+unix://broker",
        "mqtt://us%er:x@broker",
    ]
    .into_iter()
    .map(|url| refused(Options::from_url(url)))
    .collect();
    provoked.push(refused(Proxy::from_url("gate:1080")));
    provoked.push(refused(Server::from_url("mqtt://user:secret@broker")));
    provoked.push(refused(Server::from_url("mqtt://broker?client_id=a")));
    let unknown = "aws".parse::<ServerProfile>().unwrap_err();
    provoked.push((unknown.to_string(), "UnknownProfile"));
    provoked.push(topic(TopicName::new("")));
    provoked.push(topic(TopicName::new("a/+")));
    provoked.push(topic(TopicFilter::new("a#")));
    provoked.push(topic(TopicFilter::new("$share/a")));
    for text in ["{a", "a{b}", "{1}", "{a}/{a}", "{a#}/b"] {
        let error = TopicTemplate::new(text).unwrap_err();
        provoked.push((error.to_string(), "TemplateError"));
    }
    let values: [&[(&str, &str)]; 4] = [&[], &[("b", "c")], &[("a", "b/c")], &[("a", "b")]];
    for values in values {
        let error = TopicTemplate::new("{a}/+")
            .unwrap()
            .topic(values)
            .unwrap_err();
        provoked.push((error.to_string(), "TemplateError"));
    }
    let long = Utf8String::try_from("a".repeat(65_536).as_str()).unwrap_err();
    provoked.push((long.to_string(), "StringError"));
    let nul = Utf8String::try_from("a\0").unwrap_err();
    provoked.push((nul.to_string(), "StringError"));
    let message = Message::new(TopicName::new("a").unwrap(), &b"\xff"[..]);
    let payload = ferromqtt::Error::from(message.text().unwrap_err());
    provoked.push((payload.to_string(), "Error::Payload"));
    compare("Rust: addresses, topics and texts", provoked);
}
