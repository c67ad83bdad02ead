//! Ports of this machine to which a provider leads a browser back.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tokio::net::TcpListener;
use url::{Host, Url};

/// Attempts to find a free port that both families have.
const ATTEMPTS: usize = 16;

/// Listeners at the host of `url` and a port, or a free one if that is 0. Browsers try both addresses of `localhost`, so
/// both are taken: on one that is left, another user of the machine could wait for the code.
///
/// # Errors
/// If an address is in use.
pub(crate) async fn listen(url: &Url, port: u16) -> io::Result<(Vec<TcpListener>, u16)> {
    let only = match url.host() {
        Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
        Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
        Some(Host::Domain(_)) | None => None,
    };
    if let Some(address) = only {
        let listener = TcpListener::bind((address, port)).await?;
        let port = listener.local_addr()?.port();
        return Ok((vec![listener], port));
    }
    let mut left = if port == 0 { ATTEMPTS } else { 1 };
    loop {
        left -= 1;
        match both(port).await {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && left > 0 => {}
            bound => return bound,
        }
    }
}

async fn both(port: u16) -> io::Result<(Vec<TcpListener>, u16)> {
    let first = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    let port = first.local_addr()?.port();
    match TcpListener::bind((Ipv6Addr::LOCALHOST, port)).await {
        Ok(second) => Ok((vec![first, second], port)),
        // Nobody else has it then.
        Err(error) if is_without_ipv6(&error) => Ok((vec![first], port)),
        Err(error) => Err(error),
    }
}

fn is_without_ipv6(error: &io::Error) -> bool {
    let number = error.raw_os_error();
    error.kind() == io::ErrorKind::AddrNotAvailable
        || number == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn localhost_is_ours_in_both_families() {
        let url = Url::parse("http://localhost/callback").unwrap();
        let (listeners, port) = listen(&url, 0).await.unwrap();
        for address in [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
            assert!(TcpListener::bind((address, port)).await.is_err(), "{address}");
        }
        drop(listeners);
        let Ok(other) = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).await else { return };
        let taken = other.local_addr().unwrap().port();
        assert!(listen(&url, taken).await.is_err(), "another user waits there");
    }
}
