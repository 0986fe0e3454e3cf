//! Channels to members: one task writes and one reads each (member, channel) pair.
//!
//! Each side opens its own outgoing stream when it has something to send and keeps it; the other
//! side's stream carries the answers. Queues are bounded: a full one refuses the frame. A channel
//! that breaks loses what is queued, says so once, and starts anew with the next frame. Nothing
//! here knows whether a member is connected; `driver.rs` says so by [`Channels::close`].

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use futures::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _};
use hearth_protocol::id::NodeId;
use libp2p::{PeerId, Stream, StreamProtocol};
use libp2p_stream::{Control, IncomingStreams, OpenStreamError};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};

use super::frame::{self, FrameError};
use super::topic::{Channel, Names};

/// Frames waiting for one writer.
const QUEUE_MAX: usize = 64;
/// Reports of all tasks waiting for the network task: small, since each may hold a frame.
const REPORTS_MAX: usize = 8;
/// Attempts to open a stream, and the patience for each.
const OPEN_ATTEMPTS: u32 = 4;
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause before the second attempt; doubled for each further one.
const OPEN_PAUSE: Duration = Duration::from_millis(50);

/// What a task of a channel tells.
#[derive(Debug)]
pub(super) enum Report {
    /// A frame came.
    Frame {
        peer: NodeId,
        channel: Channel,
        bytes: Vec<u8>,
    },
    /// The peer announced a frame over the limit; its stream is closed.
    TooLong { peer: NodeId },
    /// A task ended. Compare with [`Channels::ended`].
    Ended {
        peer: NodeId,
        channel: Channel,
        task: u64,
    },
    /// A member opened a stream; hand it to [`Channels::accept`] or drop it.
    Incoming {
        peer: PeerId,
        channel: Channel,
        stream: Stream,
    },
}

#[derive(Debug)]
struct Writer {
    task: u64,
    frames: mpsc::Sender<Vec<u8>>,
    abort: AbortHandle,
}

#[derive(Debug)]
struct Reader {
    task: u64,
    abort: AbortHandle,
}

/// All channels of the node.
pub(super) struct Channels {
    names: Names,
    control: Control,
    frame_len_max: usize,
    sync: IncomingStreams,
    job: IncomingStreams,
    writers: BTreeMap<(NodeId, Channel), Writer>,
    readers: BTreeMap<(NodeId, Channel), Reader>,
    tasks: JoinSet<()>,
    last_task: u64,
    report_sender: mpsc::Sender<Report>,
    reports: mpsc::Receiver<Report>,
}

impl Channels {
    pub(super) fn new(names: Names, mut control: Control, frame_len_max: usize) -> Self {
        let mut accept = |channel| {
            control
                .accept(names.protocol(channel).clone())
                .expect("each protocol is registered once, here")
        };
        let (sync, job) = (accept(Channel::Sync), accept(Channel::Job));
        let (report_sender, reports) = mpsc::channel(REPORTS_MAX);
        Self {
            names,
            control,
            frame_len_max,
            sync,
            job,
            writers: BTreeMap::new(),
            readers: BTreeMap::new(),
            tasks: JoinSet::new(),
            last_task: 0,
            report_sender,
            reports,
        }
    }

    /// Waits for the next report. May be dropped at any point without losing one.
    pub(super) async fn next(&mut self) -> Report {
        loop {
            let (incoming, channel) = tokio::select! {
                Some(report) = self.reports.recv() => return report,
                incoming = self.sync.next() => (incoming, Channel::Sync),
                incoming = self.job.next() => (incoming, Channel::Job),
            };
            match incoming {
                Some((peer, stream)) => {
                    return Report::Incoming {
                        peer,
                        channel,
                        stream,
                    };
                }
                // The swarm is gone; its owner ends this wait.
                None => std::future::pending::<()>().await,
            }
        }
    }

    /// Returns a report that already waits. Bounded, so that a drain ends.
    pub(super) fn waiting(&mut self) -> Vec<Report> {
        (0..REPORTS_MAX)
            .map_while(|_| self.reports.try_recv().ok())
            .collect()
    }

    /// Queues a frame. Returns false, and drops it, when it is too long, the queue is full, or the
    /// channel has just broken and its report is still on the way.
    pub(super) fn send(
        &mut self,
        peer: NodeId,
        peer_id: PeerId,
        channel: Channel,
        bytes: Vec<u8>,
    ) -> bool {
        if bytes.len() > self.frame_len_max {
            return false;
        }
        let key = (peer, channel);
        if self
            .writers
            .get(&key)
            .is_none_or(|writer| writer.frames.is_closed())
        {
            let writer = self.open(peer, peer_id, channel);
            self.writers.insert(key, writer);
        }
        self.writers
            .get(&key)
            .is_some_and(|writer| writer.frames.try_send(bytes).is_ok())
    }

    fn open(&mut self, peer: NodeId, peer_id: PeerId, channel: Channel) -> Writer {
        let (frames, queue) = mpsc::channel(QUEUE_MAX);
        let task = self.next_task();
        let control = self.control.clone();
        let protocol = self.names.protocol(channel).clone();
        let reports = self.report_sender.clone();
        let abort = self.tasks.spawn(async move {
            if let Err(failure) = write_frames(control, peer_id, protocol, queue).await {
                tracing::debug!(%peer, ?channel, %failure, "outgoing channel ended");
            }
            // The driver ends first only when the node stops.
            let _ = reports
                .send(Report::Ended {
                    peer,
                    channel,
                    task,
                })
                .await;
        });
        Writer {
            task,
            frames,
            abort,
        }
    }

