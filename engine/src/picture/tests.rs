//! Pictures written and read back: texts, pixels, bounds.

use hearth_protocol::job::{MaskFill, NoiseSchedule, Rng, Sampler, Upscaler};
use proptest::prelude::*;

use super::*;

mod foreign;
mod moving;
mod pixels;

fn gradient(width: u32, height: u32) -> Picture {
    let rgb = (0..height)
        .flat_map(|y| (0..width).map(move |x| (x, y)))
        .flat_map(|(x, y)| [x * 5, y * 7, (x + y) * 3].map(|value| value.to_le_bytes()[0]))
        .collect();
    Picture::new(width, height, rgb).unwrap()
}

const ENCODINGS: [Encoding; 4] = [
    Encoding::Png,
    Encoding::WebpLossless,
    Encoding::Webp { quality: 90 },
    Encoding::Jpeg { quality: 95 },
];

fn story(settings: &Settings) -> Story {
    Story {
        parameters: settings.infotext(),
        hearth: String::new(),
    }
}

fn full() -> Settings {
    Settings {
        prompt: "a \"cat\", (sitting:1.2)\non a sofa: größe 猫".to_owned(),
        negative: "blurry, low quality\nsecond: line".to_owned(),
        steps: Some(20),
        sampler: Some(Sampler::Dpmpp2m),
        schedule: Some(NoiseSchedule::Karras),
        discard_penultimate: true,
        guidance: Some(7.5),
        seed: Some(u64::MAX),
        size: Some((512, 768)),
        model: Some(Mention {
            name: Some("v1-5, \"pruned\": ema".to_owned()),
            hash: Some("6ce0161689".to_owned()),
        }),
        vae: Some(Mention {
            name: Some("vae-ft-mse".to_owned()),
            hash: Some("735e4c3a44".to_owned()),
        }),
        loras: vec![
            LoraMention {
                name: "add detail".to_owned(),
                hash: Some("7c6bad76eb54".to_owned()),
                unet: 0.8,
                text: 0.8,
            },
            LoraMention {
                name: "style_v2".to_owned(),
                hash: None,
                unet: -0.25,
                text: 1.0,
            },
        ],
        embeddings: vec![Mention {
            name: Some("EasyNegative".to_owned()),
            hash: Some("c74b4e810b03".to_owned()),
        }],
        variation: Some(Variation {
            seed: 7,
            strength: 0.15,
        }),
        denoise: Some(0.7),
        clip_skip: Some(2),
        noise_seed_delta: Some(31_337),
        rng: Some(Rng::TorchCpu),
        tiling: true,
        hires: Some(Hires {
            scale: Some(2.0),
            size: None,
            steps: Some(10),
            upscaler: Some(Upscaler::LatentBicubic),
        }),
        inpaint: Some(Inpaint {
            mask_blur: Some(4.0),
            only_masked_padding: Some(32),
            masked_content: Some(MaskFill::Original),
        }),
    }
}

#[test]
fn e50_every_format_tells_the_same_story() {
    let settings = full();
    let hearth = r#"{"spec":{"compat":"a1111"},"version":1}"#;
    let story = Story {
        hearth: hearth.to_owned(),
        ..story(&settings)
    };
    for encoding in ENCODINGS {
        let bytes = encode(&gradient(24, 16), encoding, Some(&story)).unwrap();
        let info = info_of(&bytes).unwrap();
        assert_eq!((info.width, info.height), (24, 16));
        assert_eq!(info.format, encoding.format());
        assert_eq!(info.source, Source::Hearth);
        assert_eq!(info.request.settings, settings, "{encoding:?}");
        assert_eq!(info.hearth.unwrap().to_string(), hearth);
        assert_eq!(info.digital_source.as_deref(), Some(xmp::TRAINED));
    }
}

#[test]
fn e51_fields_stand_in_the_order_of_a1111() {
    let text = full().infotext();
    let line = text.lines().last().unwrap();
    let keys = [
        "Steps: 20",
        "Sampler: DPM++ 2M",
        "Schedule type: Karras",
        "CFG scale: 7.5",
        "Seed: 18446744073709551615",
        "Size: 512x768",
        "Model hash: 6ce0161689",
        "Model: \"v1-5, \\\"pruned\\\": ema\"",
        "VAE hash: 735e4c3a44",
        "VAE: vae-ft-mse",
        "Variation seed: 7",
        "Variation seed strength: 0.15",
        "Denoising strength: 0.7",
        "Clip skip: 2",
        "ENSD: 31337",
        "RNG: CPU",
        "Discard penultimate sigma: True",
        "Tiling: True",
        "Hires upscale: 2",
        "Hires steps: 10",
        "Hires upscaler: Latent (bicubic)",
        "Mask blur: 4",
        "Inpaint area: Only masked",
        "Masked area padding: 32",
        "Masked content: original",
        "Lora hashes: \"add detail: 7c6bad76eb54\"",
        "TI hashes: \"EasyNegative: c74b4e810b03\"",
        "Version: Hearth ",
        "Hashes: {\"embed:EasyNegative\":\"c74b4e810b03\"",
    ];
    let places: Vec<_> = keys
        .iter()
        .map(|key| line.find(key).unwrap_or_else(|| panic!("{key} in {line}")))
        .collect();
    assert!(places.is_sorted(), "{line}");
    assert!(
        text.contains("猫 <lora:add detail:0.8> <lora:style_v2:1:-0.25>\nNegative prompt: blurry")
    );
}

