//! The imports. They use the same code as the host functions of built-ins.

use wasmtime::Result;
use wasmtime::component::{HasSelf, Linker};
use witgate_plugin::{Host as _, HttpError, SignedMessage, VerifyError};
use zeroize::Zeroizing;

use super::bindings::witgate::auth::{
    cache, caller, clock, crypto, http, log, request, secrets, types, verdict_memory,
};
use super::convert;
use crate::grants::Interface;
use crate::state::State;
use crate::time::WaitKind;

/// Offers one interface to a component.
pub(crate) fn link(linker: &mut Linker<State>, interface: Interface) -> Result<()> {
    type StoreData = HasSelf<State>;
    match interface {
        Interface::Types => types::add_to_linker::<_, StoreData>(linker, |state| state),
        Interface::Request => request::add_to_linker::<_, StoreData>(linker, |state| state),
        Interface::Caller => caller::add_to_linker::<_, StoreData>(linker, |state| state),
        Interface::Clock => clock::add_to_linker::<_, StoreData>(linker, |state| state),
        Interface::Log => log::add_to_linker::<_, StoreData>(linker, |state| state),
        Interface::VerdictMemory => verdict_memory::add_to_linker::<_, StoreData>(linker, |state| state),
        Interface::Crypto => crypto::add_to_linker::<_, StoreData>(linker, |state| state),
        Interface::Secrets => secrets::add_to_linker::<_, StoreData>(linker, |state| state),
        Interface::Cache => cache::add_to_linker::<_, StoreData>(linker, |state| state),
        Interface::Http => http::add_to_linker::<_, StoreData>(linker, |state| state),
    }
}

impl types::Host for State {}

impl request::Host for State {
    fn upstream(&mut self) -> Result<String> {
        Ok(self.host()?.upstream().into_owned())
    }

    fn audience(&mut self) -> Result<String> {
        Ok(self.host()?.audience().into_owned())
    }

    fn peer(&mut self) -> Result<Option<String>> {
        Ok(self.host()?.peer().map(Into::into))
    }

    fn header(&mut self, name: String) -> Result<Option<String>> {
        Ok(self.host()?.header(&name).map(Into::into))
    }

    fn arguments(&mut self) -> Result<Option<String>> {
        Ok(self.host()?.arguments().map(Into::into))
    }

    fn meta(&mut self) -> Result<Option<String>> {
        Ok(self.host()?.meta().map(Into::into))
    }

    fn certificate_thumbprint(&mut self) -> Result<Option<String>> {
        Ok(self.host()?.certificate_thumbprint().map(Into::into))
    }

    fn dpop_thumbprint(&mut self) -> Result<Option<String>> {
        Ok(self.host()?.dpop_thumbprint().map(Into::into))
    }

    fn annotations(&mut self, tool: String) -> Result<Option<request::ToolAnnotations>> {
        Ok(self.host()?.annotations(&tool).map(convert::annotations))
    }
}

impl caller::Host for State {
    fn issuer(&mut self) -> Result<Option<String>> {
        Ok(self.host()?.issuer().map(Into::into))
    }

    fn claims(&mut self) -> Result<Option<String>> {
        Ok(self.host()?.claims().map(Into::into))
    }

    fn expires_at(&mut self) -> Result<Option<u64>> {
        Ok(self.host()?.expires_at())
    }
}

impl clock::Host for State {
    fn now(&mut self) -> Result<u64> {
        Ok(self.host()?.now())
    }
}

impl log::Host for State {
    fn write(&mut self, level: log::Level, message: String) -> Result<()> {
        self.log(convert::level(level), &message)
    }
}

impl verdict_memory::Host for State {
    fn keep_until(&mut self, until: u64) -> Result<()> {
        self.host()?.keep_verdict(until);
        Ok(())
    }
}

impl crypto::Host for State {
    fn sha256(&mut self, data: Vec<u8>) -> Result<crypto::Digest> {
        Ok(convert::digest(&self.host()?.sha256(&data)))
    }

    fn equal(&mut self, a: Vec<u8>, b: Vec<u8>) -> Result<bool> {
        let host = self.host()?;
        host.compared(&a, &b);
        Ok(subtle::ConstantTimeEq::ct_eq(a.as_slice(), b.as_slice()).into())
    }

    async fn verify(
        &mut self,
        key: String,
        key_id: Option<String>,
        algorithm: crypto::Algorithm,
        message: Vec<u8>,
        signature: Vec<u8>,
    ) -> Result<Result<(), crypto::VerifyError>> {
        let signed = SignedMessage {
            algorithm: convert::algorithm(algorithm),
            key_id: key_id.as_deref(),
            message: &message,
            signature: &signature,
        };
        let time = self.time();
        let outcome = time.waits(WaitKind::Server, self.host()?.verify(&key, &signed)).await;
        match outcome {
            Ok(Err(VerifyError::UnknownKey)) => {
                self.overreach("a key");
                Ok(Err(crypto::VerifyError::UnknownKey))
            }
            Ok(outcome) => Ok(outcome.map_err(convert::verify_error)),
            Err(overrun) => Err(self.overrun_by_the_clock(overrun)),
        }
    }

    async fn verify_password(
        &mut self,
        hash: String,
        password: String,
    ) -> Result<Result<bool, crypto::PasswordError>> {
        let (time, password) = (self.time(), Zeroizing::new(password));
        let checked = time.waits(WaitKind::Password, self.host()?.verify_password(&hash, &password)).await;
        match checked {
            Ok(checked) => Ok(checked.map_err(convert::password_error)),
            Err(overrun) => Err(self.overrun_by_the_clock(overrun)),
        }
    }
}

impl secrets::Host for State {
    fn reveal(&mut self, name: String) -> Result<Result<String, secrets::SecretError>> {
        let secret = self.host()?.secret(&name);
        if secret.is_none() {
            self.overreach("a secret");
        }
        Ok(secret.ok_or(secrets::SecretError::NotGranted))
    }
}

impl cache::Host for State {
    fn get(&mut self, key: Vec<u8>) -> Result<Option<Vec<u8>>> {
        Ok(self.host()?.cached(&key))
    }

    fn put(&mut self, key: Vec<u8>, value: Vec<u8>, ttl: u32) -> Result<()> {
        self.host()?.cache(&key, &value, ttl);
        Ok(())
    }

    fn remove(&mut self, key: Vec<u8>) -> Result<()> {
        self.host()?.uncache(&key);
        Ok(())
    }
}

impl http::Host for State {
    async fn send(&mut self, request: http::Outgoing) -> Result<Result<http::Incoming, http::HttpError>> {
        let time = self.time();
        let request = convert::outgoing(request);
        let answer = time.waits(WaitKind::Server, self.host_for_http()?.send(request)).await;
        match answer {
            Err(overrun) => Err(self.overrun_by_the_clock(overrun)),
            Ok(Err(HttpError::NotGranted)) => {
                self.overreach("an HTTP origin");
                Ok(Err(http::HttpError::NotGranted))
            }
            Ok(answer) => Ok(answer.map(convert::incoming).map_err(convert::http_error)),
        }
    }
}
