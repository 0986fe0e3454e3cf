//! The node's side of the control API: commands that take time are done here, the rest is passed
//! on to the switchboard.

mod inputs;
mod join;
mod models;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use hearth_gateway::Control;
use hearth_protocol::control::{Command, GenerateRequest, ModelRef, Problem, Reply};
use hearth_protocol::snapshot::{Notice, Snapshot};
use tokio::sync::broadcast;

use crate::blobs::Blobs;
use crate::switchboard::{Ask, Desk};

/// Does commands.
#[derive(Debug, Clone)]
pub(crate) struct ControlDesk {
    desk: Desk,
    blobs: Blobs,
    notices: broadcast::Sender<Notice>,
}

impl ControlDesk {
    /// Puts a desk in front of a switchboard.
    pub(crate) const fn new(desk: Desk, blobs: Blobs, notices: broadcast::Sender<Notice>) -> Self {
        Self {
            desk,
            blobs,
            notices,
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "everything else is answered at once"
    )]
    async fn carry(self, command: Command) -> Result<Reply, Problem> {
        match command {
            Command::ModelAdd {
                path,
                title,
                triggers,
                licence,
                description,
            } => {
                let wishes = models::CardWishes {
                    title,
                    triggers,
                    licence,
                    description,
                };
                let view =
                    models::add(&self.desk, &self.blobs, &PathBuf::from(path), wishes).await?;
                Ok(Reply::Model(Box::new(view)))
            }
            Command::ModelPin { model } => {
                models::fetch(&self.desk, &self.blobs, model.clone()).await?;
                self.desk.command(Command::ModelPin { model }).await
            }
            Command::ModelFetch { model } => models::fetch(&self.desk, &self.blobs, model).await,
            Command::CommonsJoin { ticket } => join::join(&self.desk, &self.blobs, &ticket).await,
            Command::Generate(request) => {
                let request = self.import_paths(*request).await?;
                let start = inputs::keep(&self.blobs, &request.start).await?;
                self.desk
                    .ask(|reply| Ask::Generate(Box::new(request), start, reply))
                    .await
            }
            other => self.desk.command(other).await,
        }
    }

    /// A model named by a path is added first, then named by its card.
    async fn import_paths(&self, mut request: GenerateRequest) -> Result<GenerateRequest, Problem> {
        if let Some(model) = request.model.take() {
            request.model = Some(self.import_path(model).await?);
        }
        if let Some(vae) = request.vae.take() {
            request.vae = Some(self.import_path(vae).await?);
        }
        for embedding in &mut request.embeddings {
            *embedding = self.import_path(std::mem::take(embedding)).await?;
        }
        for lora in &mut request.loras {
            lora.model = self.import_path(std::mem::take(&mut lora.model)).await?;
        }
        Ok(request)
    }

    async fn import_path(&self, model: ModelRef) -> Result<ModelRef, Problem> {
        let path = Path::new(&model);
        if !path.is_absolute() {
            return Ok(model);
        }
        let wishes = models::CardWishes::default();
        let view = models::add(&self.desk, &self.blobs, path, wishes).await?;
        Ok(view.card.to_string())
    }
}

impl Control for ControlDesk {
    fn execute(&self, command: Command) -> BoxFuture<'static, Result<Reply, Problem>> {
        // A task of its own: the command is done even when whoever asked hangs up.
        let task = tokio::spawn(self.clone().carry(command));
        async move {
            task.await.unwrap_or_else(|error| {
                let kind = hearth_protocol::control::ProblemKind::Failed;
                Err(Problem::new(kind, "the command ended in a fault of the node").because(&error))
            })
        }
        .boxed()
    }

    fn snapshot(&self) -> BoxFuture<'static, Option<Arc<Snapshot>>> {
        let desk = self.desk.clone();
        async move { desk.tell(Ask::Snapshot).await }.boxed()
    }

    fn notices(&self) -> broadcast::Receiver<Notice> {
        self.notices.subscribe()
    }
}
