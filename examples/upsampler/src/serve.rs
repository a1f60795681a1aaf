//! `upsampler serve`: lends this machine's device to the `--device remote:...` of others.

use std::net::TcpListener;

use burn::server::{RemoteServer, WebSocketTransport};
use clap::Args;

use crate::device::device;
use crate::error::UpsamplerError;

/// Lend this machine's device to programs on other machines, until Ctrl-C.
///
/// It takes whoever connects, without encryption: for a network that you trust.
#[derive(Args)]
pub struct ServeArgs {
    /// The TCP port. Another machine then says `--device remote:ws://HOST:PORT`.
    #[arg(long, default_value_t = 3000)]
    port: u16,
}

/// Serves.
pub fn run(args: &ServeArgs) -> Result<(), UpsamplerError> {
    let port = args.port;
    let failed = |reason: String| UpsamplerError::Serve { port, reason };
    let listener = TcpListener::bind(("0.0.0.0", port)).map_err(|e| failed(e.to_string()))?;
    println!("serving {:?} on port {port}; stop with Ctrl-C", device());
    RemoteServer::new([device()])
        .serve(WebSocketTransport::from_listener(listener))
        .map_err(|error| failed(error.to_string()))
}
