//! Pixels against what Pillow and scipy make of them.

use std::collections::BTreeMap;
use std::io::Read;

use hearth_protocol::job::{Fit, Margins};

use super::super::*;
use super::foreign::vector;
use super::gradient;

struct Array {
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

/// Reads `pixels.zlib`: lines of name and shape, each with its bytes behind it.
fn arrays() -> BTreeMap<String, Array> {
    let file = std::fs::File::open(vector("pixels.zlib")).unwrap();
    let mut all = Vec::new();
    flate2::read::ZlibDecoder::new(file)
        .read_to_end(&mut all)
        .unwrap();
    let mut rest = all.as_slice();
    let mut arrays = BTreeMap::new();
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| *byte == b'\n').unwrap();
        let line = std::str::from_utf8(&rest[..end]).unwrap();
        let mut words = line.split(' ');
        let name = words.next().unwrap().to_owned();
        let shape: Vec<usize> = words.map(|word| word.parse().unwrap()).collect();
        let (bytes, tail) = rest[end + 1..].split_at(shape.iter().product());
        rest = tail;
        let bytes = bytes.to_vec();
        arrays.insert(name, Array { shape, bytes });
    }
    arrays
}

impl Array {
    fn sides(&self) -> (u32, u32) {
        let side = |i: usize| u32::try_from(self.shape[i]).unwrap();
        (side(1), side(0))
    }

    fn picture(&self) -> Picture {
        let (width, height) = self.sides();
        Picture::new(width, height, self.bytes.clone()).unwrap()
    }

    fn mask(&self) -> Mask {
        let (width, height) = self.sides();
        Mask::new(width, height, self.bytes.clone()).unwrap()
    }
}

fn worst(a: &[u8], b: &[u8]) -> u8 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| a.abs_diff(*b)).max().unwrap()
}

#[test]
fn e58_resizing_equals_pillow() {
    let arrays = arrays();
    let source = arrays["source"].picture();
    let filters = [
        ("nearest", Filter::Nearest),
        ("bilinear", Filter::Bilinear),
        ("bicubic", Filter::Bicubic),
        ("lanczos", Filter::Lanczos3),
    ];
    let mut compared = 0;
    for (name, filter) in filters {
        for (key, array) in arrays.iter().filter(|(key, _)| key.starts_with(name)) {
            let (width, height) = array.sides();
            let resized = resize(&source, width, height, filter).unwrap();
            assert_eq!(worst(resized.rgb(), &array.bytes), 0, "{key}");
            compared += 1;
        }
    }
    assert_eq!(compared, 20);
    let noise = arrays["noise"].picture();
    let resized = resize(&noise, 23, 31, Filter::Lanczos3).unwrap();
    assert_eq!(
        worst(resized.rgb(), &arrays["noise_lanczos_23x31"].bytes),
        0
    );
}

#[test]
fn e58_blurs_equal_their_definitions() {
    let arrays = arrays();
    let mask = arrays["mask"].mask();
    for (sigma, name) in [
        (1.0, "mask_blur_1.0"),
        (4.0, "mask_blur_4.0"),
        (9.5, "mask_blur_9.5"),
    ] {
        let blurred = mask.blurred(sigma);
        assert!(worst(blurred.values(), &arrays[name].bytes) <= 1, "{name}");
    }
    assert_eq!(mask.blurred(0.0), mask);
    let plane: Vec<f32> = mask
        .values()
        .iter()
        .map(|value| f32::from(*value))
        .collect();
    for (sigma, name) in [(2.0, "boxes_2.0"), (16.0, "boxes_16.0")] {
        let blurred: Vec<u8> = blur::boxes(&plane, 40, 30, sigma)
            .into_iter()
            .map(blur::byte)
            .collect();
        // Pillow rounds after each of its six passes.
        let worst = worst(&blurred, &arrays[name].bytes);
        assert!(worst <= 3, "{name}: {worst}");
    }
}

