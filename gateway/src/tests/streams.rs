//! Event streams, and commands that outlive who asked.

use super::*;

async fn next_event(events: &mut axum::body::BodyDataStream) -> String {
    let chunk = timeout(Duration::from_secs(20), events.next()).await;
    let bytes = chunk.expect("an event arrives").unwrap().unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn a_notice_reaches_an_event_stream() {
    let (house, notices) = house();
    let response = house
        .oneshot(empty(request("GET", "/v1/events")))
        .await
        .unwrap();
    assert_eq!(
        response.headers()[header::CONTENT_TYPE],
        "text/event-stream"
    );
    let mut events = response.into_body().into_data_stream();
    notices.send(Notice::Changed).unwrap();
    assert_eq!(next_event(&mut events).await, "data: \"changed\"\n\n");
}

#[tokio::test]
async fn a_stream_that_lags_is_told_to_read_the_snapshot() {
    // C5
    let (house, notices) = house();
    let response = house
        .oneshot(empty(request("GET", "/v1/events")))
        .await
        .unwrap();
    for _ in 0..40 {
        notices.send(Notice::Changed).unwrap();
    }
    let mut events = response.into_body().into_data_stream();
    // One for what was lost, then the four that the channel kept.
    for _ in 0..5 {
        assert_eq!(next_event(&mut events).await, "data: \"changed\"\n\n");
    }
    drop(notices);
}

#[tokio::test(start_paused = true)]
async fn a_quiet_stream_says_that_it_is_alive() {
    let (house, _notices) = house();
    let response = house
        .oneshot(empty(request("GET", "/v1/events")))
        .await
        .unwrap();
    let mut events = response.into_body().into_data_stream();
    assert!(next_event(&mut events).await.starts_with(':'));
}

#[tokio::test]
async fn streams_are_bounded_and_given_back() {
    let (house, _notices) = house();
    let mut open = Vec::new();
    for _ in 0..STREAMS_MAX {
        let asked = empty(request("GET", "/v1/events"));
        open.push(house.clone().oneshot(asked).await.unwrap());
    }
    let ask = || empty(request("GET", "/v1/events"));
    let refused = house.clone().oneshot(ask()).await.unwrap();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    open.clear();
    assert_eq!(house.oneshot(ask()).await.unwrap().status(), StatusCode::OK);
}

/// A node whose commands take a while and are counted when they are done.
struct Slow(Arc<std::sync::atomic::AtomicU32>);

impl Control for Slow {
    fn execute(&self, _command: Command) -> BoxFuture<'static, Result<Reply, Problem>> {
        let done = Arc::clone(&self.0);
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(50)).await;
            done.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            Ok(Reply::Done {
                what: "done".into(),
            })
        })
    }

    fn snapshot(&self) -> BoxFuture<'static, Option<Arc<Snapshot>>> {
        Box::pin(std::future::ready(None))
    }

    fn notices(&self) -> broadcast::Receiver<Notice> {
        broadcast::channel(1).1
    }
}

#[tokio::test(start_paused = true)]
async fn a_command_is_done_even_when_whoever_asked_hangs_up() {
    // C4
    let done = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let access = Access {
        token: TOKEN.into(),
        addr: HOST.parse().unwrap(),
    };
    let router = router(Arc::new(Slow(Arc::clone(&done))), access);
    let asked = router.oneshot(command("\"worker_pause\""));
    let hung_up = timeout(Duration::from_millis(10), asked).await;
    assert!(hung_up.is_err(), "nobody waits for the answer");
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(done.load(std::sync::atomic::Ordering::SeqCst), 1);
}
