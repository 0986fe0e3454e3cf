//! Frames on a stream.

use super::*;

#[tokio::test]
async fn frame_over_the_limit_is_refused_before_its_body() {
    // W6
    let wire = u32::MAX.to_le_bytes();
    let read = frame::read(&mut &wire[..], 16).await;
    assert!(matches!(
        read,
        Err(FrameError::TooLong {
            len: u32::MAX,
            len_max: 16
        })
    ));
}

#[tokio::test]
async fn frames_survive_the_wire() {
    let mut wire = Vec::new();
    for bytes in [&b""[..], b"x", &[9; 40_000]] {
        wire.clear();
        frame::write(&mut wire, bytes).await.unwrap();
        assert_eq!(frame::read(&mut &wire[..], 40_000).await.unwrap(), bytes);
    }
    let cut = frame::read(&mut &wire[..wire.len() - 1], 40_000).await;
    assert!(
        matches!(cut, Err(FrameError::Io(_))),
        "half a frame is none"
    );
}