#[test]
fn e58_masks_from_pictures() {
    let arrays = arrays();
    let luminance = Mask::from_luminance(&arrays["source"].picture());
    assert_eq!(worst(luminance.values(), &arrays["luminance"].bytes), 0);
    let mask = arrays["mask"].mask();
    assert_eq!(mask.grown(3).values(), arrays["grown_3"].bytes);
    assert_eq!(mask.grown(0), mask);
    assert_eq!(mask.inverted().inverted(), mask);
    let bounds = mask.hardened(200).bounds();
    let expected = Rect {
        x: 10,
        y: 8,
        width: 15,
        height: 12,
    };
    assert_eq!(bounds, Some(expected));
    assert_eq!(Mask::filled(8, 8, 0).unwrap().bounds(), None);
    assert_eq!(mask.cropped(expected).values(), [255; 15 * 12]);
    let alpha = Mask::new(2, 1, vec![0, 255]).unwrap();
    assert_eq!(Mask::from_alpha(&alpha).values(), [255, 0]);
}

#[test]
fn e55_every_kind_of_file_is_decoded_as_pillow_does() {
    let arrays = arrays();
    let mut compared = 0;
    for (key, array) in &arrays {
        let Some(name) = key.strip_prefix("kind_") else {
            continue;
        };
        let (name, is_alpha) = match name.strip_suffix("_alpha") {
            Some(name) => (name, true),
            None => (name, false),
        };
        let decoded = decode(&std::fs::read(vector(&format!("kind_{name}"))).unwrap()).unwrap();
        let bytes = if is_alpha {
            decoded.alpha.as_ref().unwrap().values()
        } else {
            decoded.picture.rgb()
        };
        // JPEG decoders may round differently; CMYK is converted by rule of thumb.
        let allowed = if name.ends_with("jpg") { 4 } else { 0 };
        let worst = worst(bytes, &array.bytes);
        assert!(worst <= allowed, "{name}: {worst}");
        compared += 1;
    }
    assert_eq!(compared, 11);
}

#[test]
fn e55_pictures_stand_upright() {
    let arrays = arrays();
    for orientation in 1..=8 {
        let name = format!("turned_{orientation}");
        let bytes = std::fs::read(vector(&format!("{name}.webp"))).unwrap();
        let picture = decode(&bytes).unwrap().picture;
        assert_eq!(picture, arrays[&name].picture(), "{name}");
    }
}

#[test]
fn planes_and_pictures_are_two_forms_of_one_thing() {
    let picture = gradient(16, 8);
    let values = planes(&picture);
    assert_eq!(values.len(), 3 * 16 * 8);
    assert_eq!(values[1], f32::from(picture.rgb()[3]) / 127.5 - 1.0);
    assert!(values.iter().all(|value| (-1.0..=1.0).contains(value)));
    assert_eq!(picture_from_planes(&values, 16, 8).unwrap(), picture);
    let refused = picture_from_planes(&values, 16, 9);
    assert!(matches!(refused, Err(DecodeError::Size { .. })));
}

#[test]
fn only_the_masked_part_is_cut_and_pasted() {
    let whole = (200, 100);
    let rect = Rect {
        x: 20,
        y: 30,
        width: 10,
        height: 10,
    };
    let padded = rect.padded(32, whole.0, whole.1);
    let expected = Rect {
        x: 0,
        y: 0,
        width: 62,
        height: 72,
    };
    assert_eq!(padded, expected);
    let square = padded.proportioned((64, 64), whole.0, whole.1);
    assert_eq!((square.width, square.height), (72, 72));
    assert_eq!((square.x, square.y), (0, 0));
    let wide = padded.proportioned((512, 64), whole.0, whole.1);
    assert_eq!((wide.width, wide.height), (200, 72));

    let mut picture = Picture::filled(40, 30, [10, 20, 30]).unwrap();
    let patch = Picture::filled(5, 5, [255, 255, 255]).unwrap();
    let mut values = vec![0; 40 * 30];
    values[15 * 40 + 15] = 255;
    values[15 * 40 + 16] = 128;
    let mask = Mask::new(40, 30, values).unwrap();
    let rect = Rect {
        x: 10,
        y: 10,
        width: 10,
        height: 10,
    };
    picture.paste(&patch, rect, Some(&mask)).unwrap();
    let at = |x: usize| &picture.rgb()[3 * (15 * 40 + x)..][..3];
    assert_eq!(at(14), [10, 20, 30]);
    assert_eq!(at(15), [255, 255, 255]);
    assert_eq!(at(16), [133, 138, 143]);
    let other = Mask::filled(8, 8, 255).unwrap();
    assert!(picture.paste(&patch, rect, Some(&other)).is_err());
}

