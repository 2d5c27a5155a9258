//! Says how surprising each event of a stream is, given everything before it.

use std::process::ExitCode;

use clap::Parser;
use surprisal::app;
use surprisal::cli::Cli;

fn main() -> ExitCode {
    app::exit(app::run(Cli::parse()))
}
