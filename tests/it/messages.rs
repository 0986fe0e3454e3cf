//! The control API keeps its door: what is wrong is refused by name, and the node goes on.

use crate::node::Node;

/// One request as written, and what came back: the status and the body.
fn say(node: &Node, path: &str, headers: &[(&str, &str)], body: &[u8]) -> (u16, String) {
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .proxy(None)
        .build();
    let agent: ureq::Agent = config.into();
    let (url, _) = node.access();
    let mut request = agent.post(format!("{url}{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut response = request.send(body).expect("the node answers");
    let text = response.body_mut().read_to_string().expect("a text");
    (response.status().as_u16(), text)
}

#[test]
fn the_control_api_refuses_strangers_web_pages_and_nonsense() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::start(dir.path(), "alone", &[]);
    let (url, token) = node.access();
    let port = url.rsplit_once(':').unwrap().1.to_owned();
    let bearer = format!("Bearer {token}");
    let right = ("authorization", bearer.as_str());
    let refused = |status: u16, why: &str, headers: &[(&str, &str)], body: &[u8]| {
        let (got, text) = say(&node, "/v1/command", headers, body);
        assert_eq!(got, status, "{why}: {text}");
        assert!(text.contains(why), "'{why}' is said: {text}");
        let _: serde_json::Value = serde_json::from_str(&text).expect("one JSON object");
    };
    let status = br#""status""#;
    refused(401, "no bearer token", &[], status);
    refused(
        401,
        "the bearer token is wrong",
        &[("authorization", "Bearer 00")],
        status,
    );
    refused(
        401,
        "no bearer token",
        &[("authorization", "Basic eDp5")],
        status,
    );
    let elsewhere = [right, ("host", "evil.example")];
    refused(
        403,
        "does not name this machine's loopback address",
        &elsewhere,
        status,
    );
    let rebound = format!("evil.example:{port}");
    refused(403, "does not name", &[right, ("host", &rebound)], status);
    refused(
        403,
        "web pages",
        &[right, ("origin", "https://evil.example")],
        status,
    );
    for body in [
        &b""[..],
        b"{",
        b"\"bogus\"",
        b"{\"status\":{}}",
        b"\xff\xfe",
        b"[1,2,3]",
    ] {
        refused(400, "the body is not a command", &[right], body);
    }
    let unknown = br#"{"ledger_give":{"peer":"x","amount":1,"twice":true}}"#;
    refused(400, "unknown field", &[right], unknown);
    let negative = br#"{"ledger_give":{"peer":"x","amount":-1}}"#;
    refused(400, "the body is not a command", &[right], negative);
    let large = vec![b' '; 64 * 1024 + 1];
    refused(413, "did not arrive whole", &[right], &large);
    assert_eq!(say(&node, "/v1/nothing", &[right], b"").0, 404);
    assert_eq!(say(&node, "/v1/snapshot", &[right], b"").0, 405);
    assert_eq!(say(&node, "/v1/command", &[right], status).0, 200);
    assert!(node.is_alive(), "it takes more than that");
}

#[test]
fn the_token_is_for_the_owner_alone_and_changes_with_every_start() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::start(dir.path(), "alone", &[]);
    for secret in ["control.token", "identity.key"] {
        let mode = std::fs::metadata(node.home().join(secret))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o077, 0, "{secret} is private");
    }
    let old = node.access().1.to_owned();
    node.restart();
    assert_ne!(node.access().1, old);
    let bearer = format!("Bearer {old}");
    let (status, _) = say(
        &node,
        "/v1/command",
        &[("authorization", &bearer)],
        b"\"status\"",
    );
    assert_eq!(status, 401);
}