#[test]
fn a_typed_tag_is_not_written_twice() {
    let lora = LoraMention {
        name: "x".to_owned(),
        hash: None,
        unet: 1.0,
        text: 1.0,
    };
    let settings = Settings {
        prompt: "a <lora:x:1> b".to_owned(),
        loras: vec![lora],
        ..Settings::default()
    };
    assert!(settings.infotext().starts_with("a <lora:x:1> b\nVersion"));
}

/// Prompts with everything that separates something somewhere.
fn prompts() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[a-zA-Z0-9 ]{0,8}",
        Just("\"".to_owned()),
        Just(", ".to_owned()),
        Just("\n".to_owned()),
        Just("Steps: 3, Size: 4, Seed: 5".to_owned()),
        Just("(word:1.2)".to_owned()),
        Just("\\".to_owned()),
        Just("{}[]|&;%".to_owned()),
        "\\PC{0,4}",
    ];
    let mark = |text: &String| !text.contains("Negative prompt:") && !text.contains(['<', '\r']);
    prop::collection::vec(piece, 0..6)
        .prop_map(|pieces| pieces.concat())
        .prop_filter("a mark of the format itself", mark)
}

fn names() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9_.é猫-][a-zA-Z0-9_. é猫-]{0,12}[a-zA-Z0-9_é猫-]"
}

fn texts() -> impl Strategy<Value = Option<String>> {
    prop::option::of("[ -~é猫\n]{1,16}")
}

fn mentions() -> impl Strategy<Value = Option<Mention>> {
    let hash = prop::option::of("[0-9a-f]{10}");
    let some = (texts(), hash).prop_map(|(name, hash)| Mention { name, hash });
    prop::option::of(some.prop_filter("says something", |m| *m != Mention::default()))
}

fn numbers() -> impl Strategy<Value = f64> {
    (-2_000_000_i32..2_000_000).prop_map(|n| f64::from(n) / 1000.0)
}

fn loras() -> impl Strategy<Value = Vec<LoraMention>> {
    let lora = (
        names(),
        prop::option::of("[0-9a-f]{12}"),
        numbers(),
        numbers(),
    );
    let lora = lora.prop_map(|(name, hash, unet, text)| LoraMention {
        name,
        hash,
        unet,
        text,
    });
    let unique = |loras: &Vec<LoraMention>| {
        let names: std::collections::BTreeSet<_> = loras.iter().map(|lora| &lora.name).collect();
        names.len() == loras.len()
    };
    prop::collection::vec(lora, 0..3).prop_filter("names differ", unique)
}

fn second_passes() -> impl Strategy<Value = (Option<Hires>, Option<Inpaint>)> {
    let hires = (
        numbers(),
        prop::option::of(1_u32..99),
        prop::option::of(prop::sample::select(Upscaler::ALL)),
    )
        .prop_map(|(scale, steps, upscaler)| Hires {
            scale: Some(scale),
            size: None,
            steps,
            upscaler,
        });
    let inpaint = (numbers(), prop::option::of(0_u32..256)).prop_map(|(blur, padding)| Inpaint {
        mask_blur: Some(blur),
        only_masked_padding: padding,
        masked_content: Some(MaskFill::LatentNoise),
    });
    (prop::option::of(hires), prop::option::of(inpaint))
}

