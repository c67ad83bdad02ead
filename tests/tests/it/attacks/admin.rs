//! Attacks on the admin listener by a browser page whose name resolves to this machine (DNS rebinding).

use std::time::Duration;

use witgate_tests::gateway::{Running, Setup, await_some, free_port};
use witgate_tests::wire::Request;

use super::testbed::Findings;

const PATHS: [(&str, &str); 4] =
    [("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/metrics"), ("POST", "/revoke")];

fn serve() -> Running {
    let setup = Setup::new();
    setup.config(
        "allowed_hosts = ['ops.example.com']\nresource = 'https://mcp.example.com/mcp'",
        "[upstreams.own]\nown_tools = true\n\
         [policies.keys]\nkind = 'api-key'\nconfig = { store = 'keys.toml' }\n\
         [pipeline]\nauthenticate = ['keys']\nauthorize = ['keys']\n",
    );
    setup.key(&["someone", "--policy", "keys", "--allow", "*"]);
    setup.serve()
}

/// A request to the admin listener under its own address, as a probe sends it.
fn probe(gateway: &Running, method: &str, path: &str) -> Request {
    let url = gateway.admin_url();
    let request = Request::new(method, url.trim_start_matches("http://"), path);
    match method {
        "POST" => request.with("Content-Type", "application/x-www-form-urlencoded").body("token=abc"),
        _ => request,
    }
}

#[test]
fn the_admin_listener_answers_only_under_its_own_names() {
    let gateway = serve();
    let mut findings = Findings::default();
    let url = gateway.admin_url();
    let port = url.rsplit_once(':').unwrap().1;
    for (method, path) in PATHS {
        let good = probe(&gateway, method, path);
        for host in [
            "evil.example".to_owned(),
            format!("evil.example:{port}"),
            format!("localhost.evil.example:{port}"),
            format!("localhost:{port}@evil.example"),
            "127.0.0.1.nip.io".to_owned(),
            "10.1.2.3".to_owned(),
            "[2001:db8::1]".to_owned(),
            "0.0.0.0".to_owned(),
            String::new(),
        ] {
            let answer = good.clone().set("Host", &host).send();
            findings.check(&format!("{path}, Host: {host}"), answer.status == 403, &answer);
        }
        let answer = good.clone().with("Host", "evil.example").send();
        findings.check(&format!("{path}, two hosts"), matches!(answer.status, 400 | 403), &answer);
        let answer = good.clone().without("Host").send();
        findings.check(&format!("{path}, no host"), matches!(answer.status, 400 | 403), &answer);
        let absolute = good.clone().target(&format!("http://evil.example{path}")).send();
        findings.check(&format!("{path}, another host in the target"), absolute.status == 403, &absolute);
        // A probe names the address that it connects to, an operator an allowed name.
        for host in [
            format!("127.0.0.1:{port}"),
            "127.0.0.1".to_owned(),
            format!("localhost:{port}"),
            format!("[::1]:{port}"),
            format!("ops.example.com:{port}"),
            "mcp.example.com".to_owned(),
        ] {
            let answer = good.clone().set("Host", &host).send();
            findings.check(&format!("{path}, Host: {host}"), answer.status == 200, &answer);
        }
    }
    let log = gateway.await_log("`Host`");
    assert!(log.contains("evil.example"), "the log names the host: {log}");
    findings.report();
}

/// A page may not send the form either, under any name.
#[test]
fn a_browser_cannot_revoke_a_token() {
    let gateway = serve();
    let mut findings = Findings::default();
    for origin in ["https://evil.example", "null", &gateway.admin_url()] {
        let answer = probe(&gateway, "POST", "/revoke").with("Origin", origin).send();
        findings.check(&format!("Origin: {origin}"), answer.status == 403, &answer);
    }
    findings.report();
}

/// Nobody reads the log, and worker threads wait for it. Health and metrics answer all the same.
#[test]
fn health_is_answered_while_the_log_is_blocked() {
    let setup = Setup::new().within(&["sh", "-c", "mkfifo unread; exec 3<>unread; exec \"$@\" 2>&3", "sh"]);
    setup.config(
        "",
        "[upstreams.own]\nown_tools = true\n\
         [policies.keys]\nkind = 'api-key'\nconfig = { store = 'keys.toml' }\n\
         [pipeline]\nauthenticate = ['keys']\nauthorize = ['keys']\n",
    );
    setup.key(&["someone", "--policy", "keys", "--allow", "*"]);
    let gateway = setup.serve();
    // The lines do not fit into the pipe, so that each worker thread waits for a write.
    let call = Request::stateless(&gateway.address(), "/mcp", "tools/list", serde_json::json!({}));
    let calling: Vec<_> = (0..8)
        .map(|_| {
            let call = call.clone();
            std::thread::spawn(move || {
                let answers = (0..150).map(|_| call.send_until("\"error\"", Duration::from_secs(3)));
                answers.take_while(|answer| answer.status != 0).count()
            })
        })
        .collect();
    let answered: usize = calling.into_iter().map(|calls| calls.join().unwrap()).sum();
    assert!(answered > 50, "{answered} calls were answered");
    for path in ["/healthz", "/readyz", "/metrics"] {
        let answer = probe(&gateway, "GET", path).send_until("\n", Duration::from_secs(60));
        assert_eq!(answer.status, 200, "{path} after {answered} calls");
    }
}

/// A probe of an orchestrator names the address of the machine that it reaches, also where that is not configured.
#[test]
fn a_health_probe_may_name_the_address_of_the_listener() {
    // No packet is sent: the system says from which address one would be.
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    let own = match socket.connect("192.0.2.1:9") {
        Ok(()) => socket.local_addr().unwrap().ip(),
        // A machine without any network has loopback alone.
        Err(_) => std::net::IpAddr::from([127, 0, 0, 1]),
    };
    let both = std::net::TcpListener::bind("[::]:0").is_ok().then_some("[::]");
    for listen in std::iter::once("0.0.0.0").chain(both) {
        let (port, public) = (free_port(), free_port());
        let setup = Setup::new();
        setup.file(
            "witgate.toml",
            format!(
                "[server]\nlisten = '127.0.0.1:{public}'\nadmin_listen = '{listen}:{port}'\n\
                 [upstreams.own]\nown_tools = true\n\
                 [policies.keys]\nkind = 'api-key'\nconfig = {{ store = 'keys.toml' }}\n\
                 [pipeline]\nauthenticate = ['keys']\nauthorize = ['keys']\n"
            ),
        );
        setup.key(&["someone", "--policy", "keys", "--allow", "*"]);
        let mut serving = setup.command(&["serve"]).stderr(std::process::Stdio::null()).spawn().unwrap();
        let address = format!("{own}:{port}");
        await_some("the admin listener", || std::net::TcpStream::connect(&address).ok());
        let probe = Request::new("GET", &address, "/readyz");
        let answers = [&address, "evil.example", "10.255.255.1", "localhost"]
            .map(|host| probe.clone().set("Host", host).send().status);
        serving.kill().unwrap();
        serving.wait().unwrap();
        assert_eq!(answers, [200, 403, 403, 200], "{listen}");
    }
}
