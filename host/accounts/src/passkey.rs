//! The checks of passkeys (Web Authentication, level 3, sections 7.1 and 7.2), for the case that no attestation is asked
//! for: whoever is logged in vouches for their new key. The signatures are checked by the crypto library of the host.

use aws_lc_rs::rsa::PublicEncryptingKey;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey,
    VerificationAlgorithm,
};
use serde::Deserialize;
use witgate_base::digest::sha256;

/// The longest id of a credential, in bytes.
const LONGEST_ID: usize = 1_023;

/// The longest public key. One of RSA with 8,192 bits has about 1,060 bytes.
const LONGEST_KEY: usize = 1_200;

/// Algorithms of keys (RFC 9053, RFC 8812).
const ES256: i64 = -7;
const EDDSA: i64 = -8;
const RS256: i64 = -257;

/// The bits of a key of RSA.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2_048..=8_192;

/// The bytes of authenticator data before its extensions.
const DATA: usize = 37;

/// Flags of authenticator data.
const USER_PRESENT: u8 = 0x01;
const USER_VERIFIED: u8 = 0x04;
const BACKUP_ELIGIBLE: u8 = 0x08;
const BACKED_UP: u8 = 0x10;
const HAS_CREDENTIAL: u8 = 0x40;

/// The server that passkeys are for.
#[derive(Clone, Copy, Debug)]
pub struct PasskeyServer<'a> {
    /// The origin of its pages.
    pub origin: &'a str,
    /// The host, which is the id of the relying party.
    pub host: &'a str,
}

/// The values of a new passkey, as a browser shows them.
#[derive(Clone, Copy, Debug)]
pub struct NewPasskey<'a> {
    /// The id of the credential.
    pub id: &'a [u8],
    /// The algorithm (RFC 9053).
    pub algorithm: i64,
    /// The public key, as `SubjectPublicKeyInfo`.
    pub key: &'a [u8],
    /// The authenticator data.
    pub data: &'a [u8],
    /// The client data, as JSON.
    pub client: &'a [u8],
}

/// The values with which a browser answers a challenge.
#[derive(Clone, Copy, Debug)]
pub struct PasskeyAnswer<'a> {
    /// The authenticator data.
    pub data: &'a [u8],
    /// The client data, as JSON.
    pub client: &'a [u8],
    /// The signature over both.
    pub signature: &'a [u8],
}

/// The reason why a passkey is refused, as a code for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PasskeyFault(pub &'static str);

/// The state of a passkey, which its next answer continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PasskeyState {
    /// The counter of its signatures.
    pub counter: u32,
    /// True if it may be on several devices (the flag BE), which never changes. None: that is not known.
    pub is_backup_eligible: Option<bool>,
}

/// The part of the client data that counts. Browsers may add members.
#[derive(Deserialize)]
struct ClientData<'a> {
    r#type: &'a str,
    challenge: &'a str,
    origin: &'a str,
    #[serde(default, rename = "crossOrigin")]
    is_cross_origin: bool,
    #[serde(default, rename = "topOrigin")]
    top_origin: Option<serde_json::Value>,
}

/// Checks a new passkey, for the challenge with this text. Returns its state.
///
/// # Errors
/// With the reason why it is refused.
pub fn check_new(
    server: PasskeyServer<'_>,
    challenge: &str,
    shown: &NewPasskey<'_>,
) -> Result<PasskeyState, PasskeyFault> {
    check_client(server, "webauthn.create", challenge, shown.client)?;
    let state = check_data(server, shown.data)?;
    let is_sized = (1..=LONGEST_ID).contains(&shown.id.len()) && shown.key.len() <= LONGEST_KEY;
    if !is_sized || !fits(shown.algorithm, shown.key) {
        return Err(PasskeyFault("passkey-unsupported"));
    }
    match credential_id(shown.data) {
        Some(id) if id == shown.id => Ok(state),
        _ => Err(PasskeyFault("passkey-malformed")),
    }
}