fn any_settings() -> impl Strategy<Value = Settings> {
    let labels = (
        prop::sample::select(Sampler::ALL),
        prop::sample::select(NoiseSchedule::ALL),
        any::<bool>(),
        prop::option::of(2_u32..12),
    );
    let texts = (prompts(), prompts(), mentions(), mentions());
    let extra = (loras(), second_passes(), prop::option::of(numbers()));
    let seeds = (any::<u64>(), any::<u64>(), numbers(), 1_u32..1000);
    (labels, texts, extra, seeds).prop_map(
        |((sampler, schedule, tiling, clip_skip), (prompt, negative, model, vae), extra, seeds)| {
            let (loras, (hires, inpaint), denoise) = extra;
            let (seed, variation, strength, steps) = seeds;
            Settings {
                prompt,
                negative,
                steps: Some(steps),
                sampler: Some(sampler),
                schedule: Some(schedule),
                discard_penultimate: seed % 2 == 1,
                guidance: Some(strength),
                seed: Some(seed),
                size: Some((steps * 8, 64)),
                model,
                vae,
                loras,
                embeddings: Vec::new(),
                variation: Some(Variation {
                    seed: variation,
                    strength,
                }),
                denoise,
                clip_skip,
                noise_seed_delta: None,
                rng: Some(if tiling { Rng::Nv } else { Rng::TorchCpu }),
                tiling,
                hires,
                inpaint,
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn e53_what_is_written_is_read(settings in any_settings()) {
        let text = settings.infotext();
        let read = a1111::read(&text).settings;
        prop_assert_eq!(read, settings, "{}", text);
    }

    #[test]
    fn e54_no_text_is_too_odd_to_read(text in "(\\PC|\n){0,200}") {
        a1111::read(&text);
        comfy::read(&text);
        invoke::read(&text);
        invoke::read_old(&text);
        invoke::read_dream(&text);
        draw_things::read(&text);
        xmp::property(&text, "a");
    }

    #[test]
    fn e54_flipped_bytes_never_panic(
        which in 0..ENCODINGS.len(),
        at in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        end in any::<prop::sample::Index>(),
    ) {
        let mut bytes = encode(&gradient(16, 8), ENCODINGS[which], Some(&story(&full()))).unwrap();
        for (index, value) in at {
            let index = index.index(bytes.len());
            bytes[index] = value;
        }
        let _ = info_of(&bytes);
        let _ = decode(&bytes);
        let cut = &bytes[..end.index(bytes.len())];
        let _ = info_of(cut);
        let _ = decode(cut);
    }
}

#[test]
fn e55_pixels_survive_where_they_should() {
    let picture = gradient(37, 21);
    for encoding in ENCODINGS {
        let bytes = encode(&picture, encoding, None).unwrap();
        let decoded = decode(&bytes).unwrap();
        assert_eq!(decoded.alpha, None);
        let pairs = decoded.picture.rgb().iter().zip(picture.rgb());
        let worst = pairs.map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        let allowed = match encoding {
            Encoding::Png | Encoding::WebpLossless => 0,
            Encoding::Webp { .. } | Encoding::Jpeg { .. } => 24,
        };
        assert!(worst <= allowed, "{encoding:?}: {worst}");
        assert!(info_of(&bytes).unwrap().texts.is_empty());
    }
}

#[test]
fn e54_lies_about_size_are_refused_before_allocating() {
    let mut png = encode(&gradient(8, 8), Encoding::Png, None).unwrap();
    png[16..20].copy_from_slice(&1_000_000_u32.to_be_bytes());
    let sum = {
        let mut crc = crc32fast::Hasher::new();
        crc.update(&png[12..29]);
        crc.finalize()
    };
    png[29..33].copy_from_slice(&sum.to_be_bytes());
    assert!(matches!(
        decode(&png),
        Err(DecodeError::Size {
            width: 1_000_000,
            ..
        })
    ));
    assert!(matches!(info_of(&png), Err(DecodeError::Size { .. })));

    let mut webp = encode(&gradient(8, 8), Encoding::WebpLossless, None).unwrap();
    // The picture inside a small canvas claims to be 16383 pixels wide and high.
    let at = webp.windows(4).position(|w| w == b"VP8L").unwrap();
    webp[at + 9..at + 13].copy_from_slice(&0x0fff_ffff_u32.to_le_bytes());
    assert!(matches!(decode(&webp), Err(DecodeError::Size { .. })));

    let mut png = encode(&gradient(8, 8), Encoding::Png, None).unwrap();
    png[33..37].copy_from_slice(&u32::MAX.to_be_bytes());
    assert!(matches!(
        decode(&png),
        Err(DecodeError::Truncated { offset: 33, .. })
    ));
    assert!(matches!(decode(b"GIF89a"), Err(DecodeError::Format)));
}

#[test]
fn e54_a_text_that_unpacks_without_end_is_named_and_skipped() {
    use std::io::Write;
    let mut packer = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    packer.write_all(&vec![b' '; TEXT_LEN_MAX + 1]).unwrap();
    let mut data = b"parameters\0\0".to_vec();
    data.extend(packer.finish().unwrap());
    let mut png = encode(&gradient(8, 8), Encoding::Png, None).unwrap();
    let mut crc = crc32fast::Hasher::new();
    crc.update(b"zTXt");
    crc.update(&data);
    let mut chunk = u32::try_from(data.len()).unwrap().to_be_bytes().to_vec();
    chunk.extend(b"zTXt");
    chunk.extend(data);
    chunk.extend(crc.finalize().to_be_bytes());
    png.splice(33..33, chunk);
    let info = info_of(&png).unwrap();
    assert_eq!(info.source, Source::None);
    let part = "parameters".to_owned();
    assert_eq!(info.request.warnings, [Oddity::Damaged { part }]);
}

#[test]
fn a_jpeg_says_when_a_text_does_not_fit() {
    let story = Story {
        parameters: "x".repeat(40_000),
        hearth: String::new(),
    };
    let picture = gradient(8, 8);
    let refused = encode(&picture, Encoding::Jpeg { quality: 80 }, Some(&story));
    assert!(matches!(
        refused,
        Err(EncodeError::Text { what: "EXIF", .. })
    ));
    assert!(encode(&picture, Encoding::WebpLossless, Some(&story)).is_ok());
}
