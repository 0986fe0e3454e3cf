//! Every bound of Hearth, each with its reason.
//!
//! A peer's message can cost at most its bound. Changing one changes the wire contract: see
//! `specs/wire.md`.

use crate::unit::Millis;

/// Most millikudos one entry may move: a million images of the reference kind; sums stay far
/// inside `i128`.
pub const AMOUNT_MK_MAX: u64 = 1_000_000_000_000;
/// Longest canonical body of an entry: the largest is a `Join` with its invite, below 500 bytes.
pub const BODY_LEN_MAX: usize = 2 * 1024;
/// Longest canonical entry: header, signature and body.
pub const ENTRY_LEN_MAX: usize = BODY_LEN_MAX + 512;
/// Most branches one `Heal` names: a backup put back twice makes three.
pub const HEAL_TIPS_MAX: usize = 8;
/// Longest gossip payload: what gossipsub forwards without splitting.
pub const GOSSIP_LEN_MAX: usize = 64 * 1024;
/// Longest frame on a stream between members: a preview and a page of entries fit.
pub const FRAME_LEN_MAX: usize = 256 * 1024;
/// Longest request or reply at the join door: strangers speak here, so it is short.
pub const DOOR_LEN_MAX: usize = 64 * 1024;
/// Most entries in one gossip batch or sync page.
pub const ENTRIES_PER_MESSAGE_MAX: usize = 128;
/// Most chain heads in one sync frame: 80 bytes each.
pub const HEADS_PER_MESSAGE_MAX: usize = 2_000;
/// Longest packed frame of a comparison of heads; with as many heads as a message may hold it fits
/// a frame on a stream.
pub const COMPARE_LEN_MAX: usize = 64 * 1024;
/// Most cards listed in one message: 33 bytes each.
pub const CARD_IDS_MAX: usize = 2_000;
/// Longest canonical signed card: a full checkpoint folder with previews by hash.
pub const CARD_LEN_MAX: usize = 32 * 1024;
/// Most cards in one sync frame.
pub const CARDS_PER_MESSAGE_MAX: usize = 4;
/// Most files of one card: a sharded diffusers folder has below fifty.
pub const CARD_FILES_MAX: usize = 64;
/// Longest capacity advert.
pub const CAPACITY_LEN_MAX: usize = 16 * 1024;
/// Most cards an advert names as on disk: beyond it the rarest are named.
pub const CAPACITY_CARDS_MAX: usize = 256;
/// Life of a capacity advert.
pub const CAPACITY_LIFE: Millis = Millis::from_secs(90);
/// How often a node adverts.
pub const CAPACITY_PERIOD: Millis = Millis::from_secs(30);
/// Longest text of a bounty or a claim in bytes: what is wanted, or where it lies.
pub const BOUNTY_TEXT_LEN_MAX: usize = 2 * 1024;
/// Longest canonical signed note about a bounty: title, text and ids.
pub const BOUNTY_NOTE_LEN_MAX: usize = 3 * 1024;
/// Most notes in one sync frame: at their longest they fit.
pub const BOUNTY_NOTES_PER_MESSAGE_MAX: usize = 64;
/// Most notes about bounties a node keeps: three megabytes at their longest.
pub const BOUNTY_NOTES_MAX: usize = 1_024;
/// Most of them by one author.
pub const BOUNTY_NOTES_PER_AUTHOR_MAX: usize = 64;
/// Most notes that wait for their bounty or for their author's join.
pub const BOUNTY_NOTES_EARLY_MAX: usize = 256;
/// Longest time a bounty may be open: a year.
pub const BOUNTY_LIFE_MAX: Millis = Millis::from_secs(366 * 86_400);
/// How long a bounty is kept after its end: time to judge and to pay.
pub const BOUNTY_KEPT: Millis = Millis::from_secs(30 * 86_400);
/// Longest signed charter: rules text included.
pub const CHARTER_LEN_MAX: usize = 32 * 1024;
/// Longest ticket text: it must fit a QR code and a chat line.
pub const TICKET_LEN_MAX: usize = 2_800;
/// Most members whose addresses a ticket carries.
pub const TICKET_MEMBERS_MAX: usize = 4;
/// Most addresses of one member, and the longest.
pub const ADDRS_MAX: usize = 8;
/// Longest textual address.
pub const ADDR_LEN_MAX: usize = 128;
/// Longest prompt, positive or negative, in bytes of UTF-8.
pub const PROMPT_LEN_MAX: usize = 8 * 1024;
/// Longest title, nickname or petname in bytes.
pub const NAME_LEN_MAX: usize = 128;
/// Longest free text (descriptions, purposes, reasons) in bytes.
pub const TEXT_LEN_MAX: usize = 4 * 1024;
/// Most adapters of one job.
pub const LORAS_MAX: usize = 16;
/// Most textual inversions of one job: a prompt names few.
pub const EMBEDDINGS_MAX: usize = 32;
/// Most layers clip skip may count back: the deepest text encoder has 32.
pub const CLIP_SKIP_MAX: u32 = 24;
/// Longest picture, mask or saved step a job brings along.
pub const INPUT_LEN_MAX: u64 = 32 * 1024 * 1024;
/// Smallest and largest side of a picture in pixels, and its step.
pub const SIDE_MIN: u32 = 64;
/// Largest side of a picture.
pub const SIDE_MAX: u32 = 4096;
/// Sides are multiples of the VAE's factor.
pub const SIDE_STEP: u32 = 8;
/// Most steps of one job.
pub const STEPS_MAX: u32 = 1_000;
/// Most pictures one `generate` asks for.
pub const COUNT_MAX: u32 = 64;
/// Longest single output blob of a job.
pub const OUTPUT_LEN_MAX: u64 = 64 * 1024 * 1024;
/// Most outputs of one job: the picture, and latents and a small picture of each step.
pub const OUTPUTS_MAX: usize = 1 + 2 * STEPS_MAX as usize;
/// Most outputs named in one `Done` message.
pub const OUTPUTS_PER_MESSAGE_MAX: usize = OUTPUTS_MAX;
/// Longest preview in bytes: a 128x128 latent as RGB.
pub const PREVIEW_LEN_MAX: usize = 3 * 128 * 128;
/// Longest frame between node and engine process: one picture.
pub const ENGINE_FRAME_LEN_MAX: usize = 80 * 1024 * 1024;
/// Most jobs a worker keeps waiting.
pub const QUEUE_MAX: usize = 64;
/// Most jobs one requester may have waiting at one worker.
pub const QUEUE_PER_PEER_MAX: usize = 16;
/// Most unfinished jobs a requester keeps.
pub const JOBS_OPEN_MAX: usize = 256;
/// Most finished jobs kept in memory for display; older ones are in the store.
pub const JOBS_SHOWN_MAX: usize = 256;
/// Most workers asked for a quote at once.
pub const QUOTES_MAX: usize = 4;
/// Most believed members named in a decision about credit.
pub const BASIS_MAX: usize = 8;
/// How long a requester waits for quotes.
pub const QUOTE_TIMEOUT: Millis = Millis::new(1_500);
/// Events, frames and commands waiting between two rooms of the node.
pub const ROOM_QUEUE_MAX: usize = 1_024;
/// Members this design is built for; more are refused at the door.
pub const MEMBERS_MAX: usize = 10_000;
/// Lines of log kept for the dashboard.
pub const LOG_LINES_MAX: usize = 200;
/// Most entries or lines in one reply about the ledger: some hundred kilobytes of JSON.
pub const LEDGER_PAGE_MAX: usize = 1_000;
/// Most entries or fork proofs in one import: Base64, they fit a command.
pub const LEDGER_IMPORT_MAX: usize = 64;
/// Longest line of an exported ledger: a charter at its limit, in Base64, fits.
pub const LEDGER_LINE_LEN_MAX: usize = 128 * 1024;
