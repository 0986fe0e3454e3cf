//! Whole endpoints on loopback, with real stores in temporary folders.

mod strangers;

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use iroh_blobs::{
    get::request::get_verified_size,
    protocol::{ChunkRanges, GetRequest},
};
use tempfile::TempDir;
use tokio::time::timeout;

use super::provider::ProviderError;
use super::{endpoint::Service, store::raw, *};

const MIB: usize = 1 << 20;

fn commons() -> CommonsId {
    CommonsId::from_bytes([7; 32])
}

/// Bytes that look random and differ by seed.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new()
        .update(&seed.to_le_bytes())
        .finalize_xof()
        .fill(&mut bytes);
    bytes
}

struct Node {
    blobs: Blobs,
    events: BlobsEvents,
    id: NodeId,
    seed: u8,
    dir: TempDir,
}

impl Node {
    async fn start(seed: u8) -> Self {
        Self::start_in(seed, tempfile::tempdir().unwrap(), Some(commons())).await
    }

    async fn start_in(seed: u8, dir: TempDir, commons: Option<CommonsId>) -> Self {
        let config = BlobsConfig {
            seed: [seed; 32],
            commons,
            dir: dir.path().join("blobs"),
            job_dir: dir.path().join("jobs"),
            bind: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        };
        let key = ed25519_dalek::SigningKey::from_bytes(&config.seed);
        let id = NodeId::from_bytes(key.verifying_key().to_bytes());
        let (blobs, events) = Blobs::open(config).await.unwrap();
        Self {
            blobs,
            events,
            id,
            seed,
            dir,
        }
    }

    /// Both know and serve each other.
    fn befriend(&self, other: &Self) {
        self.blobs.remember(other.id, other.blobs.addrs());
        other.blobs.remember(self.id, self.blobs.addrs());
        self.blobs.allow(other.id);
        other.blobs.allow(self.id);
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        path.canonicalize().unwrap()
    }

    async fn import(&self, name: &str, bytes: &[u8]) -> Imported {
        self.blobs
            .import(&self.write(name, bytes), |_| {})
            .await
            .unwrap()
    }

    async fn restart(self) -> Self {
        let (seed, dir) = (self.seed, self.dir);
        self.blobs.close().await;
        Self::start_in(seed, dir, Some(commons())).await
    }
}

async fn fetch(node: &Node, blob: Imported, from: &[&Node]) -> Result<FetchReport, FetchError> {
    let from: Vec<_> = from.iter().map(|node| node.id).collect();
    node.blobs.fetch(blob.hash, blob.size, &from, |_| {}).await
}

fn cause(error: FetchError, node: &Node) -> ProviderError {
    if let FetchError::AllFailed { mut causes, .. } = error {
        return causes.remove(&node.id).expect("the provider is blamed");
    }
    let FetchError::Provider { peer, cause } = error else {
        panic!("expected the provider to be blamed, got {error:?}");
    };
    assert_eq!(peer, node.id);
    cause
}