#[test]
fn fitting_keeps_proportions_unless_told() {
    let picture = gradient(40, 20);
    for how in [Fit::Stretch, Fit::Crop, Fit::Pad] {
        let fitted = fit(&picture, 32, 32, how, Filter::Lanczos3).unwrap();
        assert_eq!((fitted.width(), fitted.height()), (32, 32));
    }
    let cropped = fit(&picture, 20, 20, Fit::Crop, Filter::Nearest).unwrap();
    let middle = Rect {
        x: 10,
        y: 0,
        width: 20,
        height: 20,
    };
    assert_eq!(cropped, picture.cropped(middle));
    let padded = fit(&picture, 40, 40, Fit::Pad, Filter::Lanczos3).unwrap();
    let inner = Rect {
        x: 0,
        y: 10,
        width: 40,
        height: 20,
    };
    assert_eq!(padded.cropped(inner), picture);
    assert_eq!(
        padded.rgb()[..120],
        picture.rgb()[..120],
        "edges are continued"
    );
}

#[test]
fn outpainting_marks_what_is_new_and_its_seam() {
    let picture = gradient(10, 6);
    let margins = Margins {
        left: 4,
        bottom: 3,
        ..Margins::default()
    };
    let (extended, mask) = extend(&picture, margins, 2).unwrap();
    assert_eq!((extended.width(), extended.height()), (14, 9));
    let kept = mask.inverted().bounds().unwrap();
    let expected = Rect {
        x: 6,
        y: 0,
        width: 8,
        height: 4,
    };
    assert_eq!(kept, expected);
    let inner = Rect {
        x: 4,
        y: 0,
        width: 10,
        height: 6,
    };
    assert_eq!(extended.cropped(inner), picture);
    let huge = Margins {
        right: u32::MAX,
        ..Margins::default()
    };
    assert!(matches!(
        extend(&picture, huge, 0),
        Err(DecodeError::Size { .. })
    ));
}

#[test]
fn a_filled_part_takes_the_colours_around_it() {
    let mut picture = Picture::filled(64, 64, [200, 40, 90]).unwrap();
    let hole = Rect {
        x: 20,
        y: 20,
        width: 24,
        height: 24,
    };
    let black = Picture::filled(24, 24, [0, 0, 0]).unwrap();
    picture.paste(&black, hole, None).unwrap();
    let mut values = vec![0; 64 * 64];
    for y in 20..44 {
        values[y * 64 + 20..y * 64 + 44].fill(255);
    }
    let mask = Mask::new(64, 64, values).unwrap();
    let filled = fill(&picture, &mask).unwrap();
    let even = Picture::filled(64, 64, [200, 40, 90]).unwrap();
    // Nothing of the black is left: at most what the layers do not fully cover.
    assert!(worst(filled.rgb(), even.rgb()) <= 12);
    assert_eq!(filled.rgb()[..60], even.rgb()[..60]);
    let none = Mask::filled(64, 64, 0).unwrap();
    assert_eq!(fill(&picture, &none).unwrap(), picture);
    assert!(fill(&picture, &Mask::filled(8, 8, 0).unwrap()).is_err());
}

#[test]
fn contact_sheets_show_every_picture_and_its_caption() {
    let pictures: Vec<_> = (1..=5).map(|i| gradient(30 + i, 20)).collect();
    let sheet = contact_sheet(&pictures, 2, Captions::Off).unwrap();
    assert_eq!((sheet.width(), sheet.height()), (2 * 39 + 4, 3 * 24 + 4));
    let second = Rect {
        x: 4 + 39,
        y: 4,
        width: 32,
        height: 20,
    };
    assert_eq!(sheet.cropped(second), pictures[1]);
    let lines: Vec<_> = (0..5).map(|i| format!("Seed {i}")).collect();
    let labelled = contact_sheet(&pictures, 2, Captions::Under(&lines)).unwrap();
    assert_eq!(labelled.height(), 3 * 35 + 4);
    let caption = Rect {
        x: 4,
        y: 28,
        width: 35,
        height: 7,
    };
    let ink = labelled
        .cropped(caption)
        .rgb()
        .iter()
        .filter(|byte| **byte == 0)
        .count();
    assert!(ink > 3 * 30, "{ink}");
    assert!(contact_sheet(&[], 2, Captions::Off).is_err());
}
