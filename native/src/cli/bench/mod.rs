//! `tequio bench`: measures this machine beside a known peer in the same run, so that the numbers
//! are comparable.

mod compute;
mod consensus;
mod figures;
mod load;
mod webrtc;

use clap::{Args, Subcommand};

/// Measure this machine
#[derive(Debug, Args)]
pub struct Bench {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Matrix products on one core: the int8 kernels of Tequio, and f32 by the crate matrixmultiply
    Compute(compute::Compute),
    /// Consensus of real nodes over loopback, with syncs to the disk
    Consensus(consensus::Consensus),
    /// Two nodes of this process over loopback: WebRTC, and WebSocket for comparison
    Webrtc(webrtc::Webrtc),
}

impl Bench {
    /// Runs the measurement.
    pub fn execute(self) -> anyhow::Result<()> {
        match self.command {
            Command::Compute(compute) => compute.execute(),
            Command::Consensus(consensus) => consensus.execute()?,
            Command::Webrtc(webrtc) => webrtc.execute()?,
        }
        Ok(())
    }
}
