mod streams;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, Response, StatusCode, header};
use futures::StreamExt;
use futures::future::BoxFuture;
use hearth_protocol::capacity::{Accepting, Device, DeviceKind};
use hearth_protocol::control::{Command, Problem, ProblemKind, Reply};
use hearth_protocol::id::NodeId;
use hearth_protocol::snapshot::{Notice, Snapshot, StatusView};
use hearth_protocol::unit::{Balance, ByteCount, Timestamp};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;
use tokio::time::timeout;
use tower::ServiceExt;

use crate::{Access, COMMAND_LEN_MAX, Control, Outcome, STREAMS_MAX, Version, router};

const TOKEN: &str = "correct horse";
const HOST: &str = "127.0.0.1:7777";

struct Node {
    notices: broadcast::Sender<Notice>,
}

impl Control for Node {
    fn execute(&self, command: Command) -> BoxFuture<'static, Result<Reply, Problem>> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            let fail = |kind| Err(Problem::new(kind, "no"));
            if command == Command::WorkerPause {
                return Ok(Reply::Done {
                    what: "the worker is paused".into(),
                });
            }
            assert!(command != Command::LedgerAudit, "a bug in the node");
            if command == Command::Status {
                fail(ProblemKind::Failed)
            } else if command == Command::Doctor {
                fail(ProblemKind::Credit)
            } else if command == Command::ModelList {
                fail(ProblemKind::Timeout)
            } else {
                fail(ProblemKind::Usage)
            }
        })
    }

    fn snapshot(&self) -> BoxFuture<'static, Option<Arc<Snapshot>>> {
        Box::pin(std::future::ready(Some(Arc::new(snapshot()))))
    }

    fn notices(&self) -> broadcast::Receiver<Notice> {
        self.notices.subscribe()
    }
}

fn snapshot() -> Snapshot {
    Snapshot {
        time: Timestamp::from_millis(7),
        status: StatusView {
            node: NodeId::from_bytes([7; 32]),
            nickname: "ada".into(),
            version: "0.1.0".into(),
            pid: 1,
            started: Timestamp::ORIGIN,
            home: "home".into(),
            commons: None,
            device: Device {
                kind: DeviceKind::Cpu,
                name: "a cpu".into(),
                memory: ByteCount::new(1 << 30),
                units: 2,
            },
            accepting: Accepting::Yes,
            connected: 0,
            jobs_open: 0,
            work_open: 0,
            // Beyond 64 bits: balances travel as they are.
            balance: Balance::from_mk(-(1 << 70)),
            pending: Balance::ZERO,
            digest: None,
            entries: 0,
            memory: ByteCount::new(1),
            energy_j: 0.5,
            listening: Vec::new(),
            dropped: Vec::new(),
            alerts: Vec::new(),
        },
        peers: Vec::new(),
        jobs: Vec::new(),
        cards: Vec::new(),
        transfers: Vec::new(),
        balances: Vec::new(),
        entries: Vec::new(),
        log: Vec::new(),
    }
}

fn house() -> (Router, broadcast::Sender<Notice>) {
    house_with(TOKEN, HOST)
}

fn house_with(token: &str, addr: &str) -> (Router, broadcast::Sender<Notice>) {
    let (notices, _) = broadcast::channel(4);
    let access = Access {
        token: token.into(),
        addr: addr.parse().unwrap(),
    };
    let node = Arc::new(Node {
        notices: notices.clone(),
    });
    (router(node, access), notices)
}

fn request(method: &str, path: &str) -> axum::http::request::Builder {
    Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, HOST)
        .header(header::AUTHORIZATION, format!("Bearer {TOKEN}"))
}

fn bare(path: &str, host: &str) -> axum::http::request::Builder {
    Request::builder().uri(path).header(header::HOST, host)
}

async fn send(request: Request<Body>) -> Response<Body> {
    house().0.oneshot(request).await.unwrap()
}

async fn body(response: Response<Body>) -> Vec<u8> {
    to_bytes(response.into_body(), 1 << 20)
        .await
        .unwrap()
        .to_vec()
}

async fn problem(request: Request<Body>) -> (StatusCode, Problem) {
    let response = send(request).await;
    let status = response.status();
    assert_eq!(
        response.headers()[header::CONTENT_TYPE],
        "application/json",
        "problems are JSON"
    );
    match serde_json::from_slice(&body(response).await).unwrap() {
        Outcome::Problem(problem) => (status, problem),
        Outcome::Ok(reply) => panic!("expected a problem, got {reply:?}"),
    }
}

fn empty(builder: axum::http::request::Builder) -> Request<Body> {
    builder.body(Body::empty()).unwrap()
}

fn command(text: &str) -> Request<Body> {
    request("POST", "/v1/command")
        .body(Body::from(text.to_owned()))
        .unwrap()
}