fn disk_usage(dir: &Path) -> u64 {
    fs::read_dir(dir)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let meta = entry.metadata().unwrap();
            if meta.is_dir() {
                disk_usage(&entry.path())
            } else {
                meta.len()
            }
        })
        .sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn import_references_the_file_and_fetch_gives_the_same_bytes() {
    // B1
    let (alice, mut bob) = (Node::start(1).await, Node::start(2).await);
    alice.befriend(&bob);
    let bytes = noise(1, 40 * MIB);
    let path = bob.write("model.safetensors", &bytes);
    let seen = AtomicU64::new(0);
    let blob = bob
        .blobs
        .import(&path, |bytes| seen.store(bytes, Ordering::Relaxed))
        .await
        .unwrap();
    assert_eq!(
        blob,
        Imported {
            hash: BlobHash::of(&bytes),
            size: bytes.len() as u64
        }
    );
    assert_eq!(seen.into_inner(), blob.size, "progress reaches the end");
    assert!(
        disk_usage(&bob.dir.path().join("blobs")) < 4 * MIB as u64,
        "nothing was copied"
    );
    assert_eq!(
        bob.blobs.file(blob.hash).await.unwrap(),
        path,
        "the user's own file is read"
    );

    assert_eq!(alice.blobs.has(blob.hash).await.unwrap(), Presence::Missing);
    let report = fetch(&alice, blob, &[&bob]).await.unwrap();
    assert_eq!(report.bytes_from[&bob.id], blob.size);
    assert_eq!(
        alice.blobs.has(blob.hash).await.unwrap(),
        Presence::Complete { size: blob.size }
    );
    assert_eq!(
        fs::read(alice.blobs.file(blob.hash).await.unwrap()).unwrap(),
        bytes
    );

    let mut served = 0;
    while served < blob.size {
        let upload = timeout(Duration::from_secs(5), bob.events.served.recv()).await;
        let upload = upload.expect("uploads are reported").unwrap();
        assert_eq!((upload.peer, upload.hash), (alice.id, blob.hash));
        served += upload.bytes;
    }
    assert!(
        served < blob.size + 64 * 1024,
        "payload bytes only, {served}"
    );
    alice.blobs.close().await;
    bob.blobs.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn small_and_empty_blobs_have_files_too() {
    // B1
    let (alice, bob) = (Node::start(3).await, Node::start(4).await);
    alice.befriend(&bob);
    for bytes in [
        noise(2, 5000),
        noise(3, 16 * 1024),
        noise(4, 16 * 1024 + 1),
        Vec::new(),
    ] {
        let blob = bob.import("card.cbor", &bytes).await;
        fetch(&alice, blob, &[&bob]).await.unwrap();
        for node in [&alice, &bob] {
            assert_eq!(
                fs::read(node.blobs.file(blob.hash).await.unwrap()).unwrap(),
                bytes
            );
        }
    }
    alice.blobs.close().await;
    bob.blobs.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_blob_is_readable_by_the_granted_peer_only() {
    // B12
    let (alice, bob, eve) = (
        Node::start(7).await,
        Node::start(8).await,
        Node::start(9).await,
    );
    alice.befriend(&bob);
    eve.befriend(&bob);
    let bytes = noise(6, 3 * MIB + 17);
    let hash = bob.blobs.put_job(bytes.clone()).await.unwrap();
    let len_max = bytes.len() as u64;

    bob.blobs.grant(hash, alice.id);
    assert_eq!(
        alice.blobs.fetch_job(hash, len_max, bob.id).await.unwrap(),
        bytes
    );
    let refused = eve
        .blobs
        .fetch_job(hash, len_max, bob.id)
        .await
        .unwrap_err();
    assert_eq!(cause(refused, &bob), ProviderError::Refused);
    let public = fetch(
        &alice,
        Imported {
            hash,
            size: len_max,
        },
        &[&bob],
    )
    .await
    .unwrap_err();
    assert_eq!(
        cause(public, &bob),
        ProviderError::NotHeld,
        "job blobs are not model files"
    );
    let long = alice
        .blobs
        .fetch_job(hash, len_max - 1, bob.id)
        .await
        .unwrap_err();
    assert!(matches!(long, FetchError::TooLarge { .. }), "{long:?}");

    let bob = bob.restart().await;
    assert_eq!(
        fs::read(bob.blobs.shared.jobs.path(&hash)).unwrap(),
        bytes,
        "it survives a restart"
    );
    bob.befriend(&alice);
    let refused = alice
        .blobs
        .fetch_job(hash, len_max, bob.id)
        .await
        .unwrap_err();
    assert_eq!(
        cause(refused, &bob),
        ProviderError::Refused,
        "grants do not"
    );
    bob.blobs.drop_job(hash).await.unwrap();
    assert!(!bob.blobs.shared.jobs.path(&hash).exists());
    for node in [alice, bob, eve] {
        node.blobs.close().await;
    }
}

/// Starts a fetch and drops it once at least `bytes` arrived.
async fn fetch_part(node: &Node, blob: Imported, from: &Node, bytes: u64) {
    let arrived = tokio::sync::Notify::new();
    let from = [from.id];
    let progress = |present| {
        if present >= bytes {
            arrived.notify_one();
        }
    };
    tokio::select! {
        done = node.blobs.fetch(blob.hash, blob.size, &from, progress) => {
            panic!("expected the fetch to be interrupted, got {done:?}");
        }
        () = arrived.notified() => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_dropped_midway_goes_on_from_what_arrived() {
    // B4
    let (alice, bob) = (Node::start(10).await, Node::start(11).await);
    alice.befriend(&bob);
    let bytes = noise(7, 200 * MIB);
    let blob = bob.import("model", &bytes).await;
    fetch_part(&alice, blob, &bob, 16 * MIB as u64).await;

    let alice = alice.restart().await;
    alice.befriend(&bob);
    alice.blobs.collect_garbage().await;
    let Presence::Partial { bytes: kept } = alice.blobs.has(blob.hash).await.unwrap() else {
        panic!("expected a part to be kept");
    };
    assert!(kept >= 16 * MIB as u64, "kept {kept}");
    let report = fetch(&alice, blob, &[&bob]).await.unwrap();
    assert_eq!(report.resumed_bytes, kept);
    assert!(report.bytes_from[&bob.id] <= blob.size - kept + MIB as u64);
    assert!(
        fs::read(alice.blobs.file(blob.hash).await.unwrap()).unwrap() == bytes,
        "same bytes"
    );
    alice.blobs.close().await;
    bob.blobs.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_provider_takes_over_when_one_dies_midway() {
    // B5
    let (alice, bob, carol) = (
        Node::start(12).await,
        Node::start(13).await,
        Node::start(14).await,
    );
    alice.befriend(&bob);
    alice.befriend(&carol);
    let bytes = noise(8, 200 * MIB);
    let blob = bob.import("model", &bytes).await;
    assert_eq!(carol.import("same", &bytes).await, blob);

    let started = tokio::sync::Notify::new();
    let providers = [bob.id, carol.id];
    let progress = |present| {
        if present >= 16 * MIB as u64 {
            started.notify_one();
        }
    };
    let fetching = alice
        .blobs
        .fetch(blob.hash, blob.size, &providers, progress);
    let dying = async {
        started.notified().await;
        bob.blobs.close().await;
    };
    let (report, ()) = tokio::join!(fetching, dying);
    let report = report.unwrap();
    assert!(report.bytes_from[&bob.id] > 0, "both served: {report:?}");
    assert!(report.bytes_from[&carol.id] > 0, "both served: {report:?}");
    assert!(
        report.bytes_from[&bob.id] < blob.size,
        "bob died: {report:?}"
    );
    assert!(
        fs::read(alice.blobs.file(blob.hash).await.unwrap()).unwrap() == bytes,
        "same bytes"
    );
    alice.blobs.close().await;
    carol.blobs.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_changed_after_import_is_refused_by_the_fetcher() {
    // B6
    let (alice, bob) = (Node::start(15).await, Node::start(16).await);
    alice.befriend(&bob);
    let mut bytes = noise(9, 8 * MIB);
    let blob = bob.import("model", &bytes).await;
    bytes[5 * MIB] ^= 1;
    bob.write("model", &bytes);
    let error = fetch(&alice, blob, &[&bob]).await.unwrap_err();
    assert_eq!(cause(error, &bob), ProviderError::Withdrew);
    assert!(matches!(
        alice.blobs.has(blob.hash).await.unwrap(),
        Presence::Partial { .. }
    ));
    alice.blobs.close().await;
    bob.blobs.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_of_another_size_is_refused_before_it_is_stored() {
    // B7
    let (alice, bob) = (Node::start(17).await, Node::start(18).await);
    alice.befriend(&bob);
    let blob = bob.import("model", &noise(10, MIB)).await;
    let wrong = Imported {
        size: blob.size + 1,
        ..blob
    };
    let error = fetch(&alice, wrong, &[&bob]).await.unwrap_err();
    let expected = ProviderError::SizeMismatch {
        expected: wrong.size,
        got: blob.size,
    };
    assert_eq!(cause(error, &bob), expected);
    assert_eq!(alice.blobs.has(blob.hash).await.unwrap(), Presence::Missing);
    alice.blobs.close().await;
    bob.blobs.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partial_copy_is_served_while_the_rest_comes_from_elsewhere() {
    // B8
    let (alice, bob, carol) = (
        Node::start(19).await,
        Node::start(20).await,
        Node::start(21).await,
    );
    for (one, other) in [(&alice, &bob), (&alice, &carol), (&bob, &carol)] {
        one.befriend(other);
    }
    let bytes = noise(11, 200 * MIB);
    let blob = bob.import("model", &bytes).await;
    fetch_part(&carol, blob, &bob, 8 * MIB as u64).await;
    let report = fetch(&alice, blob, &[&carol, &bob]).await.unwrap();
    assert_eq!(report.bytes_from.len(), 2, "both served: {report:?}");
    for node in [alice, bob, carol] {
        node.blobs.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unpinned_blobs_are_collected_and_a_lost_reference_is_fetched_again() {
    // B9
    let (alice, bob) = (Node::start(22).await, Node::start(23).await);
    alice.befriend(&bob);
    let bytes = noise(12, MIB);
    let blob = bob.import("model", &bytes).await;
    alice.import("copy", &bytes).await;
    fs::remove_file(alice.dir.path().join("copy")).unwrap();
    assert_eq!(alice.blobs.has(blob.hash).await.unwrap(), Presence::Missing);
    assert!(matches!(
        alice.blobs.file(blob.hash).await,
        Err(FileError::Gone { .. })
    ));
    fetch(&alice, blob, &[&bob]).await.unwrap();
    assert_eq!(
        fs::read(alice.blobs.file(blob.hash).await.unwrap()).unwrap(),
        bytes
    );

    alice.blobs.collect_garbage().await;
    assert_eq!(
        alice.blobs.has(blob.hash).await.unwrap(),
        Presence::Complete { size: blob.size }
    );
    alice.blobs.unpin(blob.hash).await.unwrap();
    alice.blobs.collect_garbage().await;
    assert_eq!(alice.blobs.has(blob.hash).await.unwrap(), Presence::Missing);
    bob.blobs.unpin(blob.hash).await.unwrap();
    bob.blobs.collect_garbage().await;
    assert!(
        bob.dir.path().join("model").exists(),
        "the user's file is not ours to delete"
    );
    alice.blobs.close().await;
    bob.blobs.close().await;
}
