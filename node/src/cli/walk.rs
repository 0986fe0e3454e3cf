//! `hearth walk`: pictures on the way from one prompt and seed to another, as a contact sheet and an
//! animation.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use hearth_engine::picture::{self, Animation, Captions, Frames, Picture};
use hearth_protocol::control::GenerateRequest;
use hearth_protocol::job::{Blend, ImageFormat, Micro};
use hearth_protocol::limits;

use super::generate::{self, PictureArgs};
use super::printer::Role;
use super::session::Session;

/// A way between two pictures.
#[derive(Debug, Args)]
#[command(before_help = "\
Examples:
  hearth walk \"a day over blue hills\" --to \"a night over blue hills\" --frames 12
  hearth walk \"a fox\" --to-seed 9 --seed 7 --out fox.png --sheet fox-sheet.png

Prompts are blended as vectors, seeds on the sphere their noise lies on. FILE's ending says what is
written: .webp or .png, both animated.
")]
pub(super) struct WalkArgs {
    /// What to begin with
    prompt: String,
    /// What to end with; the same prompt by default, for a walk between seeds
    #[arg(long, value_name = "PROMPT", required_unless_present = "to_seed")]
    to: Option<String>,
    /// What to stay away from at the end; the same as at the beginning by default
    #[arg(long, value_name = "TEXT")]
    to_negative: Option<String>,
    /// The seed at the end; the same as at the beginning by default
    #[arg(long, value_name = "N")]
    to_seed: Option<u64>,
    /// How many pictures
    #[arg(long, default_value_t = 8, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=i64::from(limits::COUNT_MAX)))]
    frames: u32,
    /// Pictures a second
    #[arg(long, default_value_t = 6, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=60))]
    fps: u16,
    /// Go back the same way, so that the animation has no jump
    #[arg(long)]
    bounce: bool,
    /// The animation
    #[arg(long, short, default_value = "walk.webp", value_name = "FILE")]
    out: PathBuf,
    /// A contact sheet
    #[arg(long, value_name = "FILE")]
    sheet: Option<PathBuf>,
    /// Keep the pictures in this folder
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    #[command(flatten)]
    picture: PictureArgs,
}

pub(super) fn run(args: WalkArgs, session: &Session) -> anyhow::Result<()> {
    let animation = animation(&args.out)?;
    let scratch = match &args.keep {
        Some(_) => None,
        None => Some(tempfile::tempdir().context("cannot make a folder for the pictures")?),
    };
    let folder = match (&args.keep, &scratch) {
        (Some(dir), _) => std::path::absolute(dir).context("cannot use the folder")?,
        (None, Some(scratch)) => scratch.path().to_owned(),
        (None, None) => bail!("no folder for the pictures"),
    };
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let before = pictures_in(&folder)?;
    let (out, sheet) = (args.out.clone(), args.sheet.clone());
    let (frames, fps, bounce) = (args.frames, args.fps, args.bounce);
    generate::draw(request(args, &folder)?, session)?;
    let mut paths = pictures_in(&folder)?;
    paths.retain(|path| !before.contains(path));
    if paths.len() != usize::try_from(frames).unwrap_or(usize::MAX) {
        bail!("{} of {frames} pictures came", paths.len());
    }
    let pictures = paths
        .iter()
        .map(|path| read(path))
        .collect::<anyhow::Result<Vec<_>>>()?;
    if let Some(sheet) = sheet {
        write_sheet(&pictures, &sheet)?;
        say(session, &sheet)?;
    }
    let mut shown = pictures.clone();
    if bounce {
        shown.extend(
            pictures
                .iter()
                .rev()
                .skip(1)
                .take(pictures.len() - 2)
                .cloned(),
        );
    }
    let frames = Frames {
        pictures: &shown,
        each: Duration::from_millis(1000 / u64::from(fps)),
        loops: 0,
    };
    let bytes = picture::animate(frames, animation, None).context("cannot make the animation")?;
    fs::write(&out, bytes).with_context(|| format!("cannot write {}", out.display()))?;
    say(session, &out)
}

fn request(args: WalkArgs, folder: &Path) -> anyhow::Result<GenerateRequest> {
    let mut request = GenerateRequest::of(&args.prompt);
    args.picture.apply(&mut request)?;
    // Both ends need one seed to begin with.
    let seed = request
        .seed
        .unwrap_or_else(|| crate::clock::now().millis() & 0xffff_ffff);
    request.seed = Some(seed);
    request.blend = Some(Blend {
        prompt: args.to.unwrap_or_else(|| args.prompt.clone()),
        negative: args.to_negative.unwrap_or_else(|| request.negative.clone()),
        seed: args.to_seed.unwrap_or(seed),
        amount: Micro::from_millionths(0),
    });
    request.count = args.frames;
    request.format = Some(ImageFormat::Png);
    request.out = Some(
        folder
            .to_str()
            .context("the folder's name is not Unicode")?
            .to_owned(),
    );
    Ok(request)
}

fn animation(out: &Path) -> anyhow::Result<Animation> {
    match out.extension().and_then(OsStr::to_str) {
        Some("webp") => Ok(Animation::WebpLossless),
        Some("png" | "apng") => Ok(Animation::Png),
        Some(_) | None => bail!("{}: an animation ends in .webp or .png", out.display()),
    }
}

/// Returns the pictures a batch left in a folder, in its order: names end in their number.
fn pictures_in(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let number = |path: &Path| {
        let stem = path.file_stem()?.to_str()?;
        stem.rsplit_once('-')?.1.parse::<u32>().ok()
    };
    let mut found: Vec<(u32, PathBuf)> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|ending| ending == "png"))
        .filter_map(|path| Some((number(&path)?, path)))
        .collect();
    found.sort();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

fn read(path: &Path) -> anyhow::Result<Picture> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let decoded = picture::decode(&bytes);
    Ok(decoded
        .with_context(|| format!("cannot understand {}", path.display()))?
        .picture)
}

fn write_sheet(pictures: &[Picture], path: &Path) -> anyhow::Result<()> {
    let last = pictures.len().saturating_sub(1).max(1);
    let captions: Vec<String> = (0..pictures.len())
        .map(|i| format!("{}%", i * 100 / last))
        .collect();
    let columns = (1..=pictures.len())
        .find(|n| n * n >= pictures.len())
        .unwrap_or(1);
    let columns = u32::try_from(columns).unwrap_or(1);
    let sheet = picture::contact_sheet(pictures, columns, Captions::Under(&captions))
        .context("cannot lay out the contact sheet")?;
    let encoding = picture::Encoding::Png;
    let bytes = picture::encode(&sheet, encoding, None).context("cannot write the sheet")?;
    fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

fn say(session: &Session, path: &Path) -> anyhow::Result<()> {
    let saved = session.printer.paint(Role::Good, "saved");
    session.printer.line(format!("{saved} {}", path.display()))
}