#[tokio::test]
async fn every_route_wants_the_token() {
    // C2
    for path in [
        "/v1/command",
        "/v1/snapshot",
        "/v1/events",
        "/v1/version",
        "/nowhere",
    ] {
        let (status, missing) = problem(empty(bare(path, HOST))).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{path}");
        assert_eq!(missing.what, "no bearer token");
    }
}

#[tokio::test]
async fn a_wrong_token_is_refused_whatever_its_length() {
    for token in ["wrong", "correct hors", "correct horse!", "CORRECT HORSE"] {
        let asked =
            bare("/v1/version", HOST).header(header::AUTHORIZATION, format!("Bearer {token}"));
        let response = send(empty(asked)).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{token}");
        assert_eq!(response.headers()[header::WWW_AUTHENTICATE], "Bearer");
    }
    for value in ["Basic correct horse", "Bearer", "Bearer ", "correct horse"] {
        let asked = bare("/v1/version", HOST).header(header::AUTHORIZATION, value);
        assert_eq!(send(empty(asked)).await.status(), StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test]
async fn an_empty_token_file_lets_nobody_in() {
    let asked = bare("/v1/version", HOST).header(header::AUTHORIZATION, "Bearer  ");
    let response = house_with(" \n", HOST)
        .0
        .oneshot(empty(asked))
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn two_tokens_are_refused_even_when_one_is_right() {
    let asked = request("GET", "/v1/version").header(header::AUTHORIZATION, "Bearer other");
    assert_eq!(send(empty(asked)).await.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_rebound_name_is_refused_before_the_token_is_read() {
    // C2
    for host in [
        "evil.example:7777",
        "localhost.evil.example:7777",
        "127.0.0.1.evil.example:7777",
        "192.168.1.4:7777",
        "127.0.0.1:7778",
        "127.0.0.1",
        "evil@127.0.0.1:7777",
        "0.0.0.0:7777",
        "",
    ] {
        let asked =
            bare("/v1/version", host).header(header::AUTHORIZATION, format!("Bearer {TOKEN}"));
        let (status, problem) = problem(empty(asked)).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{host}");
        assert!(problem.what.contains("Host"), "{host}: {}", problem.what);
    }
    let nameless = Request::builder().uri("/v1/version").body(Body::empty());
    assert_eq!(problem(nameless.unwrap()).await.0, StatusCode::FORBIDDEN);
    let twice = request("GET", "/v1/version").header(header::HOST, HOST);
    assert_eq!(problem(empty(twice)).await.0, StatusCode::FORBIDDEN);
    let absolute = request("GET", "http://evil.example:7777/v1/version");
    assert_eq!(problem(empty(absolute)).await.0, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn every_loopback_name_is_let_in() {
    for host in [
        "localhost:7777",
        "LOCALHOST:7777",
        "127.0.0.1:7777",
        "127.9.9.9:7777",
        "[::1]:7777",
    ] {
        let asked =
            bare("/v1/version", host).header(header::AUTHORIZATION, format!("Bearer {TOKEN}"));
        assert_eq!(send(empty(asked)).await.status(), StatusCode::OK, "{host}");
    }
}

#[tokio::test]
async fn an_address_bound_on_purpose_may_be_named() {
    let asked = bare("/v1/version", "192.168.1.4:7777")
        .header(header::AUTHORIZATION, format!("Bearer {TOKEN}"));
    let (house, _notices) = house_with(TOKEN, "192.168.1.4:7777");
    assert_eq!(
        house.oneshot(empty(asked)).await.unwrap().status(),
        StatusCode::OK
    );
}

#[tokio::test]
async fn pages_from_elsewhere_are_refused() {
    for origin in [
        "https://evil.example",
        "null",
        "http://127.0.0.1.evil.example",
        "http://localhost.evil.example:7777",
        "file://localhost",
        "",
    ] {
        let asked = request("GET", "/v1/version").header(header::ORIGIN, origin);
        let (status, problem) = problem(empty(asked)).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{origin}");
        assert!(problem.what.contains("web pages"), "{}", problem.what);
    }
}

#[tokio::test]
async fn a_local_page_is_let_in_without_cors_headers() {
    for origin in [
        "http://localhost:3000",
        "http://127.0.0.1:7777",
        "https://[::1]",
    ] {
        let asked = request("GET", "/v1/version").header(header::ORIGIN, origin);
        let response = send(empty(asked)).await;
        assert_eq!(response.status(), StatusCode::OK, "{origin}");
        let cors = response.headers().keys();
        assert!(
            cors.filter(|name| name.as_str().starts_with("access-control"))
                .count()
                == 0
        );
        assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
    }
}

#[tokio::test]
async fn a_command_goes_there_and_back() {
    let response = send(command("\"worker_pause\"")).await;
    assert_eq!(response.status(), StatusCode::OK);
    let bytes = body(response).await;
    assert_eq!(
        String::from_utf8(bytes.clone()).unwrap(),
        r#"{"ok":{"done":{"what":"the worker is paused"}}}"#
    );
    let outcome: Outcome = serde_json::from_slice(&bytes).unwrap();
    assert!(Result::from(outcome).is_ok());
}

#[tokio::test]
async fn each_kind_of_problem_has_its_status() {
    // C6
    for (asked, status, kind) in [
        ("\"status\"", 409, ProblemKind::Failed),
        ("\"doctor\"", 402, ProblemKind::Credit),
        ("\"model_list\"", 504, ProblemKind::Timeout),
        ("\"shutdown\"", 400, ProblemKind::Usage),
    ] {
        let (got, problem) = problem(command(asked)).await;
        assert_eq!((got.as_u16(), problem.kind), (status, kind), "{asked}");
    }
}

#[tokio::test]
async fn a_command_that_panics_is_answered() {
    let (status, problem) = problem(command("\"ledger_audit\"")).await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(problem.kind, ProblemKind::Failed);
}

#[tokio::test]
async fn malformed_json_is_explained() {
    for (text, cause) in [
        ("{", "EOF"),
        ("", "EOF"),
        ("\"dance\"", "unknown variant `dance`"),
        (
            r#"{"jobs_show":{"job":"1","more":2}}"#,
            "unknown field `more`",
        ),
        ("\"status\" \"status\"", "trailing characters"),
        ("\u{7}", "expected value"),
    ] {
        let (status, problem) = problem(command(text)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{text}");
        assert_eq!(problem.what, "the body is not a command");
        assert!(
            problem.causes[0].contains(cause),
            "{text}: {:?}",
            problem.causes
        );
    }
}

#[tokio::test]
async fn an_oversized_command_is_refused() {
    let (status, problem) = problem(command(&" ".repeat(COMMAND_LEN_MAX + 1))).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(problem.kind, ProblemKind::Usage);
    let padded = format!("{}\"worker_pause\"", " ".repeat(COMMAND_LEN_MAX - 14));
    assert_eq!(send(command(&padded)).await.status(), StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn a_command_that_never_arrives_times_out() {
    let endless = Body::from_stream(futures::stream::pending::<Result<Vec<u8>, std::io::Error>>());
    let asked = request("POST", "/v1/command").body(endless).unwrap();
    assert_eq!(problem(asked).await.0, StatusCode::REQUEST_TIMEOUT);
}

#[tokio::test]
async fn a_snapshot_comes_back_as_it_was() {
    let response = send(empty(request("GET", "/v1/snapshot"))).await;
    let got: Snapshot = serde_json::from_slice(&body(response).await).unwrap();
    assert_eq!(got, snapshot());
}

#[tokio::test]
async fn the_version_needs_no_body() {
    let response = send(empty(request("GET", "/v1/version"))).await;
    let version: Version = serde_json::from_slice(&body(response).await).unwrap();
    assert_eq!((version.name.as_str(), version.schema), ("hearth", 1));
}

#[tokio::test]
async fn unknown_routes_and_methods_are_json_problems() {
    assert_eq!(
        problem(empty(request("GET", "/v2/x"))).await.0,
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        problem(empty(request("GET", "/v1/command"))).await.0,
        StatusCode::METHOD_NOT_ALLOWED
    );
}

#[tokio::test]
async fn it_works_over_a_socket() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (house, notices) = house_with(TOKEN, &addr.to_string());
    let server = tokio::spawn(async move { axum::serve(listener, house).await });

    let mut socket = TcpStream::connect(addr).await.unwrap();
    let asked =
        format!("GET /v1/events HTTP/1.1\r\nHost: {addr}\r\nAuthorization: Bearer {TOKEN}\r\n\r\n");
    socket.write_all(asked.as_bytes()).await.unwrap();
    let mut got = String::new();
    while !got.contains("\r\n\r\n") {
        got += &read_some(&mut socket).await;
    }
    assert!(got.starts_with("HTTP/1.1 200 OK"), "{got}");
    notices.send(Notice::Changed).unwrap();
    while !got.contains("data: \"changed\"") {
        got += &read_some(&mut socket).await;
    }
    server.abort();
}

async fn read_some(socket: &mut TcpStream) -> String {
    let mut bytes = [0; 1024];
    let read = timeout(Duration::from_secs(20), socket.read(&mut bytes)).await;
    let count = read.expect("the gateway answers").unwrap();
    assert!(count > 0, "the gateway keeps the stream open");
    String::from_utf8_lossy(&bytes[..count]).into_owned()
}

#[test]
fn access_does_not_show_its_token() {
    let access = Access {
        token: TOKEN.into(),
        addr: HOST.parse().unwrap(),
    };
    assert!(!format!("{access:?}").contains("horse"));
}