/// Checks an answer to the challenge with this text, by the passkey with this public key and the state `last`. Returns
/// the new state.
///
/// # Errors
/// With the reason why it is refused.
pub fn check_answer(
    server: PasskeyServer<'_>,
    challenge: &str,
    (algorithm, key): (i64, &[u8]),
    last: PasskeyState,
    shown: &PasskeyAnswer<'_>,
) -> Result<PasskeyState, PasskeyFault> {
    check_client(server, "webauthn.get", challenge, shown.client)?;
    let state = check_data(server, shown.data)?;
    let algorithm = self::algorithm(algorithm).ok_or(PasskeyFault("passkey-unsupported"))?;
    let signed = [shown.data, &sha256(shown.client)].concat();
    let verified = UnparsedPublicKey::new(algorithm, key).verify(&signed, shown.signature);
    verified.map_err(|_| PasskeyFault("passkey-signature"))?;
    if last.is_backup_eligible.is_some() && last.is_backup_eligible != state.is_backup_eligible {
        return Err(PasskeyFault("passkey-changed"));
    }
    match (state.counter, last.counter) {
        // Passkeys that are on several devices do not count.
        (0, 0) => Ok(state),
        (counter, last) if counter > last => Ok(state),
        _ => Err(PasskeyFault("passkey-copied")),
    }
}

fn check_client(
    server: PasskeyServer<'_>,
    action: &str,
    challenge: &str,
    json: &[u8],
) -> Result<(), PasskeyFault> {
    let client: ClientData<'_> =
        serde_json::from_slice(json).map_err(|_| PasskeyFault("passkey-malformed"))?;
    if client.r#type != action {
        return Err(PasskeyFault("passkey-malformed"));
    }
    if client.challenge != challenge {
        return Err(PasskeyFault("passkey-challenge"));
    }
    match client.origin == server.origin && !client.is_cross_origin && client.top_origin.is_none() {
        true => Ok(()),
        false => Err(PasskeyFault("passkey-origin")),
    }
}

/// Checks authenticator data. Returns the state in it.
fn check_data(server: PasskeyServer<'_>, data: &[u8]) -> Result<PasskeyState, PasskeyFault> {
    let (head, _) = data.split_first_chunk::<DATA>().ok_or(PasskeyFault("passkey-malformed"))?;
    let (host, [flags, counter @ ..]) =
        head.split_first_chunk::<32>().ok_or(PasskeyFault("passkey-malformed"))?
    else {
        return Err(PasskeyFault("passkey-malformed"));
    };
    if *host != sha256(server.host.as_bytes()) {
        return Err(PasskeyFault("passkey-origin"));
    }
    let has = |flag: u8| flags & flag != 0;
    if !has(USER_PRESENT) || !has(USER_VERIFIED) {
        return Err(PasskeyFault("passkey-unverified"));
    }
    if has(BACKED_UP) && !has(BACKUP_ELIGIBLE) {
        return Err(PasskeyFault("passkey-malformed"));
    }
    let counter = counter.try_into().map(u32::from_be_bytes);
    let counter = counter.map_err(|_| PasskeyFault("passkey-malformed"))?;
    Ok(PasskeyState { counter, is_backup_eligible: Some(has(BACKUP_ELIGIBLE)) })
}

/// The id of the credential in the authenticator data of a new passkey.
fn credential_id(data: &[u8]) -> Option<&[u8]> {
    let flags = data.get(32)?;
    let (_, rest) = data.split_at_checked(DATA)?;
    // The identifier of the model comes first.
    let (length, rest) = rest.get(16..)?.split_first_chunk::<2>()?;
    (flags & HAS_CREDENTIAL != 0).then(|| rest.get(..usize::from(u16::from_be_bytes(*length)))).flatten()
}

/// True if a public key is one of this algorithm. The bits of RSA count here, because a parser accepts fewer than a check of
/// signatures.
fn fits(number: i64, key: &[u8]) -> bool {
    let has_bits = |key: PublicEncryptingKey| RSA_BITS.contains(&key.key_size_bits());
    let is_sized = number != RS256 || PublicEncryptingKey::from_der(key).is_ok_and(has_bits);
    is_sized && algorithm(number).is_some_and(|algorithm| ParsedPublicKey::new(algorithm, key).is_ok())
}

