//! The files a job starts from: read, kept as job blobs, named by their hash.

use std::path::Path;

use hearth_protocol::control::{MaskAsk, Problem, ProblemKind, StartAsk};
use hearth_protocol::job::{InputRef, Mask, Start};
use hearth_protocol::limits;
use hearth_protocol::unit::ByteCount;
use tokio::io::AsyncReadExt;

use crate::blobs::Blobs;

/// Keeps the files a person names and returns what a spec says of them.
pub(super) async fn keep(blobs: &Blobs, ask: &StartAsk) -> Result<Start, Problem> {
    Ok(match ask {
        StartAsk::Noise => Start::Noise,
        StartAsk::Picture {
            image,
            strength,
            fit,
            mask,
            margins,
        } => Start::Picture {
            image: keep_file(blobs, image, "picture").await?,
            strength: *strength,
            fit: *fit,
            mask: match mask {
                Some(mask) => Some(keep_mask(blobs, mask).await?),
                None => None,
            },
            margins: *margins,
        },
        StartAsk::Step { state, done } => Start::Step {
            state: keep_file(blobs, state, "saved step").await?,
            done: *done,
        },
    })
}

async fn keep_mask(blobs: &Blobs, ask: &MaskAsk) -> Result<Mask, Problem> {
    Ok(Mask {
        image: keep_file(blobs, &ask.image, "mask").await?,
        invert: ask.invert,
        blur: ask.blur,
        fill: ask.fill,
        area: ask.area,
    })
}

async fn keep_file(blobs: &Blobs, path: &str, what: &str) -> Result<InputRef, Problem> {
    let failed = |error: &(dyn std::error::Error + 'static)| {
        Problem::new(ProblemKind::Failed, format!("cannot use the {what} {path}")).because(error)
    };
    let bytes = read(Path::new(path))
        .await
        .map_err(|error| failed(&error))?;
    if bytes.len() as u64 > limits::INPUT_LEN_MAX {
        let most = limits::INPUT_LEN_MAX >> 20;
        let problem = format!("the {what} {path} is over {most} MiB");
        return Err(Problem::new(ProblemKind::Usage, problem).hint("make it smaller"));
    }
    let size = ByteCount::new(bytes.len() as u64);
    let blob = blobs.put_job(bytes).await.map_err(|error| failed(&error))?;
    Ok(InputRef { blob, size })
}

/// Reads a file, and no more than one byte over the bound.
async fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let file = tokio::fs::File::open(path).await?;
    let mut bytes = Vec::new();
    let mut bounded = file.take(limits::INPUT_LEN_MAX + 1);
    bounded.read_to_end(&mut bytes).await?;
    Ok(bytes)
}
