//! `plain-iroh DIR FILE`: moves FILE between two iroh-blobs stores on loopback and prints seconds.
//!
//! As in the crate's own transfer example (add by path, one downloader, one provider), with
//! stores on disk instead of memory, no relay, and a direct address.

use std::path::Path;
use std::time::Instant;

use iroh::address_lookup::memory::MemoryLookup;
use iroh::endpoint::{Endpoint, RelayMode, presets};
use iroh::protocol::Router;
use iroh::{EndpointAddr, TransportAddr};
use iroh_blobs::BlobsProtocol;
use iroh_blobs::api::blobs::{AddPathOptions, ImportMode};
use iroh_blobs::store::fs::FsStore;
use iroh_blobs::BlobFormat;

type AnyError = Box<dyn std::error::Error + Send + Sync>;

async fn endpoint(lookup: MemoryLookup) -> Result<Endpoint, AnyError> {
    let builder = Endpoint::builder(presets::Minimal)
        .relay_mode(RelayMode::Disabled)
        .clear_address_lookup()
        .address_lookup(lookup)
        .clear_ip_transports()
        .bind_addr("127.0.0.1:0")?;
    Ok(builder.bind().await?)
}

#[tokio::main]
async fn main() -> Result<(), AnyError> {
    let args: Vec<String> = std::env::args().collect();
    let (dir, file) = (Path::new(&args[1]), Path::new(&args[2]));
    let giver = FsStore::load(dir.join("giver")).await?;
    let taker = FsStore::load(dir.join("taker")).await?;
    let giver_endpoint = endpoint(MemoryLookup::new()).await?;
    let lookup = MemoryLookup::new();
    let addrs = giver_endpoint.bound_sockets().into_iter().map(TransportAddr::Ip);
    lookup.add_endpoint_info(EndpointAddr::from_parts(giver_endpoint.id(), addrs));
    let taker_endpoint = endpoint(lookup).await?;
    let options = AddPathOptions {
        path: std::path::absolute(file)?,
        format: BlobFormat::Raw,
        mode: ImportMode::TryReference,
    };
    let tag = giver.blobs().add_path_with_opts(options).await?;
    let router = Router::builder(giver_endpoint.clone())
        .accept(iroh_blobs::ALPN, BlobsProtocol::new(&giver, None))
        .spawn();
    let begun = Instant::now();
    taker.downloader(&taker_endpoint).download(tag.hash, [giver_endpoint.id()]).await?;
    println!("{:.3}", begun.elapsed().as_secs_f64());
    router.shutdown().await?;
    taker_endpoint.close().await;
    Ok(())
}
