//! `witgate credential login`: a browser goes to the provider, and comes back to a port of this machine. If the browser
//! runs elsewhere, the person pastes the address at which it ends.

use std::io::{self, BufRead as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::select_all;
use futures_util::stream::FuturesUnordered;
use secrecy::SecretString;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use url::Url;

use super::grants::{grant, store, ways};
use super::owner::OwnerArguments;
use crate::cli::context::Context;
use crate::cli::outcome::{CommandFailure, Exit};
use crate::cli::runtime::runtime;
use crate::loopback;
use witgate_config::Config;
use witgate_config::credentials::GrantSettings;
use witgate_credentials::login::{Login, LoginError};

/// Maximum time for a login. People look for their second factor.
const LONGEST_LOGIN: Duration = Duration::from_secs(600);

/// Maximum size of the head of a request, and the time for it.
const LARGEST_HEAD: usize = 16 << 10;
const HEAD_TIME: Duration = Duration::from_secs(10);

/// Maximum number of connections at a time.
const MOST_CONNECTIONS: usize = 256;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// Name under `[credentials]`
    name: String,
    #[command(flatten)]
    owner: OwnerArguments,
    /// Print the address only, and open no browser
    #[arg(long)]
    no_browser: bool,
}

pub(super) fn run(context: &Context, config: &Config, arguments: &Arguments) -> Result<Exit, CommandFailure> {
    let name = &arguments.name;
    let (credential, settings) = grant(config, name)?;
    let key = arguments.owner.new_key(config, credential)?;
    let logged_in = async {
        let (listeners, redirect) = listen(settings).await?;
        let login = Login::begin(credential, &ways(config), redirect.clone()).map_err(refused)?;
        invite(context, &login.url(), arguments.no_browser);
        let code = timeout(LONGEST_LOGIN, code(context, &login, &listeners, &redirect)).await;
        let late = |_| CommandFailure::new("nobody has logged in within ten minutes; start again");
        let code = code.map_err(late)?.map_err(refused)?;
        let grant = login.redeem(&code).await.map_err(refused)?;
        Ok::<_, CommandFailure>((login.not_granted(&grant), grant))
    };
    let (not_granted, grant) = runtime()?.block_on(logged_in)?;
    store(settings, &key, &grant)?;
    if !not_granted.is_empty() {
        context.terminal.say(&format!("warning: the provider has not granted {}", not_granted.join(", ")));
    }
    if grant.refresh.is_none() && grant.end.is_some() {
        context.terminal.say("warning: there is no refresh token, so this login ends with its access token");
    }
    let account = grant.account.map_or_else(String::new, |account| format!(" as {account}"));
    context.terminal.print(&format!("connected {key}{account}"));
    Ok(Exit::Done)
}

fn refused(error: LoginError) -> CommandFailure {
    CommandFailure::new(error.to_string())
}

/// Listeners on this machine, and the URL that leads to them.
async fn listen(settings: &GrantSettings) -> Result<(Vec<TcpListener>, Url), CommandFailure> {
    let mut redirect = settings.redirect_uri.clone();
    let failed = |error: io::Error| {
        CommandFailure::new(format!("the port of `{}` cannot be used: {error}", settings.redirect_uri))
    };
    let bound = loopback::listen(&redirect, redirect.port().unwrap_or(0)).await;
    let (listeners, port) = bound.map_err(failed)?;
    // It has a host, so it can have a port.
    let _ = redirect.set_port(Some(port));
    Ok((listeners, redirect))
}

/// The next connection to one of the listeners.
async fn accept(listeners: &[TcpListener]) -> io::Result<TcpStream> {
    let next = listeners.iter().map(|listener| Box::pin(listener.accept()));
    select_all(next).await.0.map(|(stream, _)| stream)
}

