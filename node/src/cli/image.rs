//! `hearth image`: what pictures tell of their making, and sheets of them.

use std::fs;
use std::path::PathBuf;

use anyhow::Context;
use clap::Subcommand;
use hearth_engine::picture::{self, Captions};

use super::session::Session;
use super::wording::printable;

/// What to do with picture files.
#[derive(Debug, Subcommand)]
pub(super) enum ImageVerb {
    /// Show what a PNG, JPEG or WebP was made with
    ///
    /// Reads A1111's, ComfyUI's, InvokeAI's, Draw Things' and other programs' metadata;
    /// 'hearth generate --like FILE' draws with it.
    Info {
        /// The picture
        file: PathBuf,
    },
    /// Lay pictures out on one sheet, each with its seed under it
    Sheet {
        /// The pictures
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// The sheet, a PNG
        #[arg(long, short, default_value = "sheet.png", value_name = "FILE")]
        out: PathBuf,
        /// Pictures in a row
        #[arg(long, default_value_t = 4, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
        columns: u32,
    },
}

pub(super) fn run(verb: &ImageVerb, session: &Session) -> anyhow::Result<()> {
    match verb {
        ImageVerb::Info { file } => {
            let info =
                picture::info(file).with_context(|| format!("cannot read {}", file.display()))?;
            session.printer.json(&info)?;
            let text = info.to_string();
            for line in text.lines() {
                session.printer.line(printable(line))?;
            }
            Ok(())
        }
        ImageVerb::Sheet {
            files,
            out,
            columns,
        } => {
            let mut pictures = Vec::new();
            let mut captions = Vec::new();
            for file in files {
                let what = || format!("cannot read {}", file.display());
                let bytes = fs::read(file).with_context(what)?;
                pictures.push(picture::decode(&bytes).with_context(what)?.picture);
                let info = picture::info_of(&bytes).with_context(what)?;
                let seed = info.request.settings.seed;
                captions.push(seed.map_or_else(String::new, |seed| seed.to_string()));
            }
            let captions = Captions::Under(&captions);
            let sheet = picture::contact_sheet(&pictures, *columns, captions)
                .context("cannot lay out the sheet")?;
            let bytes = picture::encode(&sheet, picture::Encoding::Png, None)
                .context("cannot write the sheet")?;
            fs::write(out, bytes).with_context(|| format!("cannot write {}", out.display()))?;
            session.printer.line(format!("saved {}", out.display()))
        }
    }
}