fn algorithm(number: i64) -> Option<&'static dyn VerificationAlgorithm> {
    match number {
        ES256 => Some(&ECDSA_P256_SHA256_ASN1),
        EDDSA => Some(&ED25519),
        RS256 => Some(&RSA_PKCS1_2048_8192_SHA256),
        _ => None,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    pub(crate) const SERVER: PasskeyServer<'static> =
        PasskeyServer { origin: "https://mcp.example.com", host: "mcp.example.com" };

    /// A device with one passkey.
    pub(crate) struct Device {
        pair: EcdsaKeyPair,
        pub(crate) flags: u8,
        pub(crate) counter: u32,
    }

    impl Device {
        pub(crate) const ID: &'static [u8] = b"credential";

        pub(crate) fn new() -> Self {
            let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
            Self { pair, flags: USER_PRESENT | USER_VERIFIED, counter: 0 }
        }

        pub(crate) fn key(&self) -> Vec<u8> {
            let key: PublicKeyX509Der<'_> = self.pair.public_key().as_der().unwrap();
            key.as_ref().to_vec()
        }

        pub(crate) fn data(&self, host: &str) -> Vec<u8> {
            let counter = self.counter.to_be_bytes();
            [&sha256(host.as_bytes())[..], &[self.flags], &counter].concat()
        }

        /// The data of a new passkey.
        pub(crate) fn new_data(&self) -> Vec<u8> {
            let mut data = self.data(SERVER.host);
            data[32] |= HAS_CREDENTIAL;
            data.extend([0; 16]);
            data.extend(u16::try_from(Self::ID.len()).unwrap().to_be_bytes());
            data.extend(Self::ID);
            data
        }

        pub(crate) fn sign(&self, data: &[u8], client: &[u8]) -> Vec<u8> {
            let signed = [data, &sha256(client)].concat();
            self.pair.sign(&SystemRandom::new(), &signed).unwrap().as_ref().to_vec()
        }
    }

    pub(crate) fn client(action: &str, challenge: &str, origin: &str) -> Vec<u8> {
        serde_json::json!({ "type": action, "challenge": challenge, "origin": origin, "crossOrigin": false })
            .to_string()
            .into_bytes()
    }

    fn answered(device: &Device, client: &[u8], host: &str, last: u32) -> Result<u32, &'static str> {
        let data = device.data(host);
        let signature = device.sign(&data, client);
        let shown = PasskeyAnswer { data: &data, client, signature: &signature };
        let last = PasskeyState { counter: last, is_backup_eligible: None };
        let state = check_answer(SERVER, "c", (-7, &device.key()), last, &shown);
        state.map(|state| state.counter).map_err(|fault| fault.0)
    }

    #[test]
    fn an_answer_is_for_this_server_and_challenge_and_by_a_verified_person() {
        let mut device = Device::new();
        let (host, right) = (SERVER.host, client("webauthn.get", "c", SERVER.origin));
        assert_eq!(answered(&device, &right, host, 0), Ok(0));
        for (client, reason) in [
            (client("webauthn.create", "c", SERVER.origin), "passkey-malformed"),
            (client("webauthn.get", "d", SERVER.origin), "passkey-challenge"),
            (client("webauthn.get", "c", "https://mcp.example.com.evil"), "passkey-origin"),
            (b"{}".to_vec(), "passkey-malformed"),
            (Vec::new(), "passkey-malformed"),
            (
                String::from_utf8(right.clone()).unwrap().replace("false", "true").into_bytes(),
                "passkey-origin",
            ),
        ] {
            assert_eq!(answered(&device, &client, host, 0), Err(reason));
        }
        assert_eq!(answered(&device, &right, "evil.example.com", 0), Err("passkey-origin"));
        for flags in [0, USER_PRESENT, USER_VERIFIED] {
            device.flags = flags;
            assert_eq!(answered(&device, &right, host, 0), Err("passkey-unverified"));
        }
        device.flags = USER_PRESENT | USER_VERIFIED | BACKED_UP;
        assert_eq!(answered(&device, &right, host, 0), Err("passkey-malformed"));
        device.flags = USER_PRESENT | USER_VERIFIED;
        // A counter that does not grow is that of a copy.
        device.counter = 7;
        assert_eq!(answered(&device, &right, host, 6), Ok(7));
        for last in [7, 8] {
            assert_eq!(answered(&device, &right, host, last), Err("passkey-copied"));
        }
        device.counter = 0;
        assert_eq!(answered(&device, &right, host, 1), Err("passkey-copied"));
    }

    /// Web Authentication, section 7.2, step 17.
    #[test]
    fn a_passkey_stays_on_one_device_or_on_several() {
        let mut device = Device::new();
        let right = client("webauthn.get", "c", SERVER.origin);
        let answers = |device: &Device, is_backup_eligible| {
            let data = device.data(SERVER.host);
            let signature = device.sign(&data, &right);
            let shown = PasskeyAnswer { data: &data, client: &right, signature: &signature };
            let last = PasskeyState { counter: 0, is_backup_eligible };
            let state = check_answer(SERVER, "c", (-7, &device.key()), last, &shown);
            state.map(|state| state.is_backup_eligible).map_err(|fault| fault.0)
        };
        for (flags, is_eligible) in [(0, false), (BACKUP_ELIGIBLE, true), (BACKUP_ELIGIBLE | BACKED_UP, true)]
        {
            device.flags = USER_PRESENT | USER_VERIFIED | flags;
            for before in [None, Some(is_eligible)] {
                assert_eq!(answers(&device, before), Ok(Some(is_eligible)), "{flags} {before:?}");
            }
            assert_eq!(answers(&device, Some(!is_eligible)), Err("passkey-changed"), "{flags}");
        }
    }

    #[test]
    fn an_answer_has_the_signature_of_its_key() {
        let (device, other) = (Device::new(), Device::new());
        let (data, right) = (device.data(SERVER.host), client("webauthn.get", "c", SERVER.origin));
        let check = |key: &[u8], algorithm, data: &[u8], client: &[u8], signature: &[u8]| {
            let shown = PasskeyAnswer { data, client, signature };
            let last = PasskeyState { counter: 0, is_backup_eligible: None };
            let state = check_answer(SERVER, "c", (algorithm, key), last, &shown);
            state.map(|state| state.counter).map_err(|fault| fault.0)
        };
        let signature = device.sign(&data, &right);
        assert_eq!(check(&device.key(), -7, &data, &right, &signature), Ok(0));
        let changed = [right.as_slice(), b" "].concat();
        let mut later = data.clone();
        later[36] = 1;
        for (key, algorithm, data, client, signature, reason) in [
            (other.key(), -7, &data, &right, signature.clone(), "passkey-signature"),
            (device.key(), -7, &data, &changed, signature.clone(), "passkey-signature"),
            (device.key(), -7, &later, &right, signature.clone(), "passkey-signature"),
            (device.key(), -7, &data, &right, Vec::new(), "passkey-signature"),
            (device.key(), -8, &data, &right, signature.clone(), "passkey-signature"),
            (device.key(), -257, &data, &right, signature.clone(), "passkey-signature"),
            (device.key(), 0, &data, &right, signature.clone(), "passkey-unsupported"),
            (Vec::new(), -7, &data, &right, signature.clone(), "passkey-signature"),
        ] {
            assert_eq!(check(&key, algorithm, data, client, &signature), Err(reason));
        }
        for length in 0..37 {
            assert!(check(&device.key(), -7, &data[..length], &right, &signature).is_err());
        }
    }

    /// Keys that fit no algorithm would be refused at each login.
    #[test]
    fn the_key_of_a_new_passkey_fits_its_algorithm() {
        let device = Device::new();
        let (data, right) = (device.new_data(), client("webauthn.create", "c", SERVER.origin));
        let decoded = |text: &str| STANDARD.decode(text).unwrap();
        let [rsa, short_rsa, ed25519, p384] = [
            "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAxHrq3sqhiVe2dPtD1JWd8+P1Wy4ibJM5cOcuGRjNIqfV4jIIemYWnn46mwkG\
             yEAd4ExrRsOSiIaPyq2C8Jq7+dIhB3k3prSmIO37mt8auByLOj9+5J76QuH3vr20IMQsIj1bCZWxXkRpy142NY9fs6cd2vgOmyw8UO1w\
             l1ieynKKOXr5v+JzA95WGf6Lqf55gMj/Vmm5IMotXgeDFhPbYXbpyEGTweeu5XXEy3orZ/4SAj9I7AJ0F56BHgC5fvqPoRGq10+rNx3s\
             x5VtEMgKedaIRcCA1+XxmqGmoZexcURC35ZagPOWxh+Ui0sDbICREWSRArD2SeY5EXol2WikPwIDAQAB",
            "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQCpQuyGC4ioK1HDaSMHiw7cru1C/F5co/W7M9hpxRXe/WjuN0eYcFlyiDljkP61uZxH\
             tR+0bwigSKrHpAjx+fTyeMP0FHCX/Ja2yRAyuPX03kGFc/ulhNXCixYiXfbRqVkBbPeeduu79tU8yRGq3kTQ5DBuM1GsJkeaB2rPUcWc\
             hQIDAQAB",
            "MCowBQYDK2VwAyEAH5ptNE78fGsSCiRr4JhRPWYSSarztV4Bb0ePM7PdqR0=",
            "MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAECVaGmFJS+n5ntK7TlB2BTER8N0X0zLldfCzwR0meigIGjr/0nKwNVFB1LvF0sEdCRz+Zt8zn\
             vVZwyseYS+gnT/UARKS5ZsS9khwOu9ZKJsHottVMLMmfuOBeALmGczMs",
        ]
        .map(decoded);
        let p256 = device.key();
        let accepted = [(ES256, &p256), (EDDSA, &ed25519), (RS256, &rsa)];
        let (empty, junk) = (Vec::new(), b"junk".to_vec());
        for key in [&p256, &rsa, &short_rsa, &ed25519, &p384, &empty, &junk] {
            for algorithm in [ES256, EDDSA, RS256, 0] {
                let shown = NewPasskey { id: Device::ID, algorithm, key, data: &data, client: &right };
                let fits = accepted.contains(&(algorithm, key));
                let wanted = if fits { Ok(0) } else { Err(PasskeyFault("passkey-unsupported")) };
                let state = check_new(SERVER, "c", &shown);
                assert_eq!(state.map(|state| state.counter), wanted, "{algorithm} {key:?}");
            }
        }
    }

    #[test]
    fn a_new_passkey_is_what_its_data_say() {
        let device = Device::new();
        let (key, data, right) =
            (device.key(), device.new_data(), client("webauthn.create", "c", SERVER.origin));
        let check = |id: &[u8], algorithm, data: &[u8], client: &[u8]| {
            let shown = NewPasskey { id, algorithm, key: &key, data, client };
            check_new(SERVER, "c", &shown).map(|state| state.counter).map_err(|fault| fault.0)
        };
        assert_eq!(check(Device::ID, -7, &data, &right), Ok(0));
        assert_eq!(check(b"other", -7, &data, &right), Err("passkey-malformed"));
        assert_eq!(check(b"", -7, &data, &right), Err("passkey-unsupported"));
        assert_eq!(check(&[1; 1_024], -7, &data, &right), Err("passkey-unsupported"));
        assert_eq!(check(Device::ID, -36, &data, &right), Err("passkey-unsupported"));
        assert_eq!(check(Device::ID, -7, &device.data(SERVER.host), &right), Err("passkey-malformed"));
        let login = client("webauthn.get", "c", SERVER.origin);
        assert_eq!(check(Device::ID, -7, &data, &login), Err("passkey-malformed"));
        for length in 0..data.len() {
            assert!(check(Device::ID, -7, &data[..length], &right).is_err());
        }
    }
}
