//! From what a person typed to the request a node understands: names stay names, paths become
//! absolute.

use std::path::{Path, PathBuf};

use anyhow::Context;
use hearth_protocol::control::{GenerateRequest, LoraAsk, Place};
use hearth_protocol::job::{ImageFormat, Margins, Micro, Variation};
use hearth_protocol::limits;

use super::{GenerateArgs, like};
use crate::cli::session::Session;
use crate::clock::now;

/// Forms the request.
pub(super) fn request(args: GenerateArgs, session: &Session) -> anyhow::Result<GenerateRequest> {
    let mut request = match (&args.start.from_step, &args.start.like) {
        (Some(step), _) => like::step(step)?,
        (None, Some(picture)) => like::picture(picture, session)?,
        (None, None) => GenerateRequest::of(""),
    };
    if let Some(prompt) = args.prompt {
        request.prompt = prompt;
    }
    args.picture.apply(&mut request)?;
    if let Some(start) = args.start.picture()? {
        request.start = start;
    }
    request.count = args.count;
    let out = args.out.map(|out| place_of(&out, &request)).transpose()?;
    request.out = out.map(text).transpose()?;
    let save_steps = args.save_steps.map(|dir| absolute(&dir)).transpose()?;
    request.save_steps = save_steps.map(text).transpose()?;
    request.dry_run = args.dry_run;
    Ok(request)
}

/// Where one picture goes is a file; where several go is a folder.
fn place_of(out: &Path, request: &GenerateRequest) -> anyhow::Result<PathBuf> {
    let folder = out.is_dir() || out.as_os_str().to_string_lossy().ends_with('/');
    let out = absolute(out)?;
    let ending = request.format.unwrap_or(ImageFormat::Png).name();
    Ok(if folder && request.count == 1 {
        out.join(format!("hearth-{}.{ending}", now().millis()))
    } else {
        out
    })
}

pub(super) fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("cannot use {}", path.display()))
}

pub(super) fn text(path: PathBuf) -> anyhow::Result<String> {
    path.into_os_string()
        .into_string()
        .map_err(|path| anyhow::anyhow!("{} is not Unicode", path.display()))
}

/// A path that is there becomes absolute: the node has another working folder. A bare word is a
/// name, even when a folder here is called the same; `./word` is the folder.
pub(super) fn reference(name: &str) -> String {
    let path = Path::new(name);
    let is_path = name.contains(std::path::is_separator) || path.extension().is_some();
    match std::path::absolute(path) {
        Ok(absolute) if is_path && path.exists() => absolute.display().to_string(),
        Ok(_) | Err(_) => name.to_owned(),
    }
}

/// Returns a file that is there, by its absolute path.
pub(super) fn file(path: &Path) -> anyhow::Result<String> {
    std::fs::metadata(path).with_context(|| format!("cannot use {}", path.display()))?;
    text(absolute(path)?)
}

/// Reads `REF`, `REF:W` or `REF:W:TE`. Only numbers behind the last colons are weights.
#[expect(clippy::unnecessary_wraps, reason = "the form of a clap value parser")]
pub(super) fn lora(text: &str) -> Result<LoraAsk, String> {
    let split = |text: &str| {
        let (name, weight) = text.rsplit_once(':')?;
        let weight: Micro = weight.parse().ok()?;
        (!name.is_empty()).then(|| (name.to_owned(), weight))
    };
    let (name, unet, of_text) = match split(text) {
        None => (text.to_owned(), Micro::ONE, Micro::ONE),
        Some((name, last)) => match split(&name) {
            Some((name, first)) => (name, first, last),
            None => (name, last, last),
        },
    };
    Ok(LoraAsk {
        model: reference(&name),
        unet,
        text: of_text,
    })
}

/// Reads `SEED:F`.
pub(super) fn variation(text: &str) -> Result<Variation, String> {
    text.split_once(':')
        .and_then(|(seed, strength)| {
            let (seed, strength) = (seed.parse().ok()?, strength.parse().ok()?);
            Some(Variation { seed, strength })
        })
        .ok_or_else(|| "expected SEED:STRENGTH, such as 7:0.2".to_owned())
}

/// Reads `64` or `64,0,64,0`: left, top, right, bottom.
pub(super) fn margins(text: &str) -> Result<Margins, String> {
    let sides: Option<Vec<u32>> = text
        .split(',')
        .map(|side| side.trim().parse().ok())
        .collect();
    let (left, top, right, bottom) = match sides.as_deref() {
        Some([all]) => (*all, *all, *all, *all),
        Some([left, top, right, bottom]) => (*left, *top, *right, *bottom),
        Some(_) | None => return Err("expected LEFT,TOP,RIGHT,BOTTOM, such as 64,0,64,0".into()),
    };
    Ok(Margins {
        left,
        top,
        right,
        bottom,
    })
}

