//! The listening addresses and the control socket: free, or held by this Witgate.

use std::io::{Error, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use super::finding::CheckFinding;
use super::installation::Installation;
use crate::control::protocol::{ControlCommand, Overview, read};
use crate::control::{ask, place};
use witgate_config::Transport;

/// The setting with the address of clients.
const LISTEN: [&str; 2] = ["server", "listen"];

/// The setting with the address of health checks and metrics.
const ADMIN: [&str; 2] = ["server", "admin_listen"];

pub(super) fn examine(installation: &Installation) -> Vec<CheckFinding> {
    let server = &installation.config.server;
    if server.transport != Transport::Http {
        return Vec::new();
    }
    let socket = server.control.as_ref().map(|wanted| place::find(wanted, &installation.environment));
    let running = socket.as_deref().and_then(running);
    let mut findings = vec![of_address(installation, &LISTEN, server.listen, running.as_ref())];
    let admin =
        server.admin_listen.map(|address| of_address(installation, &ADMIN, address, running.as_ref()));
    findings.extend(admin);
    findings.extend(of_control(installation, socket.as_deref(), running.as_ref()));
    findings
}

/// The running Witgate with this configuration. None: none answers.
fn running(socket: &Path) -> Option<Overview> {
    let answer = ask(socket, &ControlCommand::Status).ok()?;
    read(&answer).ok()
}

fn of_address(
    installation: &Installation,
    setting: &[&str],
    address: SocketAddr,
    running: Option<&Overview>,
) -> CheckFinding {
    let (name, place) = (setting.join("."), installation.place(setting));
    match TcpListener::bind(address) {
        Ok(_) if running.is_some() => CheckFinding::warn(format!(
            "{address} ({name}) is free, although Witgate runs with this configuration"
        ))
        .because("it was started with another address, which is in force until its next start")
        .fix("restart Witgate")
        .at(place),
        Ok(_) => CheckFinding::pass(format!("{address} ({name}) is free")),
        Err(error) if error.kind() == ErrorKind::AddrInUse && running.is_some() => CheckFinding::pass(
            format!("{address} ({name}) is in use while Witgate runs with this configuration"),
        ),
        Err(error) => CheckFinding::fail(format!("{address} ({name}) cannot be used: {error}"))
            .because("`witgate serve` does not start")
            .fix(advice(&error))
            .at(place),
    }
}

fn advice(error: &Error) -> &'static str {
    match error.kind() {
        ErrorKind::AddrInUse => {
            "stop the program that listens there (`ss -ltnp` shows it), or choose another port"
        }
        ErrorKind::PermissionDenied => "choose a port above 1023, or give the process the right to this one",
        ErrorKind::AddrNotAvailable => "write an address of this machine, or `0.0.0.0` for all",
        _ => "choose another address",
    }
}

fn of_control(
    installation: &Installation,
    socket: Option<&Path>,
    running: Option<&Overview>,
) -> Option<CheckFinding> {
    let own = env!("CARGO_PKG_VERSION");
    match (running, socket) {
        (Some(running), _) if running.version != own => Some(
            CheckFinding::warn(format!("the running Witgate is version {}, this is {own}", running.version))
                .because("what is examined here may differ from what runs")
                .fix("restart Witgate after an update"),
        ),
        (Some(running), Some(socket)) => {
            Some(match running.upstreams.iter().find(|it| it.closed.is_some()) {
                Some(closed) => {
                    let (name, why) = (&closed.name, closed.closed.as_deref().unwrap_or_default());
                    CheckFinding::fail(format!("the running Witgate denies every call of `{name}`: {why}"))
                        .because("its policies could not be built")
                        .fix("correct the policy; the change is taken at once")
                        .at(installation.place(&["upstreams", name]))
                }
                None if !running.whole => CheckFinding::warn("a change is held back in the running Witgate")
                    .because(
                        "the former policies decide, restricted by those of the change that could be built",
                    )
                    .fix("`witgate plugin list` has the reason"),
                None => CheckFinding::pass(format!("Witgate runs, and answers on {}", socket.display())),
            })
        }
        (None, Some(_)) => {
            let wanted = installation.config.server.control.as_ref()?;
            Some(match place::fault(wanted, &installation.environment) {
                None => CheckFinding::pass(format!(
                    "no Witgate runs with this configuration; {} can be made",
                    wanted.path.display()
                )),
                Some(fault) if wanted.is_given => CheckFinding::fail(fault)
                    .because("`witgate serve` does not start")
                    .fix("name a path in a directory that can be written")
                    .at(installation.place(&["server", "control"])),
                Some(fault) => CheckFinding::warn(fault)
                    .because("commands cannot talk to the running Witgate")
                    .fix("name a path in a directory that can be written: `[server] control`")
                    .at(installation.place(&["server", "control"])),
            })
        }
        (_, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::FindingLevel;
    use super::super::installation::tests::{OPEN, installed};
    use super::*;

    fn examined(listen: SocketAddr) -> Vec<CheckFinding> {
        let (_folder, installation) =
            installed(&format!("[server]\nlisten = '{listen}'\n[upstreams.a]\nown_tools = true\n{OPEN}"));
        examine(&installation)
    }

    #[test]
    fn a_free_address_passes() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let levels: Vec<_> = examined(address).iter().map(|finding| finding.level).collect();
        assert_eq!(levels, [FindingLevel::Pass, FindingLevel::Pass]);
    }

    #[test]
    fn an_address_of_another_program_fails_at_its_setting() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let findings = examined(listener.local_addr().unwrap());
        assert_eq!((findings[0].level, findings[0].place.as_ref().unwrap().line), (FindingLevel::Fail, 2));
        assert!(findings[0].fix.as_ref().unwrap().contains("another port"), "{findings:?}");
    }

    #[test]
    fn an_address_of_another_machine_fails() {
        let findings = examined("192.0.2.1:8787".parse().unwrap());
        assert!(findings[0].fix.as_ref().unwrap().contains("an address of this machine"), "{findings:?}");
    }
}
