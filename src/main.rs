//! Says how surprising each event of a stream is, given everything before it.

use std::process::ExitCode;

use clap::Parser;
use surprisal::app;
use surprisal::cli::Cli;

fn main() -> ExitCode {
    match app::run(Cli::parse()) {
        Ok(()) => ExitCode::from(surprisal::cli::status::OK),
        Err(error) => {
            eprintln!("surprisal: {error}");
            ExitCode::from(error.status())
        }
    }
}