fn invite(context: &Context, url: &Url, no_browser: bool) {
    context.terminal.print(&format!("Open this address in a browser:\n\n  {url}\n"));
    context.terminal.say("If the browser runs on another machine, paste the address at which it ends here.");
    if !no_browser {
        let program = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
        let mut browser = Command::new(program);
        browser.arg(url.as_str()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // Without a browser, the person opens the address.
        drop(browser.spawn());
    }
}

/// The code, from the browser or from standard input, whichever is first.
async fn code(
    context: &Context,
    login: &Login,
    listeners: &[TcpListener],
    redirect: &Url,
) -> Result<SecretString, LoginError> {
    tokio::select! {
        code = from_browser(login, listeners, redirect) => code,
        code = from_paste(context, login) => code,
    }
}

async fn from_browser(
    login: &Login,
    listeners: &[TcpListener],
    redirect: &Url,
) -> Result<SecretString, LoginError> {
    // Browsers open connections in advance, so they are read side by side.
    let mut heads = FuturesUnordered::new();
    loop {
        let (mut stream, target) = tokio::select! {
            accepted = accept(listeners), if heads.len() < MOST_CONNECTIONS => {
                heads.extend(accepted.ok().map(request));
                continue;
            }
            Some(request) = heads.next() => match request {
                Some(request) => request,
                None => continue,
            },
        };
        let is_ours = redirect.join(&target).is_ok_and(|url| url.path() == redirect.path());
        if !is_ours {
            answer(&mut stream, "404 Not Found", "There is nothing here.").await;
            continue;
        }
        match login.code(&target) {
            Ok(code) => {
                answer(&mut stream, "200 OK", "You are connected. You can close this page.").await;
                return Ok(code);
            }
            // Any page can send a browser here. The real answer may still come.
            Err(error @ (LoginError::State | LoginError::NoAnswer)) => {
                answer(&mut stream, "400 Bad Request", &error.to_string()).await;
            }
            Err(error) => {
                answer(&mut stream, "400 Bad Request", &error.to_string()).await;
                return Err(error);
            }
        }
    }
}

/// A connection with the target of its request. None: there is none in time.
async fn request(mut stream: TcpStream) -> Option<(TcpStream, String)> {
    let target = timeout(HEAD_TIME, target(&mut stream)).await.ok()??;
    Some((stream, target))
}

/// The target of a request.
async fn target(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let mut part = [0; 1024];
        let read = stream.read(&mut part).await.ok().filter(|read| *read > 0)?;
        head.extend(part.get(..read)?);
        if head.len() > LARGEST_HEAD {
            return None;
        }
    }
    let line = std::str::from_utf8(&head).ok()?.lines().next()?;
    let (method, rest) = line.split_once(' ')?;
    let (target, _) = rest.split_once(' ')?;
    (method == "GET" && target.starts_with('/')).then(|| target.to_owned())
}

async fn answer(stream: &mut TcpStream, status: &str, text: &str) {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    let body = format!("<!doctype html><meta charset=utf-8><title>Witgate</title><p>{text}</p>");
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\n\
         Content-Security-Policy: default-src 'none'\r\nReferrer-Policy: no-referrer\r\nCache-Control: no-store\r\n\
         Connection: close\r\n\r\n",
        body.len()
    );
    // The browser may be gone.
    drop(stream.write_all((head + &body).as_bytes()).await);
    drop(stream.shutdown().await);
}

/// The code in a pasted address. After a wrong one, the person can paste again.
async fn from_paste(context: &Context, login: &Login) -> Result<SecretString, LoginError> {
    let mut lines = pasted();
    while let Some(line) = lines.recv().await {
        match login.code(&line) {
            Err(error @ (LoginError::State | LoginError::NoAnswer)) => {
                context.terminal.say(&format!("{error}; paste the whole address"));
            }
            code => return code,
        }
    }
    // Standard input is closed. The browser may come.
    std::future::pending().await
}

/// The lines of standard input. A thread reads them, because nothing can interrupt the reading.
fn pasted() -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel(1);
    std::thread::spawn(move || {
        let lines = io::stdin().lock().lines().map_while(Result::ok);
        for line in lines.filter(|line| !line.trim().is_empty()) {
            if sender.blocking_send(line).is_err() {
                break;
            }
        }
    });
    lines
}
