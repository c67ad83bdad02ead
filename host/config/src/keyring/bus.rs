//! A connection to a bus of D-Bus, which calls one method after the other.

use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use percent_encoding::percent_decode_str;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use rustix::process::Uid;
use zeroize::Zeroizing;

use super::message::{BodyReader, BodyWriter, MalformedMessage, MessageBody};

const BUS: &str = "org.freedesktop.DBus";

/// The kinds of messages.
const CALL: u8 = 1;
const RETURN: u8 = 2;
const ERROR: u8 = 3;

/// The fields of a header.
const PATH: u8 = 1;
const INTERFACE: u8 = 2;
const MEMBER: u8 = 3;
const ERROR_NAME: u8 = 4;
const REPLY_SERIAL: u8 = 5;
const DESTINATION: u8 = 6;
const SIGNATURE: u8 = 8;

/// The length of the fixed part of a header, in bytes: up to the fields, with their length.
const FIXED: usize = 16;

/// Size limit of the fields and of the body of a message, in bytes.
const LARGEST: usize = 1 << 20;

/// Size limit of the name of an error, in bytes.
const LONGEST_NAME: usize = 255;

/// Size limit of a line of the handshake, in bytes.
const LONGEST_LINE: usize = 1024;

/// The reason why a call has no answer.
#[derive(Debug)]
pub(super) enum BusError {
    /// The connection fails, or its time is over.
    Io(io::Error),
    /// The answer is an error of this name.
    Refused(String),
    /// The other side does not speak D-Bus.
    Malformed,
}

impl From<io::Error> for BusError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<MalformedMessage> for BusError {
    fn from(_: MalformedMessage) -> Self {
        Self::Malformed
    }
}

/// A call of a method.
pub(super) struct MethodCall<'c> {
    pub(super) destination: &'c str,
    pub(super) path: &'c str,
    pub(super) interface: &'c str,
    pub(super) member: &'c str,
    /// The types of the body.
    pub(super) signature: &'c str,
    pub(super) body: BodyWriter,
}

/// A connection.
pub(super) struct Bus {
    socket: UnixStream,
    deadline: Instant,
    serial: u32,
}

impl Bus {
    /// Connects to the first of these addresses that accepts, until `deadline`.
    pub(super) fn connect(addresses: &str, deadline: Instant) -> Result<Self, BusError> {
        let mut refused =
            io::Error::new(io::ErrorKind::Unsupported, "its address is not that of a Unix socket");
        for address in addresses.split(';').filter_map(socket_address) {
            match address.and_then(|address| connected(&address, deadline)) {
                Ok(socket) => return Self { socket, deadline, serial: 0 }.introduced(),
                Err(error) => refused = error,
            }
        }
        Err(refused.into())
    }

    /// Shows the own user, which the bus compares with what the kernel says.
    fn introduced(mut self) -> Result<Self, BusError> {
        let user = rustix::process::geteuid().as_raw().to_string();
        let user: String = user.bytes().map(|digit| format!("{digit:02x}")).collect();
        self.send(format!("\0AUTH EXTERNAL {user}\r\n").as_bytes())?;
        if !self.line()?.starts_with(b"OK ") {
            return Err(BusError::Refused("it does not accept this user".to_owned()));
        }
        self.send(b"BEGIN\r\n")?;
        let (path, body) = ("/org/freedesktop/DBus", BodyWriter::default());
        let (destination, interface, member, signature) = (BUS, BUS, "Hello", "");
        self.call(&MethodCall { destination, path, interface, member, signature, body })?;
        Ok(self)
    }

    /// Calls a method, and returns the body of the answer.
    pub(super) fn call(&mut self, call: &MethodCall) -> Result<MessageBody, BusError> {
        self.serial += 1;
        self.send(&message(call, self.serial))?;
        loop {
            // Others are signals, which nobody has asked for.
            if let Some(answer) = self.receive()? {
                return answer;
            }
        }
    }

    /// The next message, if it is the answer to the last call.
    fn receive(&mut self) -> Result<Option<Result<MessageBody, BusError>>, BusError> {
        let mut fixed = [0; FIXED];
        self.fill(&mut fixed)?;
        let [order, kind, ..] = fixed;
        let is_big_endian = match order {
            b'l' => false,
            b'B' => true,
            _ => return Err(BusError::Malformed),
        };
        let mut numbers = BodyReader::of(fixed.get(4..).unwrap_or_default(), is_big_endian);
        let (body, _serial, fields) = (size(numbers.number()?)?, numbers.number()?, size(numbers.number()?)?);
        let mut head = vec![0; fields.next_multiple_of(8)];
        self.fill(&mut head)?;
        let mut bytes = Zeroizing::new(vec![0; body]);
        self.fill(&mut bytes)?;
        let body = MessageBody { bytes, is_big_endian };
        let head = ReplyHead::read(BodyReader::of(head.get(..fields).unwrap_or_default(), is_big_endian))?;
        if head.answers != Some(self.serial) {
            return Ok(None);
        }
        Ok(match kind {
            RETURN => Some(Ok(body)),
            ERROR => Some(Err(BusError::Refused(head.error.ok_or(BusError::Malformed)?))),
            _ => None,
        })
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.socket.set_write_timeout(Some(self.left()?))?;
        self.socket.write_all(bytes)
    }

