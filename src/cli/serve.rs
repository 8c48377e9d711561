//! `serve`: the gateway until somebody ends it.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::status;

/// The doors of a running gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doors {
    pub https: SocketAddr,
    /// `None`: no HL7 door is configured.
    pub mllp: Option<SocketAddr>,
    pub ops: SocketAddr,
    /// What a client must trust, where the certificate is the dev CA's.
    pub dev_ca: Option<PathBuf>,
}

/// Persons whom the page lets in by a button. Only the demo has them.
pub struct DemoPersons {
    /// Name and role of each.
    pub persons: Vec<(String, String)>,
    /// A token for the person of this index; it is verified like any other.
    pub token_of: Box<dyn Fn(usize) -> Option<String> + Send + Sync>,
}

/// A running gateway.
pub trait Running {
    fn doors(&self) -> Doors;
    /// Accepts nothing more, finishes what is in flight, and returns when all is on the disk.
    fn stop(self: Box<Self>);
}

/// Starts the gateway, says when every door is open, and stops it when `wait` returns.
pub fn run(start: impl FnOnce() -> Result<Box<dyn Running>, String>, wait: impl FnOnce(), err: &mut dyn Write) -> u8 {
    let gateway = match start() {
        Ok(gateway) => gateway,
        Err(why) => {
            let _ = writeln!(err, "The gateway did not start: {why}");
            return status::FAILED;
        }
    };
    let _ = writeln!(err, "{}", ready_line(&gateway.doors()));
    wait();
    gateway.stop();
    status::DONE
}

/// One line, when every door is open.
fn ready_line(doors: &Doors) -> String {
    let mllp = doors.mllp.map_or_else(|| "off".to_owned(), |address| address.to_string());
    format!("ready https={} mllp={mllp} ops={}", doors.https, doors.ops)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Pretended;

    impl Running for Pretended {
        fn doors(&self) -> Doors {
            let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
            Doors { https: at(8443), mllp: Some(at(2575)), ops: at(9443), dev_ca: None }
        }

        fn stop(self: Box<Self>) {}
    }

    #[test]
    fn the_ready_line_names_every_door() {
        let mut err = Vec::new();
        assert_eq!(run(|| Ok(Box::new(Pretended)), || (), &mut err), status::DONE);
        assert_eq!(String::from_utf8(err).unwrap(), "ready https=127.0.0.1:8443 mllp=127.0.0.1:2575 ops=127.0.0.1:9443\n");
        let mut err = Vec::new();
        assert_eq!(run(|| Err("the port is taken".to_owned()), || (), &mut err), status::FAILED);
        assert_eq!(String::from_utf8(err).unwrap(), "The gateway did not start: the port is taken\n");
    }
}
