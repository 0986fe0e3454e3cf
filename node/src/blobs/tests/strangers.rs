//! What a stranger gets, and what nobody gets.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_may_knock_and_nothing_else() {
    // B10
    let alice = Node::start_in(24, tempfile::tempdir().unwrap(), None).await;
    let mut bob = Node::start(25).await;
    let addrs = bob.blobs.addrs();
    let blob = bob.import("model", &noise(13, MIB)).await;
    let answering = async {
        let call = bob.events.door.recv().await.unwrap();
        assert_eq!(
            (call.peer, call.request.as_slice()),
            (alice.id, &b"let me in"[..])
        );
        call.reply.send(b"welcome".to_vec()).unwrap();
        drop(bob.events.door.recv().await.unwrap());
    };
    let knocking = async {
        let request = b"let me in".to_vec();
        let answer = alice.blobs.knock(commons(), bob.id, &addrs, request).await;
        assert_eq!(answer.unwrap(), b"welcome");
        let refused = alice
            .blobs
            .knock(commons(), bob.id, &addrs, Vec::new())
            .await;
        assert!(matches!(refused, Err(KnockError::Refused)), "{refused:?}");
    };
    tokio::join!(answering, knocking);

    let other = CommonsId::from_bytes([8; 32]);
    let elsewhere = alice.blobs.knock(other, bob.id, &addrs, Vec::new()).await;
    assert!(
        matches!(elsewhere, Err(KnockError::NotInCommons { .. })),
        "{elsewhere:?}"
    );
    alice.blobs.remember(bob.id, addrs);
    alice.blobs.serve(commons());
    let stranger = fetch(&alice, blob, &[&bob]).await.unwrap_err();
    assert_eq!(cause(stranger, &bob), ProviderError::Refused);
    let job = alice
        .blobs
        .fetch_job(blob.hash, blob.size, bob.id)
        .await
        .unwrap_err();
    assert_eq!(cause(job, &bob), ProviderError::Refused);
    alice.blobs.close().await;
    bob.blobs.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_knock_at_a_closed_door_says_where_it_knocked() {
    let alice = Node::start(26).await;
    let nobody = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    let id = NodeId::from_bytes(
        ed25519_dalek::SigningKey::from_bytes(&[99; 32])
            .verifying_key()
            .to_bytes(),
    );
    let error = alice
        .blobs
        .knock(commons(), id, &[nobody], Vec::new())
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "nobody answered at 127.0.0.1:1");
    alice.blobs.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_beyond_a_single_blob_are_refused() {
    // B3
    let (alice, bob) = (Node::start(27).await, Node::start(28).await);
    alice.befriend(&bob);
    let secret = bob.import("secret", &noise(14, 100)).await;
    let planted = bob.import("planted", secret.hash.as_bytes()).await;
    let addr = endpoint::addr_of(&bob.id, &bob.blobs.addrs()).unwrap();
    let alpn = Service::Blobs.alpn(&commons());
    let connection = alice
        .blobs
        .shared
        .endpoint
        .connect(addr, &alpn)
        .await
        .unwrap();

    fetch(&alice, planted, &[&bob])
        .await
        .expect("the list itself is an ordinary blob");
    let child = GetRequest::builder()
        .child(0, ChunkRanges::all())
        .build(raw(&planted.hash));
    let both = GetRequest::all(raw(&planted.hash));
    for request in [child, both] {
        let store = alice.blobs.shared.store.api();
        let error = store
            .remote()
            .execute_get(connection.clone(), request)
            .await
            .unwrap_err();
        assert_eq!(
            error.iroh_error_code(),
            Some(endpoint::CODE_PERMISSION),
            "{error:?}"
        );
    }
    assert_eq!(
        alice.blobs.has(secret.hash).await.unwrap(),
        Presence::Missing
    );
    drop(connection);
    alice.blobs.close().await;
    bob.blobs.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_members_are_served_and_removal_cuts_connections() {
    // B2
    let (alice, bob) = (Node::start(5).await, Node::start(6).await);
    alice.befriend(&bob);
    let blob = bob.import("model", &noise(5, MIB)).await;
    bob.blobs.disallow(alice.id);
    let refused = fetch(&alice, blob, &[&bob]).await.unwrap_err();
    assert_eq!(cause(refused, &bob), ProviderError::Refused);

    bob.blobs.allow(alice.id);
    let addr = endpoint::addr_of(&bob.id, &bob.blobs.addrs()).unwrap();
    let alpn = Service::Blobs.alpn(&commons());
    let connection = alice
        .blobs
        .shared
        .endpoint
        .connect(addr, &alpn)
        .await
        .unwrap();
    get_verified_size(&connection, &raw(&blob.hash))
        .await
        .expect("a member is served");
    bob.blobs.disallow(alice.id);
    timeout(Duration::from_secs(5), connection.closed())
        .await
        .expect("the connection is closed");
    drop(connection);
    alice.blobs.close().await;
    bob.blobs.close().await;
}
