//! What a job can start from and how it can end: pictures, masks, margins, saved steps, second passes,
//! ways between prompts, seamless pictures.

use std::fs;
use std::path::Path;

use hearth_engine::picture::{self, Encoding, Picture};
use hearth_engine::tiny::Layout;
use hearth_engine::{
    Cancel, Engine, InputError, Output, Progress, RunError, Silent, StepFileError, run, saved_step,
};
use hearth_protocol::engine::Assets;
use hearth_protocol::id::BlobHash;
use hearth_protocol::job::{
    Blend, Compat, Fit, Hires, ImageFormat, InputRef, JobSpec, Latents, Margins, Mask, MaskArea,
    MaskFill, Micro, Phase, Preview, Sampler, Start, Tiling, Upscaler,
};
use hearth_protocol::unit::ByteCount;

use crate::material::{Models, spec};

/// A model with a folder for inputs.
struct Studio(Models);

impl Studio {
    fn new() -> Self {
        Self(Models::new(Layout::Classic))
    }

    fn write(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.0.path(name);
        fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn picture(&self, name: &str, picture: &Picture) -> String {
        self.write(
            name,
            &picture::encode(picture, Encoding::Png, None).unwrap(),
        )
    }

    fn assets(&self, inputs: &[String]) -> Assets {
        Assets {
            inputs: inputs.to_vec(),
            ..self.0.assets(0)
        }
    }

    fn try_run(&self, spec: &JobSpec, inputs: &[String]) -> Result<Output, RunError> {
        run(spec, &self.assets(inputs), &mut Silent, &Cancel::default())
    }

    fn draw(&self, spec: &JobSpec, inputs: &[String]) -> Picture {
        let output = self.try_run(spec, inputs).unwrap();
        picture::decode(&output.files[0].bytes).unwrap().picture
    }
}

fn share(value: f64) -> Micro {
    value.to_string().parse().unwrap()
}

fn input() -> InputRef {
    InputRef {
        blob: BlobHash::of(b"named by the node"),
        size: ByteCount::new(1),
    }
}

fn over(strength: f64, mask: Option<Mask>, margins: Margins) -> Start {
    Start::Picture {
        image: input(),
        strength: share(strength),
        fit: Fit::Crop,
        mask,
        margins,
    }
}

fn mask(area: MaskArea) -> Mask {
    Mask {
        image: input(),
        invert: false,
        blur: 0,
        fill: MaskFill::Original,
        area,
    }
}

/// A picture with a gradient, so that every place is its own.
fn gradient(width: u32, height: u32) -> Picture {
    let byte = |n: u32| u8::try_from(n % 256).unwrap();
    let rgb = (0..height)
        .flat_map(|y| (0..width).flat_map(move |x| [byte(3 * x), byte(2 * y), byte(x + y)]));
    Picture::new(width, height, rgb.collect()).unwrap()
}

/// White where `inside` says so.
fn stencil(width: u32, height: u32, inside: impl Fn(u32, u32) -> bool) -> Picture {
    let mut rgb = Vec::new();
    for y in 0..height {
        for x in 0..width {
            rgb.extend([if inside(x, y) { 255 } else { 0 }; 3]);
        }
    }
    Picture::new(width, height, rgb).unwrap()
}

fn pixel(picture: &Picture, x: u32, y: u32) -> [u8; 3] {
    let at = 3 * usize::try_from(y * picture.width() + x).unwrap();
    picture.rgb()[at..at + 3].try_into().unwrap()
}

/// Mean difference of two pictures' bytes.
fn difference(a: &Picture, b: &Picture) -> f64 {
    let pairs = a.rgb().iter().zip(b.rgb());
    let sum: u64 = pairs.map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    sum as f64 / a.rgb().len() as f64
}

// E70
#[test]
fn e70_a_picture_is_redone_the_more_the_stronger() {
    let studio = Studio::new();
    let start = studio.picture("start.png", &gradient(64, 64));
    let redone = |strength| {
        let spec = JobSpec {
            start: over(strength, None, Margins::default()),
            steps: 8,
            compat: Compat::Diffusers,
            ..spec()
        };
        studio.draw(&spec, std::slice::from_ref(&start))
    };
    let kept = redone(0.0);
    let (little, much) = (redone(0.25), redone(1.0));
    assert!(
        difference(&kept, &little) < difference(&kept, &much),
        "more strength changes more"
    );
    // Nothing redone is the autoencoder there and back.
    assert_eq!(kept, redone(0.0));
}

// E71
#[test]
fn e71_what_a_mask_hides_stays_to_the_byte() {
    let studio = Studio::new();
    let whole = gradient(64, 64);
    let start = studio.picture("start.png", &whole);
    let hole = studio.picture("hole.png", &stencil(64, 64, |x, y| x >= 32 && y < 32));
    let spec = JobSpec {
        start: over(1.0, Some(mask(MaskArea::Whole)), Margins::default()),
        ..spec()
    };
    let painted = studio.draw(&spec, &[start, hole]);
    assert_eq!(pixel(&painted, 3, 60), pixel(&whole, 3, 60));
    assert_eq!(pixel(&painted, 31, 31), pixel(&whole, 31, 31));
    assert_ne!(pixel(&painted, 50, 10), pixel(&whole, 50, 10));
}

// E71
#[test]
fn e71_the_masked_part_alone_is_painted_large_and_put_back() {
    let studio = Studio::new();
    let whole = gradient(200, 120);
    let start = studio.picture("start.png", &whole);
    let hole = studio.picture(
        "hole.png",
        &stencil(200, 120, |x, y| {
            (90..106).contains(&x) && (40..56).contains(&y)
        }),
    );
    let spec = JobSpec {
        start: over(
            1.0,
            Some(mask(MaskArea::OnlyMasked { padding: 8 })),
            Margins::default(),
        ),
        ..spec()
    };
    let painted = studio.draw(&spec, &[start, hole]);
    assert_eq!((painted.width(), painted.height()), (200, 120));
    assert_eq!(pixel(&painted, 10, 10), pixel(&whole, 10, 10));
    assert_ne!(pixel(&painted, 98, 48), pixel(&whole, 98, 48));
}

// E71
#[test]
fn e71_margins_are_painted_and_the_picture_between_them_stays() {
    let studio = Studio::new();
    let whole = gradient(64, 64);
    let start = studio.picture("start.png", &whole);
    let margins = Margins {
        right: 32,
        ..Margins::default()
    };
    let spec = JobSpec {
        width: 96,
        start: over(1.0, None, margins),
        ..spec()
    };
    let painted = studio.draw(&spec, &[start]);
    assert_eq!((painted.width(), painted.height()), (96, 64));
    assert_eq!(pixel(&painted, 5, 40), pixel(&whole, 5, 40));
}

// E71
#[test]
fn e71_a_mask_that_fits_nothing_is_refused() {
    let studio = Studio::new();
    let start = studio.picture("start.png", &gradient(64, 64));
    let spec = JobSpec {
        start: over(1.0, Some(mask(MaskArea::Whole)), Margins::default()),
        ..spec()
    };
    let small = studio.picture("small.png", &stencil(32, 64, |_, _| true));
    let error = studio.try_run(&spec, &[start.clone(), small]).unwrap_err();
    assert!(
        matches!(error, RunError::Input(InputError::MaskSize { .. })),
        "{error}"
    );
    let empty = studio.picture("empty.png", &stencil(64, 64, |_, _| false));
    let error = studio.try_run(&spec, &[start.clone(), empty]).unwrap_err();
    assert!(
        matches!(error, RunError::Input(InputError::EmptyMask)),
        "{error}"
    );
    let torn = studio.write("torn.png", b"\x89PNG\r\n\x1a\nno more");
    let error = studio.try_run(&spec, &[start.clone(), torn]).unwrap_err();
    assert!(
        matches!(error, RunError::Input(InputError::Picture { .. })),
        "{error}"
    );
    let error = studio.try_run(&spec, &[start]).unwrap_err();
    assert!(matches!(error, RunError::Count { .. }), "{error}");
}

// E72
#[test]
fn e72_a_second_pass_draws_larger_and_counts_by_area() {
    let studio = Studio::new();
    for upscaler in Upscaler::ALL {
        let spec = JobSpec {
            hires: Some(Hires {
                width: 128,
                height: 96,
                steps: 0,
                strength: share(0.5),
                upscaler: *upscaler,
            }),
            ..spec()
        };
        let output = studio.try_run(&spec, &[]).unwrap();
        let picture = picture::decode(&output.files[0].bytes).unwrap().picture;
        assert_eq!((picture.width(), picture.height()), (128, 96), "{upscaler}");
        assert_eq!(output.evaluations, spec.evaluations(), "{upscaler}");
        // Four of the first size, and half of four and one of three times it.
        assert_eq!(output.evaluations, 4 + 3 * 3);
    }
}

// E73
#[test]
fn e73_going_on_from_any_step_ends_in_the_same_picture() {
    let studio = Studio::new();
    for sampler in Sampler::ALL {
        let whole = JobSpec {
            sampler: *sampler,
            steps: 5,
            latents: Latents::EveryStep,
            ..spec()
        };
        let output = studio.try_run(&whole, &[]).unwrap();
        let picture = &output.files[0].bytes;
        let pixels = picture::decode(picture).unwrap().picture;
        for step in [0, 2, 3] {
            let name = format!("step_{step:03}.safetensors");
            let file = output.files.iter().find(|file| file.name == name).unwrap();
            let path = studio.write(&format!("{sampler}-{name}"), &file.bytes);
            let saved = saved_step(Path::new(&path)).unwrap();
            assert_eq!(saved.done, step + 1);
            let spec = JobSpec {
                start: Start::Step {
                    state: input(),
                    done: saved.done,
                },
                ..saved.spec
            };
            let again = studio.draw(&spec, &[path]);
            assert_eq!(again, pixels, "{sampler} from step {step}");
        }
    }
}

// E73
#[test]
fn e73_a_branch_goes_elsewhere_and_every_step_has_a_picture() {
    let studio = Studio::new();
    let whole = JobSpec {
        latents: Latents::EveryStep,
        ..spec()
    };
    let output = studio.try_run(&whole, &[]).unwrap();
    let names: Vec<_> = output.files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "image.png",
            "step_000.safetensors",
            "step_000.png",
            "step_001.safetensors",
            "step_001.png",
            "step_002.safetensors",
            "step_002.png",
            "step_003.safetensors",
            "step_003.png",
        ]
    );
    let path = studio.write("step.safetensors", &output.files[1].bytes);
    let branch = JobSpec {
        start: Start::Step {
            state: input(),
            done: 1,
        },
        prompt: "a blue square".to_owned(),
        ..spec()
    };
    let other = studio.draw(&branch, std::slice::from_ref(&path));
    assert_ne!(
        other,
        picture::decode(&output.files[0].bytes).unwrap().picture
    );
    let cheaper = JobSpec {
        steps: 2,
        ..branch.clone()
    };
    let error = studio.try_run(&cheaper, std::slice::from_ref(&path));
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("3 steps left and the job orders 1"),
        "{error}"
    );
    let larger = JobSpec {
        width: 96,
        ..branch
    };
    let error = studio.try_run(&larger, &[path]).unwrap_err();
    assert!(
        matches!(error, RunError::Step(StepFileError::Shape { .. })),
        "{error}"
    );
    let start = studio.picture("no-step.png", &gradient(64, 64));
    assert!(saved_step(Path::new(&start)).is_err());
}

