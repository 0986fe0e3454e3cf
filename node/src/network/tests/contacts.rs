//! Whom to dial, where and when.

use super::*;

#[test]
fn only_set_ip_addresses_over_tcp_or_quic_are_dialled() {
    for good in ["/ip4/10.0.0.1/tcp/4001", "/ip6/fe80::1/udp/4001/quic-v1"] {
        assert!(parse_addr(good).is_some(), "{good}");
    }
    let bad = [
        "",
        "/ip4/0.0.0.0/tcp/1",
        "/ip4/10.0.0.1/tcp/0",
        "/ip4/10.0.0.1/udp/1",
        "/memory/1",
    ];
    for bad in bad {
        assert!(parse_addr(bad).is_none(), "{bad}");
    }
    let named: Multiaddr = format!("/ip4/10.0.0.1/tcp/1/p2p/{}", PeerId::random())
        .parse()
        .unwrap();
    assert_eq!(dialable(named), parse_addr("/ip4/10.0.0.1/tcp/1"));
}

#[test]
fn failed_dials_wait_longer_up_to_a_minute() {
    let (me, peer) = (NodeId::from_bytes([1; 32]), NodeId::from_bytes([2; 32]));
    let mut contacts = Contacts::new(me);
    let mut now = Instant::now();
    contacts.allow(now, peer);
    let mut waits = Vec::new();
    for _ in 0..12 {
        assert_eq!(contacts.take_due(now).map(|(due, _)| due), Some(peer));
        assert_eq!(
            contacts.poll_timeout(),
            None,
            "a dial under way is not repeated"
        );
        contacts.failed(now, &peer);
        let next = contacts.poll_timeout().unwrap();
        waits.push(next - now);
        now = next;
    }
    assert!(waits[0] <= Duration::from_millis(500), "{waits:?}");
    assert!(waits[11] >= Duration::from_secs(30) && waits[11] <= Duration::from_secs(60));
    contacts.remember(now, peer, &[parse_addr("/ip4/10.0.0.1/tcp/1").unwrap()]);
    assert_eq!(
        contacts.poll_timeout(),
        Some(now),
        "a new address is tried at once"
    );
}

#[test]
fn the_higher_id_gives_the_lower_a_head_start() {
    let (low, high) = (NodeId::from_bytes([1; 32]), NodeId::from_bytes([2; 32]));
    let now = Instant::now();
    let mut contacts = Contacts::new(high);
    contacts.allow(now, low);
    assert!(contacts.take_due(now).is_none() && contacts.poll_timeout().unwrap() > now);
}

#[test]
fn hearsay_never_pushes_out_known_addresses() {
    let (me, peer) = (NodeId::from_bytes([1; 32]), NodeId::from_bytes([2; 32]));
    let addr = |port: usize| parse_addr(&format!("/ip4/10.0.0.1/tcp/{port}")).unwrap();
    let now = Instant::now();
    let mut contacts = Contacts::new(me);
    contacts.hear(now, &peer, &addr(1));
    assert_eq!(
        contacts.poll_timeout(),
        None,
        "nothing is heard of strangers"
    );
    contacts.allow(now, peer);
    contacts.remember(now, peer, &[addr(1), addr(2)]);
    for port in 100..200 {
        contacts.hear(now, &peer, &addr(port));
    }
    let (_, addrs) = contacts.take_due(now).unwrap();
    assert_eq!(addrs[..3], [addr(1), addr(2), addr(199)]);
    assert_eq!(addrs.len(), 2 + 4);
}

#[test]
fn a_member_that_moves_keeps_its_newest_addresses() {
    let (me, peer) = (NodeId::from_bytes([1; 32]), NodeId::from_bytes([2; 32]));
    let addr = |port: usize| parse_addr(&format!("/ip4/10.0.0.1/tcp/{port}")).unwrap();
    let now = Instant::now();
    let mut contacts = Contacts::new(me);
    for port in 1..100 {
        assert!(contacts.remember(now, peer, &[addr(port)]));
    }
    assert!(
        !contacts.remember(now, peer, &[addr(99)]),
        "known is no news"
    );
    assert_eq!(contacts.addrs(&peer).len(), ADDRS_MAX);
    assert_eq!(contacts.addrs(&peer)[0], addr(99));
}

#[test]
fn no_more_than_sixteen_dials_run_at_a_time() {
    let mut contacts = Contacts::new(NodeId::from_bytes([0; 32]));
    let now = Instant::now();
    for byte in 1..=100 {
        contacts.allow(now, NodeId::from_bytes([byte; 32]));
    }
    let dialled = std::iter::from_fn(|| contacts.take_due(now)).count();
    assert_eq!(dialled, 16);
    contacts.disallow(&NodeId::from_bytes([1; 32]));
    assert!(contacts.take_due(now).is_some(), "a slot is free again");
}
