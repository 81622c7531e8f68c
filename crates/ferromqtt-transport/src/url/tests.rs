use proptest::prelude::*;

use super::*;

fn tcp(host: &str, port: u16, tls: bool) -> Endpoint {
    Endpoint::Tcp {
        host: host.to_owned(),
        port,
        tls,
    }
}

fn websocket(port: u16, tls: bool, path: &str) -> Endpoint {
    Endpoint::WebSocket {
        host: "h".to_owned(),
        port,
        tls,
        path: path.to_owned(),
    }
}

fn place(url: &str) -> Endpoint {
    ServerUrl::parse(url)
        .unwrap_or_else(|error| panic!("{url}: {error}"))
        .place
}

fn error(url: &str) -> UrlError {
    ServerUrl::parse(url).expect_err(url)
}

#[test]
fn each_scheme_has_its_port() {
    assert_eq!(place("mqtt://h"), tcp("h", 1883, false));
    assert_eq!(place("mqtts://h"), tcp("h", 8883, true));
    assert_eq!(place("ws://h"), websocket(80, false, "/mqtt"));
    assert_eq!(place("wss://h"), websocket(443, true, "/mqtt"));
    assert_eq!(place("MQTT://h:7/"), tcp("h", 7, false));
    assert_eq!(place("tcp://h"), tcp("h", 1883, false));
    assert_eq!(place("h:7"), tcp("h", 7, false));
}

#[test]
fn an_ipv6_address_stands_in_brackets() {
    assert_eq!(place("mqtt://[::1]:1884"), tcp("::1", 1884, false));
    assert_eq!(
        place("mqtt://[fe80::1%eth0]"),
        tcp("fe80::1%eth0", 1883, false)
    );
    assert_eq!(
        ServerUrl::parse("[::1]").unwrap().to_string(),
        "mqtt://[::1]:1883"
    );
    for url in ["mqtt://[fe80::1%25eth0]", "mqtt://[fe80::1%25eth%30]"] {
        assert_eq!(place(url), tcp("fe80::1%eth0", 1883, false), "{url}");
    }
    // %25 alone is the interface of this number.
    assert_eq!(place("[fe80::1%25]"), tcp("fe80::1%25", 1883, false));
    assert_eq!(
        ServerUrl::parse("[fe80::1%eth0]").unwrap().to_string(),
        "mqtt://[fe80::1%25eth0]:1883"
    );
    for url in [
        "mqtt://[::1",
        "mqtt://[::1]7",
        "mqtt://[h]",
        "mqtt://[]",
        "mqtt://[1.2.3.4]",
        "mqtt://[fe80::1%]",
        "mqtt://[fe80::1%a%b]",
        "mqtt://[fe80::1%25a%2fb]",
    ] {
        assert_eq!(error(url), UrlError::Host, "{url}");
    }
    assert_eq!(error("mqtt://::1"), UrlError::Host);
    assert_eq!(error("mqtt://fe80::1"), UrlError::Port);
}

#[cfg(feature = "idna")]
#[test]
fn a_name_may_have_letters_beyond_ascii_encoded_or_not() {
    for url in ["mqtt://bücher.example", "mqtt://b%C3%BCcher.example"] {
        assert_eq!(place(url), tcp("bücher.example", 1883, false), "{url}");
        let proxy = ProxyUrl::parse(&url.replace("mqtt", "http")).unwrap();
        assert_eq!(proxy.host, "bücher.example", "{url}");
    }
    assert_eq!(
        error("mqtt://bücher..example"),
        UrlError::HostName(HostError::Name)
    );
}

#[cfg(not(feature = "idna"))]
#[test]
fn letters_beyond_ascii_need_a_feature() {
    let text = error("mqtt://bücher.example").to_string();
    assert!(text.contains("feature `idna`"), "{text}");
}

#[test]
fn a_host_holds_nothing_that_ends_it() {
    for url in [
        "mqtt://a%2Fb",
        "mqtt://a%3A1",
        "mqtt://a%40b",
        "mqtt://a%25b",
        "mqtt://%5B%3A%3A1%5D",
    ] {
        assert_eq!(error(url), UrlError::Host, "{url}");
    }
    assert_eq!(error("mqtt://a%b"), UrlError::Encoding { part: "host" });
    assert_eq!(error("mqtt://a..b"), UrlError::HostName(HostError::Name));
}

#[test]
fn a_websocket_has_a_path_and_a_query() {
    assert_eq!(place("ws://h/"), websocket(80, false, "/"));
    assert_eq!(
        place("ws://h/a/b%20c?d=e&f"),
        websocket(80, false, "/a/b%20c?d=e&f")
    );
    assert_eq!(place("ws://h?d"), websocket(80, false, "/mqtt?d"));
    for url in [
        "ws://h/a#b",
        "ws://h/a b",
        "ws://h/\r\nHost:x",
        "ws://h/ä",
        "ws://u:1/p@h",
    ] {
        assert_eq!(error(url), UrlError::PathCharacter, "{url}");
    }
}