// E74
#[test]
fn e74_a_way_between_two_requests_begins_and_ends_at_them() {
    let studio = Studio::new();
    let at = |amount| {
        let spec = JobSpec {
            blend: Some(Blend {
                prompt: "a blue square".to_owned(),
                negative: "grey".to_owned(),
                seed: 9,
                amount: share(amount),
            }),
            ..spec()
        };
        studio.draw(&spec, &[])
    };
    let there = JobSpec {
        prompt: "a blue square".to_owned(),
        seed: 9,
        ..spec()
    };
    assert_eq!(at(0.0), studio.draw(&spec(), &[]));
    assert!(difference(&at(1.0), &studio.draw(&there, &[])) < 1.0);
    let half = at(0.5);
    assert_ne!(half, at(0.0));
    assert_ne!(half, at(1.0));
}

// E75
#[test]
fn e75_a_cancelled_run_stops_within_one_evaluation() {
    struct StopAt(Cancel, u32);
    impl Progress for StopAt {
        fn phase(&mut self, phase: Phase, _: Option<Preview>) {
            if matches!(phase, Phase::Denoising { step, .. } if step == self.1) {
                self.0.cancel();
            }
        }
    }
    let studio = Studio::new();
    let spec = JobSpec {
        sampler: Sampler::Heun,
        steps: 6,
        ..spec()
    };
    let cancel = Cancel::default();
    let mut progress = StopAt(cancel.clone(), 2);
    let error = run(&spec, &studio.assets(&[]), &mut progress, &cancel).unwrap_err();
    // Two steps of two evaluations each, and none of the third.
    assert!(
        matches!(error, RunError::Cancelled { evaluations: 4 }),
        "{error}"
    );
}

