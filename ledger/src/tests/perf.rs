//! temp
use std::time::Instant;
use super::world::*;
#[test]
#[ignore = "measure"]
fn perf() {
    let mut world = World::open(20);
    let t = Instant::now();
    for n in 0..33_000u64 {
        let (a, b) = (u8::try_from(n % 20).unwrap(), u8::try_from((n + 1 + n / 20 % 18) % 20).unwrap());
        if a == b { continue; }
        let mut job = [0; 32]; job[..8].copy_from_slice(&n.to_be_bytes());
        let body = hearth_protocol::entry::Body::Order { provider: id(b), job: hearth_protocol::id::Commitment::from_bytes(job), max: mk(100), deadline: at(100 + n + 50) };
        let order = world.write(a, &body, 100 + n);
        let r = world.receipt(b, order, 60, 100 + n);
        if n % 2 == 0 { world.accept(a, r, 100 + n); }
    }
    eprintln!("signed {} in {:?}", world.entries.len(), t.elapsed());
    let t = Instant::now();
    let book = world.book_unchecked();
    eprintln!("replayed in {:?}", t.elapsed());
    let t = Instant::now();
    let d = book.digest();
    eprintln!("digest {:?} {:?}", &d[..2], t.elapsed());
    let t = Instant::now();
    for a in 0..20 { for b in 0..20 { crate::room(&book, &id(a), &id(b), mk(0)); book.pending(&id(a)); } }
    eprintln!("400 rooms {:?}", t.elapsed());
    let t = Instant::now();
    eprintln!("why {} {:?}", crate::why(&book, &id(0)).len(), t.elapsed());
    let rss = || std::fs::read_to_string("/proc/self/status").unwrap().lines().find(|l| l.starts_with("VmRSS")).unwrap().to_owned();
    eprintln!("{}", rss());
    let dir = tempfile::TempDir::new().unwrap();
    let mut l = crate::Ledger::open(dir.path(), world.charter.clone(), key(30)).unwrap();
    let t = Instant::now();
    for chunk in world.entries.chunks(128).take(80) { let r = l.receive(chunk.to_vec(), LATE).unwrap(); assert!(r.unsaved.is_none()); }
    l.sync().unwrap();
    eprintln!("received 10k {:?}", t.elapsed());
    l.close().unwrap();
    let t = Instant::now();
    let mut l = crate::Ledger::open(dir.path(), world.charter.clone(), key(30)).unwrap();
    eprintln!("reopen 10k {:?}", t.elapsed());
    let t = Instant::now();
    l.write(hearth_protocol::entry::Body::Join { invite: None }, LATE).unwrap();
    eprintln!("write {:?}", t.elapsed());
    let t = Instant::now();
    for i in 0..100 { l.write(gift(1, i), LATE).unwrap(); }
    eprintln!("100 writes {:?}", t.elapsed());
    let t = Instant::now(); l.sync().unwrap(); eprintln!("sync {:?}", t.elapsed());
}
#[test]
#[ignore = "measure"]
fn idle() {
    let rss = || std::fs::read_to_string("/proc/self/status").unwrap().lines().filter(|l| l.starts_with("VmRSS") || l.starts_with("Threads")).collect::<Vec<_>>().join(" ");
    eprintln!("before {}", rss());
    let world = World::open(3);
    let dir = tempfile::TempDir::new().unwrap();
    let t = Instant::now();
    let mut l = crate::Ledger::open(dir.path(), world.charter.clone(), key(0)).unwrap();
    eprintln!("open new {:?} {}", t.elapsed(), rss());
    l.receive(world.entries.clone(), LATE).unwrap();
    for i in 0..200 { l.write(gift(1, i), LATE).unwrap(); }
    l.sync().unwrap();
    eprintln!("used {}", rss());
    l.close().unwrap();
    let t = Instant::now();
    let _l = crate::Ledger::open(dir.path(), world.charter.clone(), key(0)).unwrap();
    eprintln!("open small {:?} {}", t.elapsed(), rss());
}
