//! Arguments → configuration → command.

use std::io::{self, Write};
use std::process::ExitCode;

use shutterbridge::cli::args::{self, Command, Settings};
use shutterbridge::cli::{self, demo, status, upkeep};
use shutterbridge::clock::Clock;
use shutterbridge::config::{self, Loaded, Problems, Sources};
use shutterbridge::fence;
use shutterbridge::gateway;
use shutterbridge::ops::signals::Stop;

fn main() -> ExitCode {
    let command = args::parse(std::env::args_os().skip(1)).map_err(|usage| fail(&usage, status::USAGE));
    ExitCode::from(command.and_then(run).unwrap_or_else(|code| code))
}

/// `Err`: the exit code of what was told already.
fn run(command: Command) -> Result<u8, u8> {
    let (out, err) = (&mut io::stdout(), &mut io::stderr());
    Ok(match command {
        Command::Say(text) => cli::say(out, &text),
        Command::Demo(args) => {
            let stop = Stop::on_terminate_or_hang_up().map_err(|why| fail(&why, status::FAILED))?;
            let start = &mut |file: &std::path::Path, persons| {
                let loaded = config::load(&Sources::of_file(file)).map_err(|problems| problems.to_string())?;
                gateway::start(&loaded.config, Some(persons))
            };
            let wait = &|longest| stop.wait_for(longest);
            demo::run(&args, &mut demo::Roof { start, wait, clock: Clock::system(), out, err })
        }
        Command::Serve(settings) => {
            let stop = Stop::on_terminate().map_err(|why| fail(&why, status::FAILED))?;
            let loaded = load(settings)?;
            loaded.warnings.iter().for_each(|warning| drop(writeln!(err, "warning: {warning}")));
            cli::serve::run(|| gateway::start(&loaded.config, None), || stop.wait(), err)
        }
        Command::Check { settings, json } => cli::check::tell(&gateway::check::rows(read(settings)), json, out),
        Command::Scrub(args) => cli::scrub::run(&args, out, err),
        Command::Wrap(args) => {
            let config = load(args.settings.clone())?.config;
            cli::wrap::run(&args, &mut |claim, patient| gateway::wrapper(&config, claim, patient), out, err)
        }
        Command::ConfigPrint { settings, origin } => cli::say(out, &load(settings)?.print(origin)),
        Command::JournalRebuild(settings) => upkeep::tell(gateway::rebuild_journal(&load(settings)?.config), out, err),
        Command::SpoolVerify(settings) => upkeep::tell(gateway::verify_spool(&load(settings)?.config), out, err),
        Command::AuditVerify(settings) => upkeep::tell(gateway::verify_audit(&load(settings)?.config), out, err),
        Command::Backup { settings, out: to } => upkeep::tell(gateway::backup(&load(settings)?.config, &to), out, err),
        Command::Restore { settings, from } => upkeep::tell(gateway::restore(&load(settings)?.config, &from), out, err),
        Command::Queue(args) => cli::queue::run(&args, &mut io::stdin().lock(), out, err),
        Command::Fenced(words) => fence::inside::run(&words),
        Command::TokenMint(args) => cli::token::mint(&args, &Clock::system(), out, err),
    })
}

fn read(Settings { config: file, flags }: Settings) -> Result<Loaded, Problems> {
    config::load(&Sources { file, environment: std::env::vars_os().collect(), flags })
}

fn load(settings: Settings) -> Result<Loaded, u8> {
    read(settings).map_err(|problems| fail(&problems, status::FAILED))
}

fn fail(why: &dyn std::fmt::Display, code: u8) -> u8 {
    let _ = writeln!(io::stderr(), "{why}");
    code
}