// E76
#[test]
fn e76_what_cannot_fit_is_refused_with_both_numbers() {
    let studio = Studio::new();
    let mut engine = Engine::default();
    let large = JobSpec {
        width: 4096,
        height: 4096,
        steps: 1,
        ..spec()
    };
    let mut try_with = |memory, spec: &JobSpec| {
        engine.allow(Some(ByteCount::new(memory)));
        engine.run(spec, &studio.assets(&[]), &mut Silent, &Cancel::default())
    };
    assert!(matches!(
        try_with(1 << 20, &spec()),
        Err(RunError::Memory(_))
    ));
    assert!(try_with(1 << 30, &spec()).is_ok());
    let error = try_with(64 << 20, &large).unwrap_err();
    assert!(error.to_string().contains("64 MiB are free"), "{error}");
}

// E77
#[test]
fn e77_absurd_specs_are_refused_by_the_field_that_is_wrong() {
    let studio = Studio::new();
    let refused = |spec: JobSpec, word: &str| {
        let error = studio.try_run(&spec, &[]).unwrap_err();
        assert!(error.to_string().contains(word), "{error}");
    };
    refused(
        JobSpec {
            width: 65536,
            ..spec()
        },
        "65536x64",
    );
    refused(
        JobSpec {
            steps: 1_000_000,
            ..spec()
        },
        "1000000 steps",
    );
    refused(JobSpec { steps: 0, ..spec() }, "0 steps");
    refused(
        JobSpec {
            clip_skip: 0,
            ..spec()
        },
        "clip_skip 0",
    );
    refused(
        JobSpec {
            prompt: "a".repeat(1 << 20),
            ..spec()
        },
        "1048576 bytes",
    );
    let start = over(1.5, None, Margins::default());
    refused(JobSpec { start, ..spec() }, "start.strength is 1.5");
}

