//! The arguments of `witgate explain`.

use std::net::IpAddr;
use std::path::PathBuf;

use http::{HeaderName, HeaderValue};

use super::sender::SenderOptions;
use crate::cli::audit::LogPlace;

#[derive(Clone, Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// Decision out of the audit log, by its id
    #[arg(value_name = "ID", required_unless_present_any = ["call", "recording"])]
    pub(super) id: Option<String>,
    #[command(flatten)]
    pub(super) place: LogPlace,
    #[command(flatten)]
    pub(super) sender: SenderOptions,
    /// Tool to call, or `resource:URI`, `prompt:NAME`, `method:NAME`
    #[arg(long, value_name = "TOOL")]
    pub(super) call: Option<String>,
    /// Arguments of the call
    #[arg(long, value_name = "JSON")]
    pub(super) arguments: Option<String>,
    /// Upstream or endpoint, if there are several
    #[arg(long, value_name = "NAME")]
    pub(super) upstream: Option<String>,
    /// Header of the request; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = header)]
    pub(super) header: Vec<(HeaderName, HeaderValue)>,
    /// Address of the caller
    #[arg(long, value_name = "ADDRESS")]
    pub(super) peer: Option<IpAddr>,
    /// Time of the call (RFC 3339, UTC) [default: now]
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(super) at: Option<u64>,
    /// File of cases with the question, such as a recording
    #[arg(long, value_name = "FILE", conflicts_with_all = ["id", "call", "sender"])]
    pub(super) recording: Option<PathBuf>,
    /// With --recording: case, by its name, if there are several
    #[arg(long, value_name = "NAME", requires = "recording")]
    pub(super) case: Option<String>,
    /// Directory or file of another configuration that decides
    #[arg(long, value_name = "DIR")]
    pub(super) candidate: Option<PathBuf>,
    /// Earlier generation of the running Witgate that decides, by its number; key stores and secrets are those of now
    #[arg(long, value_name = "NUMBER", conflicts_with = "candidate")]
    pub(super) generation: Option<u64>,
}

fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    let name = name.trim().parse().map_err(|_| format!("`{name}` is no name of a header"))?;
    let value = value.parse().map_err(|_| format!("`{value}` is no value of a header"))?;
    Ok((name, value))
}

fn time(text: &str) -> Result<u64, String> {
    let at = humantime::parse_rfc3339_weak(text);
    let at = at.map_err(|_| "write a time such as 2026-11-30T09:00:00Z".to_owned())?;
    let since = at.duration_since(std::time::UNIX_EPOCH);
    since.map(|since| since.as_secs()).map_err(|_| "write a time after 1970".to_owned())
}