    /// Fills all of `bytes`.
    fn fill(&mut self, mut bytes: &mut [u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            self.socket.set_read_timeout(Some(self.left()?))?;
            match self.socket.read(bytes) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => bytes = bytes.get_mut(read..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// A line of the handshake, byte by byte, because a message may follow.
    fn line(&mut self) -> Result<Vec<u8>, BusError> {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let mut byte = [0];
            self.fill(&mut byte)?;
            line.extend(byte);
            if line.len() > LONGEST_LINE {
                return Err(BusError::Malformed);
            }
        }
        Ok(line)
    }

    fn left(&self) -> io::Result<Duration> {
        left(self.deadline)
    }
}

fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// A connection to a bus of the own user or of root. A bus that accepts nothing does not make it wait beyond `deadline`.
fn connected(address: &SocketAddrUnix, deadline: Instant) -> io::Result<UnixStream> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // Connecting waits for a place in the queue of the bus, and counts as sending.
    set_socket_timeout(&socket, Timeout::Send, Some(left(deadline)?))?;
    connect(&socket, address)?;
    let own = rustix::process::geteuid();
    match owner(&socket)? {
        owner if owner == own || owner.is_root() => Ok(socket.into()),
        owner => Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("it belongs to the user {}, which is neither root nor the own one", owner.as_raw()),
        )),
    }
}

/// The user of the other side.
#[cfg(target_os = "linux")]
fn owner(socket: &OwnedFd) -> io::Result<Uid> {
    Ok(rustix::net::sockopt::socket_peercred(socket)?.uid)
}

#[cfg(not(target_os = "linux"))]
fn owner(_: &OwnedFd) -> io::Result<Uid> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "nobody can tell to whom it belongs"))
}

fn size(number: u32) -> Result<usize, BusError> {
    usize::try_from(number).ok().filter(|size| *size <= LARGEST).ok_or(BusError::Malformed)
}

/// The header of an answer.
#[derive(Default)]
struct ReplyHead {
    /// The number of the call.
    answers: Option<u32>,
    error: Option<String>,
}

impl ReplyHead {
    fn read(mut fields: BodyReader) -> Result<Self, BusError> {
        let mut head = Self::default();
        while !fields.is_at_end() {
            fields.structure()?;
            let field = fields.byte()?;
            match (field, fields.signature()?) {
                (REPLY_SERIAL, "u") => head.answers = Some(fields.number()?),
                (ERROR_NAME, "s") => head.error = Some(error_name(fields.text()?)?),
                (_, "u") => drop(fields.number()?),
                (_, "s" | "o") => drop(fields.text()?),
                (_, "g") => drop(fields.signature()?),
                _ => return Err(BusError::Malformed),
            }
        }
        Ok(head)
    }
}

/// The name of an error. A message shows it, so it is nothing but a name.
fn error_name(text: &str) -> Result<String, BusError> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.');
    let is_name = !text.is_empty() && text.len() <= LONGEST_NAME && text.bytes().all(is_plain);
    if is_name { Ok(text.to_owned()) } else { Err(BusError::Malformed) }
}

/// A call as a message.
fn message(call: &MethodCall, serial: u32) -> Vec<u8> {
    let body = call.body.bytes();
    let mut message = BodyWriter::default();
    for byte in [b'l', CALL, 0, 1] {
        message.byte(byte);
    }
    message.number(u32::try_from(body.len()).unwrap_or(u32::MAX));
    message.number(serial);
    message.array(|fields| {
        let texts = [
            (PATH, "o", call.path),
            (INTERFACE, "s", call.interface),
            (MEMBER, "s", call.member),
            (DESTINATION, "s", call.destination),
        ];
        for (field, kind, value) in texts {
            fields.align(8);
            fields.byte(field);
            fields.signature(kind);
            fields.text(value);
        }
        if !call.signature.is_empty() {
            fields.align(8);
            fields.byte(SIGNATURE);
            fields.signature("g");
            fields.signature(call.signature);
        }
    });
    message.align(8);
    [message.bytes(), body].concat()
}

/// The socket of an address. None: it is of another kind.
fn socket_address(address: &str) -> Option<io::Result<SocketAddrUnix>> {
    let mut settings =
        address.strip_prefix("unix:")?.split(',').filter_map(|setting| setting.split_once('='));
    settings.find_map(|(name, value)| {
        let value: Vec<u8> = percent_decode_str(value).collect();
        match name {
            "path" => Some(SocketAddrUnix::new(value).map_err(io::Error::from)),
            "abstract" => Some(in_abstract_namespace(&value)),
            _ => None,
        }
    })
}

#[cfg(target_os = "linux")]
fn in_abstract_namespace(name: &[u8]) -> io::Result<SocketAddrUnix> {
    SocketAddrUnix::new_abstract_name(name).map_err(io::Error::from)
}

#[cfg(not(target_os = "linux"))]
fn in_abstract_namespace(_: &[u8]) -> io::Result<SocketAddrUnix> {
    Err(io::ErrorKind::Unsupported.into())
}