// E78
#[test]
fn e78_a_seamless_picture_has_no_seam() {
    let studio = Studio::new();
    let seam = |tiling| {
        let spec = JobSpec {
            tiling,
            steps: 6,
            ..spec()
        };
        let picture = studio.draw(&spec, &[]);
        let across = |x: u32, y: u32| {
            let (a, b) = (pixel(&picture, x, y), pixel(&picture, (x + 1) % 64, y));
            a.iter()
                .zip(b)
                .map(|(a, b)| u32::from(a.abs_diff(b)))
                .sum::<u32>()
        };
        let total = |x| (0..64).map(|y| across(x, y)).sum::<u32>();
        // The edge's step against the mean of the steps inside.
        f64::from(total(63)) / (f64::from((0..63).map(total).sum::<u32>()) / 63.0)
    };
    let (open, closed) = (seam(Tiling::None), seam(Tiling::Seamless));
    assert!(closed < 2.0, "{closed}");
    assert!(closed < open, "{closed} {open}");
}

// E79
#[test]
fn e79_every_format_is_what_it_says() {
    let studio = Studio::new();
    for format in ImageFormat::ALL {
        let spec = JobSpec {
            format: *format,
            ..spec()
        };
        let output = studio.try_run(&spec, &[]).unwrap();
        assert_eq!(output.files[0].name, format.file_name());
        let info = picture::info_of(&output.files[0].bytes).unwrap();
        let story = info.hearth.unwrap();
        assert_eq!(
            serde_json::from_value::<JobSpec>(story["spec"].clone()).unwrap(),
            spec
        );
    }
}