#[test]
fn a_unix_socket_has_a_path_alone() {
    let unix = |path: &str| Endpoint::Unix {
        path: path.to_owned(),
    };
    assert_eq!(place("mqtt+unix:///run/mqtt.sock"), unix("/run/mqtt.sock"));
    assert_eq!(place("mqtt+unix:///run/a%20b"), unix("/run/a b"));
    let url = ServerUrl::parse("mqtt+unix://u:p@/run/x").unwrap();
    assert_eq!(
        (url.place, url.user_name),
        (unix("/run/x"), Some("u".to_owned()))
    );
    for url in [
        "mqtt+unix://run/x",
        "mqtt+unix://",
        "mqtt+unix:///",
        "mqtt+unix://:7/x",
    ] {
        assert_eq!(error(url), UrlError::SocketPath, "{url}");
    }
    assert_eq!(error("mqtt+unix:///a%00b"), UrlError::PathCharacter);
}

#[test]
fn credentials_are_percent_decoded() {
    let who = |url: &str| {
        let url = ServerUrl::parse(url).unwrap();
        (
            url.user_name,
            url.password.map(|password| password.to_vec()),
        )
    };
    let name = |text: &str| Some(text.to_owned());
    assert_eq!(who("mqtt://h"), (None, None));
    assert_eq!(who("mqtt://u@h"), (name("u"), None));
    assert_eq!(who("mqtt://u:@h"), (name("u"), Some(vec![])));
    assert_eq!(who("mqtt://@h"), (name(""), None));
    assert_eq!(who("mqtt://:p@h"), (None, Some(b"p".to_vec())));
    assert_eq!(
        who("mqtt://j%C3%BCrgen:%FF%3a:%2F@h"),
        (name("jürgen"), Some(b"\xff::/".to_vec()))
    );
    assert_eq!(
        who("mqtt://u@corp:p@w@h"),
        (name("u@corp"), Some(b"p@w".to_vec()))
    );
    for url in [
        "mqtt://u%:p@h",
        "mqtt://u%4:p@h",
        "mqtt://u%+1:p@h",
        "mqtt://%FF@h",
    ] {
        assert_eq!(
            error(url),
            UrlError::Encoding { part: "user name" },
            "{url}"
        );
    }
    assert_eq!(
        error("mqtt://u:%zz@h"),
        UrlError::Encoding { part: "password" }
    );
}

#[test]
fn each_mistake_is_named() {
    let scheme = error("https://h");
    assert_eq!(
        scheme.to_string(),
        "the URL begins with https://; it must be one of mqtt, mqtts, ws, wss, mqtt+unix (did you mean wss://?)"
    );
    for url in [
        "",
        "mqtt://",
        "mqtt://:1883",
        "mqtt://a b",
        "mqtt://a\nb",
        "mqtt://u:p@",
    ] {
        assert_eq!(error(url), UrlError::Host, "{url}");
    }
    for port in ["", "0", "x", "+1", "65536", "1:2"] {
        assert_eq!(error(&format!("mqtt://h:{port}")), UrlError::Port, "{port}");
    }
    for url in [
        "mqtt://h/a",
        "mqtt://h/a?protocol=5",
        "mqtt://h?protocol=5#a",
        "mqtts://h//",
    ] {
        assert_eq!(error(url), UrlError::Path, "{url}");
    }
}

#[test]
fn the_query_has_options_of_the_client() {
    let query = |url: &str| {
        let query = ServerUrl::parse(url)
            .unwrap_or_else(|error| panic!("{url}: {error}"))
            .query;
        (query.client_identifier, query.keep_alive, query.protocol)
    };
    let all = "client_id=a%26b%20%C3%BC&keep_alive=0&protocol=3.1.1";
    for place in ["mqtt://h", "mqtts://h:7/", "h", "mqtt+unix:///run/broker"] {
        let found = query(&format!("{place}?{all}"));
        assert_eq!(
            found,
            (Some("a&b ü".to_owned()), Some(0), Some(QueryProtocol::V311)),
            "{place}"
        );
        assert_eq!(query(place), (None, None, None), "{place}");
    }
    assert_eq!(query("h?client_id="), (Some(String::new()), None, None));
    for (value, version) in [
        ("3", QueryProtocol::V31),
        ("3.1", QueryProtocol::V31),
        ("4", QueryProtocol::V311),
        ("5", QueryProtocol::V5),
        ("5.0", QueryProtocol::V5),
        ("auto", QueryProtocol::Auto),
    ] {
        assert_eq!(query(&format!("h?protocol={value}")).2, Some(version));
    }
    // The query of a WebSocket is the server's.
    let url = ServerUrl::parse(&format!("ws://h/?{all}")).unwrap();
    assert_eq!(url.place, websocket(80, false, &format!("/?{all}")));
    assert!(url.is_place_alone());
    assert!(!ServerUrl::parse("h?protocol=5").unwrap().is_place_alone());
}