    /// Reads a member's stream, in place of an older one. Returns whether there was one.
    pub(super) fn accept(&mut self, peer: NodeId, channel: Channel, stream: Stream) -> bool {
        let task = self.next_task();
        let len_max = self.frame_len_max;
        let reports = self.report_sender.clone();
        let abort = self.tasks.spawn(async move {
            let failure = read_frames(peer, channel, stream, len_max, &reports).await;
            tracing::debug!(%peer, ?channel, %failure, "incoming channel ended");
            if matches!(failure, FrameError::TooLong { .. }) {
                let _ = reports.send(Report::TooLong { peer }).await;
            }
            let _ = reports
                .send(Report::Ended {
                    peer,
                    channel,
                    task,
                })
                .await;
        });
        let old = self.readers.insert((peer, channel), Reader { task, abort });
        old.inspect(|old| old.abort.abort()).is_some()
    }

    /// Notes that a task ended. Returns whether the channel was in use by it, so that its loss is
    /// news; a task that was replaced is none.
    pub(super) fn ended(&mut self, peer: NodeId, channel: Channel, task: u64) -> bool {
        let key = (peer, channel);
        if self
            .writers
            .get(&key)
            .is_some_and(|writer| writer.task == task)
        {
            self.writers.remove(&key);
            return true;
        }
        if self
            .readers
            .get(&key)
            .is_some_and(|reader| reader.task == task)
        {
            self.readers.remove(&key);
            return true;
        }
        false
    }

    /// Ends the channels of a member that is not connected any more. Returns those in use.
    pub(super) fn close(&mut self, peer: NodeId) -> Vec<Channel> {
        let in_use = Channel::ALL.into_iter().filter(|channel| {
            let writer = self
                .writers
                .remove(&(peer, *channel))
                .map(|writer| writer.abort);
            let reader = self
                .readers
                .remove(&(peer, *channel))
                .map(|reader| reader.abort);
            let aborts: Vec<AbortHandle> = writer.into_iter().chain(reader).collect();
            aborts.iter().for_each(AbortHandle::abort);
            !aborts.is_empty()
        });
        in_use.collect()
    }

    fn next_task(&mut self) -> u64 {
        while self.tasks.try_join_next().is_some() {}
        self.last_task += 1;
        self.last_task
    }
}

/// Why a channel to a member cannot be opened or went away.
#[derive(Debug, thiserror::Error)]
enum WriteError {
    #[error("opening the channel")]
    Open(#[source] OpenStreamError),
    #[error("nobody took the channel in time")]
    NotReady,
    #[error("the other side closed the channel")]
    Closed,
    #[error("writing a frame")]
    Io(#[from] io::Error),
}

async fn write_frames(
    mut control: Control,
    peer: PeerId,
    protocol: StreamProtocol,
    mut queue: mpsc::Receiver<Vec<u8>>,
) -> Result<(), WriteError> {
    let stream = open_stream(&mut control, peer, &protocol).await?;
    let (mut from_peer, mut to_peer) = stream.split();
    loop {
        let mut byte = [0; 1];
        let frame = tokio::select! {
            frame = queue.recv() => frame,
            // The reader of this stream never writes again: any answer is its end.
            _ = from_peer.read(&mut byte) => return Err(WriteError::Closed),
        };
        let Some(first) = frame else {
            to_peer.close().await?;
            return Ok(());
        };
        frame::write(&mut to_peer, &first).await?;
        while let Ok(next) = queue.try_recv() {
            frame::write(&mut to_peer, &next).await?;
        }
        to_peer.flush().await?;
    }
}

/// Opens a stream that the other side is ready to read.
async fn open_stream(
    control: &mut Control,
    peer: PeerId,
    protocol: &StreamProtocol,
) -> Result<Stream, WriteError> {
    let mut failure = WriteError::NotReady;
    for attempt in 0..OPEN_ATTEMPTS {
        if attempt > 0 {
            sleep(OPEN_PAUSE * (1 << attempt)).await;
        }
        match timeout(OPEN_TIMEOUT, open_once(control, peer, protocol)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(WriteError::Open(unsupported @ OpenStreamError::UnsupportedProtocol(_)))) => {
                return Err(WriteError::Open(unsupported));
            }
            Ok(Err(error)) => failure = error,
            Err(_elapsed) => failure = WriteError::NotReady,
        }
    }
    Err(failure)
}

async fn open_once(
    control: &mut Control,
    peer: PeerId,
    protocol: &StreamProtocol,
) -> Result<Stream, WriteError> {
    let mut stream = control
        .open_stream(peer, protocol.clone())
        .await
        .map_err(WriteError::Open)?;
    let mut ready = [0; 1];
    stream.read_exact(&mut ready).await?;
    if ready == [frame::READY] {
        Ok(stream)
    } else {
        Err(WriteError::NotReady)
    }
}

async fn read_frames(
    peer: NodeId,
    channel: Channel,
    mut stream: Stream,
    len_max: usize,
    reports: &mpsc::Sender<Report>,
) -> FrameError {
    let greeting = async {
        stream.write_all(&[frame::READY]).await?;
        stream.flush().await
    };
    if let Err(error) = greeting.await {
        return FrameError::Io(error);
    }
    loop {
        let bytes = match frame::read(&mut stream, len_max).await {
            Ok(bytes) => bytes,
            Err(failure) => return failure,
        };
        if reports
            .send(Report::Frame {
                peer,
                channel,
                bytes,
            })
            .await
            .is_err()
        {
            return FrameError::Io(io::ErrorKind::BrokenPipe.into());
        }
    }
}
