//! Callers with wrong keys or passwords, at many addresses of this machine and at a steady rate.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};

use super::call::RequestKind;
use super::scene::USER;

/// Addresses, each with a connection.
const SENDERS: u32 = 500;

/// The guesses of a tick are sent at once.
const TICK: Duration = Duration::from_millis(10);

/// Ticks in a second.
const TICKS: u32 = 100;

/// The kind of guesses.
#[derive(Clone, Copy)]
pub(super) enum Guess {
    /// API keys.
    Key,
    /// Passwords of a user that there is.
    Password,
}

impl Guess {
    /// Guesses a second, of all senders together.
    fn rate(self) -> u32 {
        match self {
            Self::Key => 10_000,
            Self::Password => 1_000,
        }
    }

    /// The header of the guess with this number.
    fn header(self, number: u64) -> String {
        match self {
            Self::Key => format!("X-API-Key: wgk_{number:043}"),
            Self::Password => {
                let credential = STANDARD.encode(format!("{USER}:{number:020}"));
                format!("Authorization: Basic {credential}")
            }
        }
    }
}

/// The senders of wrong keys or passwords.
pub(super) struct Guesses {
    guess: Guess,
    senders: Vec<Sender>,
    head: String,
    body: String,
    number: u64,
}

/// A connection, and whether a guess on it waits for its answer.
struct Sender {
    stream: TcpStream,
    waits: bool,
}

impl Guesses {
    /// Opens the connections to `address`.
    pub(super) fn open(guess: Guess, address: &str, path: &str) -> Result<Self> {
        let to: SocketAddrV4 = address.parse()?;
        let senders = (0..SENDERS).map(|sender| Sender::from(sender, to)).collect::<Result<_>>()?;
        let (kind, mut head) = (RequestKind::Call, format!("POST {path} HTTP/1.1\r\nHost: {address}\r\n"));
        for (name, value) in kind.headers() {
            head += &format!("{name}: {value}\r\n");
        }
        let body = kind.body();
        head += &format!("Content-Length: {}\r\n", body.len());
        Ok(Self { guess, senders, head, body, number: 0 })
    }

    /// Sends guesses for a time. Returns the number of answers in a second.
    pub(super) fn send_for(&mut self, time: Duration) -> Result<f64> {
        let (begin, mut answers, mut turn, mut tick) = (Instant::now(), 0_u32, 0, 0_u32);
        while begin.elapsed() < time {
            for _ in 0..self.guess.rate() / TICKS {
                answers += self.guess(turn)?;
                turn = (turn + 1) % self.senders.len();
            }
            tick += 1;
            thread::sleep((TICK * tick).saturating_sub(begin.elapsed()));
        }
        Ok(f64::from(answers) / begin.elapsed().as_secs_f64())
    }

    /// Reads the answer to the last guess of a sender, and sends the next one. Returns the number of answers.
    fn guess(&mut self, sender: usize) -> Result<u32> {
        let sender = self.senders.get_mut(sender).context("there is no such sender")?;
        let answers = sender.answers().context("a connection with wrong keys broke")?;
        if !sender.waits {
            self.number += 1;
            let header = self.guess.header(self.number);
            let guess = format!("{}{header}\r\n\r\n{}", self.head, self.body);
            sender.stream.write_all(guess.as_bytes()).context("a connection with wrong keys broke")?;
            sender.waits = true;
        }
        Ok(answers)
    }
}

impl Sender {
    /// A connection from an address of its own in 127.0.0.0/8.
    fn from(number: u32, to: SocketAddrV4) -> Result<Self> {
        let address = Ipv4Addr::from_bits(Ipv4Addr::new(127, 1, 0, 1).to_bits() + number);
        // wrk must not inherit it: it has room for few descriptors.
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        bind(&socket, &SocketAddrV4::new(address, 0))?;
        connect(&socket, &to)?;
        let stream = TcpStream::from(socket);
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Self { stream, waits: false })
    }

    /// Reads the answer that is there. Returns the number of answers.
    fn answers(&mut self) -> std::io::Result<u32> {
        let mut answer = [0; 4096];
        match self.stream.read(&mut answer) {
            Ok(read) if answer.get(..read).is_some_and(is_refusal) => {
                self.waits = false;
                Ok(1)
            }
            Ok(_) => Err(ErrorKind::InvalidData.into()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
            Err(error) => Err(error),
        }
    }
}

/// True for an answer that refuses a guess. 503: too many passwords are being checked.
fn is_refusal(answer: &[u8]) -> bool {
    answer.starts_with(b"HTTP/1.1 4") || answer.starts_with(b"HTTP/1.1 503")
}
