//! Animations, read back frame by frame.

use std::io::Cursor;
use std::time::Duration;

use super::super::*;
use super::{full, gradient, story};

fn frames() -> Vec<Picture> {
    (0..4)
        .map(|i| Picture::filled(20, 12, [i * 60, 255 - i * 60, 7]).unwrap())
        .chain([gradient(20, 12)])
        .collect()
}

#[test]
fn e59_an_animated_webp_gives_back_its_frames() {
    let pictures = frames();
    let frames = Frames {
        pictures: &pictures,
        each: Duration::from_millis(125),
        loops: 3,
    };
    let bytes = animate(frames, Animation::WebpLossless, Some(&story(&full()))).unwrap();
    let mut decoder = image_webp::WebPDecoder::new(Cursor::new(&bytes)).unwrap();
    assert!(decoder.is_animated());
    assert_eq!(decoder.num_frames(), 5);
    assert_eq!(decoder.loop_duration(), 625);
    let loops = image_webp::LoopCount::Times(3.try_into().unwrap());
    assert_eq!(decoder.loop_count(), loops);
    let mut pixels = vec![0; decoder.output_buffer_size().unwrap()];
    for picture in &pictures {
        assert_eq!(decoder.read_frame(&mut pixels).unwrap(), 125);
        let rgb: Vec<u8> = if decoder.has_alpha() {
            pixels
                .chunks_exact(4)
                .flat_map(|p| [p[0], p[1], p[2]])
                .collect()
        } else {
            pixels.clone()
        };
        assert_eq!(rgb, picture.rgb());
    }
    assert_eq!(decode(&bytes).unwrap().picture, pictures[0]);
    assert_eq!(info_of(&bytes).unwrap().request.settings, full());
    let lossy = animate(frames, Animation::Webp { quality: 80 }, None).unwrap();
    assert!(
        image_webp::WebPDecoder::new(Cursor::new(&lossy))
            .unwrap()
            .is_animated()
    );
}

#[test]
fn e59_an_animated_png_gives_back_its_frames() {
    let pictures = frames();
    let frames = Frames {
        pictures: &pictures,
        each: Duration::from_millis(250),
        loops: 0,
    };
    let bytes = animate(frames, Animation::Png, Some(&story(&full()))).unwrap();
    let mut reader = png::Decoder::new(Cursor::new(&bytes)).read_info().unwrap();
    let control = *reader.info().animation_control().unwrap();
    assert_eq!((control.num_frames, control.num_plays), (5, 0));
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    for picture in &pictures {
        reader.next_frame(&mut pixels).unwrap();
        assert_eq!(pixels, picture.rgb());
        let frame = reader.info().frame_control.unwrap();
        assert_eq!((frame.delay_num, frame.delay_den), (250, 1000));
    }
    assert_eq!(info_of(&bytes).unwrap().request.settings, full());
}

#[test]
fn e59_frames_that_cannot_be_one_animation_are_refused() {
    let each = Duration::from_millis(100);
    let refused = |pictures: &[Picture]| {
        let frames = Frames {
            pictures,
            each,
            loops: 0,
        };
        matches!(
            animate(frames, Animation::Png, None),
            Err(EncodeError::Frames { .. })
        )
    };
    assert!(refused(&[]));
    assert!(refused(&[gradient(8, 8), gradient(8, 9)]));
}
