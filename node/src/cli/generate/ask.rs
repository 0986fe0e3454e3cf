//! From what a person typed to the request a node understands: names stay names, paths become
//! absolute.

use std::path::{Path, PathBuf};

use anyhow::Context;
use hearth_protocol::control::{GenerateRequest, LoraAsk, Place};
use hearth_protocol::job::Micro;
use hearth_protocol::unit::Millis;

use super::GenerateArgs;
use crate::clock::now;

/// Forms the request.
pub(super) fn request(args: GenerateArgs) -> anyhow::Result<GenerateRequest> {
    let out = args.out.map(|out| picture(&out, args.count)).transpose()?;
    let save_steps = args.save_steps.map(|dir| absolute(&dir)).transpose()?;
    Ok(GenerateRequest {
        negative: args.negative,
        model: args.model.map(|model| reference(&model)),
        loras: args.loras,
        size: args.size,
        steps: args.steps,
        guidance: args.cfg,
        sampler: args.sampler,
        schedule: args.schedule,
        seed: args.seed,
        rng: args.rng,
        compat: args.compat,
        count: args.count,
        max: args.max_kudos,
        timeout: args.timeout.map(Millis::from_secs),
        place: args.place,
        out: out.map(text).transpose()?,
        save_steps: save_steps.map(text).transpose()?,
        dry_run: args.dry_run,
        ..GenerateRequest::of(&args.prompt)
    })
}

/// Where one picture goes is a file; where several go is a folder.
fn picture(out: &Path, count: u32) -> anyhow::Result<PathBuf> {
    let folder = out.is_dir() || out.as_os_str().to_string_lossy().ends_with('/');
    let out = absolute(out)?;
    Ok(if folder && count == 1 {
        out.join(format!("hearth-{}.png", now().millis()))
    } else {
        out
    })
}

fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("cannot use {}", path.display()))
}

fn text(path: PathBuf) -> anyhow::Result<String> {
    path.into_os_string()
        .into_string()
        .map_err(|path| anyhow::anyhow!("{} is not Unicode", path.display()))
}

/// A path that is there becomes absolute: the node has another working folder. A bare word is a
/// name, even when a folder here is called the same; `./word` is the folder.
fn reference(name: &str) -> String {
    let path = Path::new(name);
    let is_path = name.contains(std::path::is_separator) || path.extension().is_some();
    match std::path::absolute(path) {
        Ok(absolute) if is_path && path.exists() => absolute.display().to_string(),
        Ok(_) | Err(_) => name.to_owned(),
    }
}

/// Reads `REF` or `REF:W`. Only a number behind the last colon is a weight.
#[expect(clippy::unnecessary_wraps, reason = "the form of a clap value parser")]
pub(super) fn lora(text: &str) -> Result<LoraAsk, String> {
    let (name, weight) = match text.rsplit_once(':') {
        Some((name, weight)) if !name.is_empty() => match weight.parse() {
            Ok(weight) => (name, weight),
            Err(_) => (text, Micro::ONE),
        },
        Some(_) | None => (text, Micro::ONE),
    };
    Ok(LoraAsk {
        model: reference(name),
        unet: weight,
        text: weight,
    })
}

/// Reads `512x768`.
pub(super) fn size(text: &str) -> Result<(u32, u32), String> {
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
    }

    #[test]
    fn one_picture_in_a_folder_gets_a_name_and_several_do_not() {
        let dir = tempfile::tempdir().unwrap();
        let one = picture(dir.path(), 1).unwrap();
        assert_eq!(one.parent(), Some(dir.path()));
        assert_eq!(picture(dir.path(), 2).unwrap(), dir.path());
        let file = dir.path().join("a.png");
        assert_eq!(picture(&file, 1).unwrap(), file);
    }

    #[test]
    fn sizes_are_two_numbers() {
        assert_eq!(size("512x768"), Ok((512, 768)));
        assert!(size("512").is_err());
        assert!(size("axb").is_err());
    }
}
