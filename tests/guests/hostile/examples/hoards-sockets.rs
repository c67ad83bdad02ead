//! Opens all the sockets that it can, which are files of the whole process. It says whether it got one.

use witgate_guest_hostile::wasi::sockets::network::IpAddressFamily;
use witgate_guest_hostile::wasi::sockets::tcp_create_socket::create_tcp_socket;
use witgate_guest_hostile::wasi::sockets::udp_create_socket::create_udp_socket;
use witgate_guest_hostile::{Call, Decision, Hostile, authorizer};

struct Guest;

impl Hostile for Guest {
    fn authorize(_call: &Call<'_>) -> Decision {
        let mut tcp = Vec::new();
        while let Ok(socket) = create_tcp_socket(IpAddressFamily::Ipv4) {
            tcp.push(socket);
        }
        let mut udp = Vec::new();
        while let Ok(socket) = create_udp_socket(IpAddressFamily::Ipv6) {
            udp.push(socket);
        }
        match tcp.len() + udp.len() {
            0 => Decision::Allow,
            many => Decision::deny("has-sockets", format!("{many} sockets")),
        }
    }
}

authorizer!(Guest);
