//! Refreshes in parallel, across kills, and while the database cannot be used.

use std::collections::BTreeSet;
use std::sync::Barrier;
use std::thread;

use witgate_tests::gateway::{free_port, may};

use super::*;
use crate::kill::{Chance, kills};

/// The longest life of a gateway after a refresh was sent to it.
const LONGEST: Duration = Duration::from_millis(12);

fn refresh(address: &str, client: &str, token: &str) -> Answer {
    let form = [("grant_type", "refresh_token"), ("client_id", client), ("refresh_token", token)];
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    let request = Request::new("POST", address, "/oauth/token")
        .with("Content-Type", "application/x-www-form-urlencoded")
        .with("Content-Length", &body.len().to_string());
    request.body(body).send()
}

/// The refresh token in an answer that has one.
fn successor(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{}", answer.text());
    body(answer)["refresh_token"].as_str().unwrap().to_owned()
}

fn let_in(running: &Running) -> (String, String) {
    let (client, tokens) = Person::new(running).let_in();
    (client, tokens["refresh_token"].as_str().unwrap().to_owned())
}

/// A second process with the same accounts, at another address.
fn second_process(running: &Running) -> (std::process::Child, String) {
    let setup = running.setup();
    let (own, address) = (running.address(), format!("127.0.0.1:{}", free_port()));
    let text = std::fs::read_to_string(setup.dir().join("witgate.toml")).unwrap();
    let text = text.replace("[accounts]\n", &format!("[accounts]\nissuer = \"http://{own}\"\n"));
    let text = text.replace(&format!("listen = \"{own}\""), &format!("listen = \"{address}\""));
    let lines = text.lines().filter(|line| !line.starts_with("admin") && !line.starts_with("control"));
    let text: String = lines.map(|line| format!("{line}\n")).collect();
    let text = text.replacen("[server]\n", "[server]\ncontrol = \"second.sock\"\n", 1);
    setup.file("second.toml", text);
    let mut command = setup.command(&["serve", "--config", "second.toml"]);
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let answers = || std::net::TcpStream::connect(&address).is_ok().then(String::new);
    await_some("the second process", answers);
    (child, address)
}

#[test]
fn parallel_refreshes_in_two_processes_are_one_rotation() {
    let running = setup("").serve();
    let (mut other, address) = second_process(&running);
    let (client, mut token) = let_in(&running);
    for round in 0..5 {
        let barrier = Barrier::new(20);
        let successors: BTreeSet<String> = thread::scope(|scope| {
            let tasks: Vec<_> = (0..20)
                .map(|number| {
                    let place = if number % 2 == 0 { running.address() } else { address.clone() };
                    let (barrier, client, token) = (&barrier, &client, &token);
                    scope.spawn(move || {
                        barrier.wait();
                        successor(&refresh(&place, client, token))
                    })
                })
                .collect();
            tasks.into_iter().map(|task| task.join().unwrap()).collect()
        });
        assert_eq!(successors.len(), 1, "round {round}");
        token = successors.into_iter().next().unwrap();
    }
    other.kill().unwrap();
    other.wait().unwrap();
}

/// A refresh that a kill interrupts is repeated, and finds either the token or its successor: nobody has to log in again.
#[test]
fn a_kill_during_a_refresh_costs_no_login() {
    let mut running = setup("").serve();
    let (client, mut token) = let_in(&running);
    let (mut chance, mut answered) = (Chance(0x0af7), 0);
    let all = kills(40);
    for _ in 0..all {
        let address = running.address();
        let sent = thread::spawn({
            let (client, token) = (client.clone(), token.clone());
            move || refresh(&address, &client, &token)
        });
        thread::sleep(chance.within(LONGEST));
        running.kill();
        let first = sent.join().ok().filter(|first| first.status == 200);
        running.start_again();
        let second = successor(&refresh(&running.address(), &client, &token));
        if let Some(first) = first {
            answered += 1;
            assert_eq!(successor(&first), second, "the answer before the kill has the same token");
        }
        token = second;
    }
    assert!(answered < all || all < 5, "no kill came before an answer: {answered} of {all}");
}

#[test]
fn a_database_that_is_away_lets_nobody_in_and_throws_nobody_out() {
    let running = setup("").serve();
    let (client, tokens) = Person::new(&running).let_in();
    let token = tokens["refresh_token"].as_str().unwrap();
    let (place, away) = (running.setup().dir().join("accounts.db"), running.setup().dir().join("away.db"));
    std::fs::rename(&place, &away).unwrap();
    for _ in 0..3 {
        let refused = refresh(&running.address(), &client, token);
        assert_eq!((refused.status, &body(&refused)["error"]), (503, &"temporarily_unavailable".into()));
        assert!(refused.header("retry-after").is_some());
    }
    let mut person = Person::new(&running);
    let page = person.get("/login");
    let form = [("form", &*field(&page, "form")), ("next", ""), ("name", "ada"), ("password", PASSWORD)];
    let answer = person.post("/login", &form);
    assert_eq!((answer.status, answer.header("location")), (503, None));
    assert_eq!(call(&running, &tokens).status, 200, "tokens are judged by their signature");
    assert!(!place.exists(), "nothing is made in its place");
    std::fs::rename(&away, &place).unwrap();
    assert_eq!(refresh(&running.address(), &client, token).status, 200);
    assert_eq!(call(&running, &tokens).status, 200);
}

#[test]
fn a_full_disk_lets_nobody_in_and_ends_no_login() {
    let setup = setup("");
    let small = setup.dir().join("small");
    std::fs::create_dir(&small).unwrap();
    let mount = ["mount", "-t", "tmpfs", "-o", "size=512k,mode=0700", "tmpfs", small.to_str().unwrap()];
    if !may("a mount", &mount) {
        return;
    }
    let disk = SmallDisk(small.clone());
    for name in ["accounts.db", "accounts.db-wal", "accounts.db-shm"] {
        let from = setup.dir().join(name);
        if from.exists() {
            std::fs::copy(&from, small.join(name)).unwrap();
        }
    }
    let config = setup.dir().join("witgate.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("[accounts]\n", "[accounts]\nstore = \"small/accounts.db\"\n"))
        .unwrap();
    let running = setup.serve();
    let (client, tokens) = Person::new(&running).let_in();
    let mut token = tokens["refresh_token"].as_str().unwrap().to_owned();
    let filler = small.join("filler");
    let mut file = std::fs::File::create(&filler).unwrap();
    while file.write_all(&[0; 512]).is_ok() {}
    // Room in the log of the database may last for some refreshes.
    let mut refused = None;
    for _ in 0..400 {
        let answer = refresh(&running.address(), &client, &token);
        if answer.status != 200 {
            refused = Some(answer);
            break;
        }
        token = successor(&answer);
    }
    let refused = refused.expect("the disk is full");
    assert_eq!((refused.status, &body(&refused)["error"]), (503, &"temporarily_unavailable".into()));
    assert_eq!(call(&running, &tokens).status, 200, "tokens are judged without the database");
    drop(file);
    std::fs::remove_file(&filler).unwrap();
    successor(&refresh(&running.address(), &client, &token));
    drop(running);
    drop(disk);
}

/// A mount, until this value is dropped.
struct SmallDisk(std::path::PathBuf);

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).output();
    }
}
