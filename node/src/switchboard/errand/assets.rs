//! Finding the files an engine run reads: models here, the requester's files here or with it.

use hearth_dispatch::CallId;
use hearth_protocol::card::{Card, CardFile, CardKind};
use hearth_protocol::engine::{AssetFile, Assets, ModelAsset};
use hearth_protocol::id::NodeId;
use hearth_protocol::job::InputRef;

use super::{Answer, Answers, causes, tell};
use crate::blobs::Blobs;

/// What an engine run reads.
#[derive(Debug)]
pub(crate) struct Needs {
    /// The job's cards in the order of [`JobSpec::cards`](hearth_protocol::job::JobSpec::cards).
    pub(crate) cards: Vec<Card>,
    /// How many of them are embeddings.
    pub(crate) embeddings: usize,
    /// Whether the last is an autoencoder.
    pub(crate) vae: bool,
    /// The requester's files.
    pub(crate) inputs: Vec<InputRef>,
    /// Who has them, if not this node.
    pub(crate) from: Option<NodeId>,
}

/// Finds the files an engine run reads, fetching those of its requester.
pub(crate) async fn assets(blobs: Blobs, call: CallId, needs: Needs, answers: Answers) {
    let assets = gather(&blobs, &needs).await;
    tell(&answers, Answer::Assets { call, assets }).await;
}

async fn gather(blobs: &Blobs, needs: &Needs) -> Result<Assets, String> {
    let mut models = Vec::new();
    for card in &needs.cards {
        let model = model_asset(blobs, card).await;
        models.push(model.map_err(|error| causes(&error))?);
    }
    let mut inputs = Vec::new();
    for input in &needs.inputs {
        inputs.push(input_file(blobs, input, needs.from).await?);
    }
    let vae = if needs.vae { models.pop() } else { None };
    let loras_end = models.len().saturating_sub(needs.embeddings);
    let embeddings = models.split_off(loras_end);
    if models.is_empty() {
        return Err("the job names no checkpoint".into());
    }
    Ok(Assets {
        checkpoint: models.remove(0),
        loras: models,
        embeddings,
        vae,
        inputs,
    })
}

async fn input_file(
    blobs: &Blobs,
    input: &InputRef,
    from: Option<NodeId>,
) -> Result<String, String> {
    let path = blobs.job_file(&input.blob);
    if let Some(from) = from
        && !path.exists()
    {
        let fetched = blobs.fetch_job(input.blob, input.size.get(), from).await;
        let bytes = fetched.map_err(|error| {
            format!("what the job starts from did not come: {}", causes(&error))
        })?;
        let kept = blobs.put_job(bytes).await;
        kept.map_err(|error| causes(&error))?;
    }
    path.into_os_string()
        .into_string()
        .map_err(|_| "the node's folder is not Unicode".to_owned())
}

async fn model_asset(blobs: &Blobs, card: &Card) -> Result<ModelAsset, crate::blobs::FileError> {
    let mut files = Vec::new();
    for file in &card.files {
        let path = blobs.file(file.blob).await?.to_string_lossy().into_owned();
        files.push(AssetFile {
            name: file.name.clone(),
            path,
        });
    }
    Ok(ModelAsset {
        title: card.title.clone(),
        hash: metadata_hash(card),
        files,
    })
}

/// Returns the hash a picture's metadata names: `AutoV2` of the main file of a checkpoint, `AutoV3`
/// of a LoRA.
fn metadata_hash(card: &Card) -> String {
    let tensors = |file: &&CardFile| file.name.ends_with(".safetensors");
    let Some(main) = card
        .files
        .iter()
        .filter(tensors)
        .max_by_key(|file| file.size)
    else {
        return String::new();
    };
    let digits = |hash: String, count: usize| hash.chars().take(count).collect();
    match card.kind {
        CardKind::Checkpoint | CardKind::Vae => digits(main.sha256.to_string(), 10),
        CardKind::Embedding => digits(main.sha256.to_string(), 12),
        CardKind::Lora => digits(main.autov3.unwrap_or(main.sha256).to_string(), 12),
    }
}
