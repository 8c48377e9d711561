//! `token mint`: a token signed with a dev key.

use std::io::Write;

use super::args::MintArgs;
use super::status;
use crate::capture::Operator;
use crate::clock::Clock;
use crate::identity::{DevIssuer, IdentityError};

/// `iss` of dev tokens: no host, so that nobody takes it for a hospital's.
pub const DEV_ISSUER: &str = "urn:shutterbridge:dev";
/// `aud` of tokens for the gateway.
pub const AUDIENCE: &str = "shutterbridge";

/// Prints a token; says on `err` what a configuration must hold for it to be good.
pub fn mint(args: &MintArgs, clock: &Clock, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    match try_mint(args, clock) {
        Ok(token) => {
            let _ = writeln!(out, "{token}");
            if let Some(jwks) = &args.jwks {
                let _ = writeln!(
                    err,
                    "The gateway takes this token where its configuration has\n[[issuer]]\nissuer = \"{}\"\naudience = \"{}\"\njwks_file = \"{}\"",
                    args.issuer,
                    args.audience,
                    jwks.display()
                );
            }
            status::DONE
        }
        Err(why) => {
            let _ = writeln!(err, "{why}");
            status::FAILED
        }
    }
}

fn try_mint(args: &MintArgs, clock: &Clock) -> Result<String, String> {
    let told = |error: IdentityError| format!("No token: {error}");
    let issuer = DevIssuer::load(&args.key, args.audience.as_str()).map_err(told)?;
    if let Some(path) = &args.jwks {
        let written = std::fs::write(path, issuer.jwks() + "\n");
        written.map_err(|error| format!("The public keys cannot be written to {}: {error}", path.display()))?;
    }
    let operator = Operator { issuer: args.issuer.clone(), subject: args.subject.clone(), name: args.name.clone() };
    issuer.mint(&operator, &args.scopes, clock.now(), args.hours * 3600).map_err(told)
}