/// The size of a second pass.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Scale {
    /// Width and height in pixels.
    Size(u32, u32),
    /// So many times the first, in millionths.
    Times(u32),
}

impl Scale {
    /// Returns the size in pixels, on the grid of latents.
    pub(super) fn of(self, first: Option<(u32, u32)>) -> anyhow::Result<(u32, u32)> {
        match (self, first) {
            (Self::Size(width, height), _) => Ok((width, height)),
            (Self::Times(times), Some((width, height))) => {
                let grown = |side: u32| {
                    let pixels = u64::from(side) * u64::from(times) / 1_000_000;
                    let step = u64::from(limits::SIDE_STEP);
                    u32::try_from(pixels / step * step).unwrap_or(u32::MAX)
                };
                Ok((grown(width), grown(height)))
            }
            (Self::Times(_), None) => {
                anyhow::bail!("give --size beside --hires F, or --hires the size itself: WxH")
            }
        }
    }
}

/// Reads `1024x1024` or `2`.
pub(super) fn scale(text: &str) -> Result<Scale, String> {
    if let Ok((width, height)) = size(text) {
        return Ok(Scale::Size(width, height));
    }
    match text.parse::<Micro>().map(Micro::share_millionths) {
        Ok(times) if (1_000_000..=16_000_000).contains(&times) => Ok(Scale::Times(times)),
        Ok(_) | Err(_) => Err("expected WIDTHxHEIGHT or a factor from 1 to 16".to_owned()),
    }
}

/// Reads `512x768`.
pub(in crate::cli) fn size(text: &str) -> Result<(u32, u32), String> {
    text.split_once(['x', 'X'])
        .and_then(|(width, height)| Some((width.parse().ok()?, height.parse().ok()?)))
        .ok_or_else(|| "expected WIDTHxHEIGHT, such as 512x768".to_owned())
}

/// Reads `any`, `local` or a peer.
#[expect(clippy::unnecessary_wraps, reason = "the form of a clap value parser")]
pub(super) fn place(text: &str) -> Result<Place, String> {
    Ok(match text {
        "any" => Place::Any,
        "local" => Place::Local,
        peer => Place::Peer(peer.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lora_weights_are_split_at_the_last_colon_if_it_is_a_number() {
        let check = |text: &str, name: &str, millionths: i32| {
            let ask = lora(text).unwrap();
            assert_eq!(ask.model, name);
            assert_eq!(ask.unet.millionths(), millionths);
        };
        check("kites", "kites", 1_000_000);
        check("kites:0.8", "kites", 800_000);
        check("kites:-0.5", "kites", -500_000);
        check("urn:air:sd1:lora", "urn:air:sd1:lora", 1_000_000);
        check("urn:air:sd1:lora:2", "urn:air:sd1:lora", 2_000_000);
        check(":3", ":3", 1_000_000);
        let both = lora("kites:0.8:0.2").unwrap();
        assert_eq!(both.model, "kites");
        assert_eq!(both.text.millionths(), 200_000);
    }

    #[test]
    fn scales_and_margins_are_read_as_they_are_written() {
        assert_eq!(scale("1024x768"), Ok(Scale::Size(1024, 768)));
        let doubled = scale("1.5").unwrap().of(Some((512, 520))).unwrap();
        assert_eq!(doubled, (768, 776));
        assert!(scale("0.5").is_err());
        assert!(scale("2").unwrap().of(None).is_err());
        assert_eq!(margins("8").unwrap().bottom, 8);
        assert_eq!(margins("1,2,3,4").unwrap().right, 3);
        assert!(margins("1,2").is_err());
    }

    #[test]
    fn one_picture_in_a_folder_gets_a_name_and_several_do_not() {
        let dir = tempfile::tempdir().unwrap();
        let mut request = GenerateRequest::of("");
        let one = place_of(dir.path(), &request).unwrap();
        assert_eq!(one.parent(), Some(dir.path()));
        let file = dir.path().join("a.png");
        assert_eq!(place_of(&file, &request).unwrap(), file);
        request.count = 2;
        assert_eq!(place_of(dir.path(), &request).unwrap(), dir.path());
    }

    #[test]
    fn sizes_are_two_numbers() {
        assert_eq!(size("512x768"), Ok((512, 768)));
        assert!(size("512").is_err());
        assert!(size("axb").is_err());
    }
}