#[test]
fn a_query_of_something_else_is_refused() {
    for query in [
        "",
        "client_id",
        "clientid=a",
        "client_id=a&client_id=b",
        "client_id=a&",
        "client_id=a@h",
        "keep_alive=5?protocol=5",
    ] {
        let found = error(&format!("mqtt://h?{query}"));
        let is_value = matches!(found, UrlError::QueryValue { .. });
        assert!(found == UrlError::Query || is_value, "{query}: {found}");
    }
    for (key, value) in [
        ("keep_alive", "65536"),
        ("keep_alive", "+1"),
        ("keep_alive", ""),
        ("keep_alive", "60s"),
        ("protocol", "6"),
        ("protocol", "v5"),
        ("protocol", "Auto"),
    ] {
        let found = error(&format!("mqtt://h?{key}={value}"));
        assert!(
            matches!(found, UrlError::QueryValue { key: of, .. } if of == key),
            "{found}"
        );
    }
    let part = "client_id of the query";
    assert_eq!(error("h?client_id=%F"), UrlError::Encoding { part });
}

#[test]
fn no_text_tells_the_password() {
    for password in [
        "geheim",
        "geheim/x",
        "ge:geheim",
        "a?geheim#",
        "geheim@x",
        "%geheim",
        "1/geheim",
    ] {
        for scheme in [
            "mqtt://",
            "ws://",
            "mqtt+unix://",
            "http://",
            "geheim:1://",
            "",
        ] {
            let url = format!("{scheme}user:{password}@host");
            let shown = match (ServerUrl::parse(&url), ProxyUrl::parse(&url)) {
                (Ok(url), Ok(proxy)) => format!("{url} {url:?} {proxy} {proxy:?}"),
                (Ok(url), Err(error)) => format!("{url} {url:?} {error} {error:?}"),
                (Err(error), Ok(proxy)) => format!("{error} {error:?} {proxy} {proxy:?}"),
                (Err(error), Err(other)) => format!("{error} {error:?} {other} {other:?}"),
            };
            assert!(!shown.contains("geheim"), "{url}: {shown}");
        }
    }
}

#[test]
fn a_proxy_has_a_kind_and_a_port() {
    let proxy = |url: &str| {
        let url = ProxyUrl::parse(url).unwrap();
        (url.kind, url.remote_names, url.port)
    };
    assert_eq!(proxy("socks4://h"), (ProxyKind::Socks4, false, 1080));
    assert_eq!(proxy("socks4a://h"), (ProxyKind::Socks4a, true, 1080));
    assert_eq!(proxy("socks5://h:9"), (ProxyKind::Socks5, false, 9));
    assert_eq!(proxy("socks5h://h/"), (ProxyKind::Socks5, true, 1080));
    assert_eq!(proxy("http://u:p@h"), (ProxyKind::Http, true, 8080));
    let shown = ProxyUrl::parse("socks5h://u%20v:p@[::1]")
        .unwrap()
        .to_string();
    assert_eq!(shown, "socks5h://u%20v:***@[::1]:1080");
    let known = "socks4, socks4a, socks5, socks5h, http";
    assert_eq!(ProxyUrl::parse("h:1080"), Err(UrlError::NoScheme { known }));
    assert_eq!(ProxyUrl::parse("http://h/x"), Err(UrlError::Path));
}

fn without_query(mut place: Endpoint) -> Endpoint {
    if let Endpoint::WebSocket { path, .. } = &mut place {
        path.truncate(path.find('?').unwrap_or(path.len()));
    }
    place
}

#[test]
fn a_query_is_not_shown() {
    let url = ServerUrl::parse("wss://a/b?token=geheim").unwrap();
    assert_eq!(url.to_string(), "wss://a:443/b?***");
    assert_eq!(format!("{:?}", url.place), "Endpoint(wss://a:443/b?***)");
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(url in "(mqtt|ws|mqtt\\+unix|)(://|)\\PC{0,20}") {
        if let Ok(read) = ServerUrl::parse(&url) {
            // What is shown is a URL again, of the same place and user, but for the query.
            let again = ServerUrl::parse(&read.to_string());
            if let Endpoint::Unix { .. } = read.place {
                return Ok(()); // its path is shown as it is, not encoded
            }
            let again = again.map_err(|error| TestCaseError::fail(format!("{read}: {error}")))?;
            prop_assert_eq!(again.to_string(), read.to_string());
            prop_assert_eq!(without_query(again.place), without_query(read.place));
            prop_assert_eq!(again.password.is_some(), read.password.is_some());
        }
        let _ = ProxyUrl::parse(&url);
    }

    #[test]
    fn any_credentials_come_back(name in "\\PC{1,8}", password in prop::collection::vec(any::<u8>(), 0..8)) {
        let encoded: String = password.iter().map(|byte| format!("%{byte:02X}")).collect();
        let user = utf8_percent_encode(&name, NON_ALPHANUMERIC);
        let url = ServerUrl::parse(&format!("mqtt://{user}:{encoded}@h")).unwrap();
        prop_assert_eq!(url.user_name, Some(name));
        prop_assert_eq!(url.password.as_deref(), Some(&password[..]));
    }
}
