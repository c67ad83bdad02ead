//! The vectors of the specification (github.com/C2SP/CCTV, in the public domain by CC0), without those for passphrases
//! and three of more than 16 MiB; and any text.

use std::fs;
use std::io::Read as _;
use std::path::Path;

use aws_lc_rs::digest::{SHA256, digest};
use proptest::prelude::*;

use super::{AgeError, AgeIdentity, AgeRecipient, armor, decrypt, encrypt, open};

fn result_of(vector: &[u8]) -> (String, Result<Vec<u8>, AgeError>) {
    let end = vector.windows(2).position(|pair| pair == b"\n\n").unwrap();
    let head = std::str::from_utf8(&vector[..end]).unwrap();
    let of = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    let mut file = vector[end + 2..].to_vec();
    if of("compressed") == Some("zlib") {
        let compressed = std::mem::take(&mut file);
        flate2::read::ZlibDecoder::new(&*compressed).read_to_end(&mut file).unwrap();
    }
    let identities = head.lines().filter_map(|line| line.strip_prefix("identity: "));
    let identities: Vec<_> = identities.map(|text| AgeIdentity::parse(text).unwrap()).collect();
    let opened = match of("armored") {
        Some(_) => armor::decode(&file).and_then(|file| open(&file, &identities)),
        None => open(&file, &identities),
    };
    let expected = match of("expect").unwrap() {
        "success" => format!("payload {}", of("payload").unwrap()),
        failure => failure.to_owned(),
    };
    (expected, opened.map(|text| text.to_vec()))
}

#[test]
fn the_vectors_of_the_specification_are_decrypted_or_refused() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/secret_store/age/testkit");
    let mut number = 0;
    for vector in fs::read_dir(folder).unwrap() {
        let path = vector.unwrap().path();
        let (expected, result) = result_of(&fs::read(&path).unwrap());
        let result = match result {
            Ok(text) => {
                let digest = digest(&SHA256, &text);
                let hexadecimal: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
                format!("payload {hexadecimal}")
            }
            Err(AgeError::Armor) => "armor failure".to_owned(),
            Err(AgeError::Header) => "header failure".to_owned(),
            Err(AgeError::Recipients) => "too many recipients".to_owned(),
            Err(AgeError::NoMatch) => "no match".to_owned(),
            Err(AgeError::Mac) => "HMAC failure".to_owned(),
            Err(AgeError::Payload) => "payload failure".to_owned(),
        };
        assert_eq!(result, expected, "{}", path.display());
        number += 1;
    }
    assert_eq!(number, 95);
}

fn identity() -> AgeIdentity {
    AgeIdentity::parse(&AgeIdentity::generate().unwrap()).unwrap()
}

#[test]
fn keys_have_one_text_each() {
    let text = "AGE-SECRET-KEY-1EGTZVFFV20835NWYV6270LXYVK2VKNX2MMDKWYKLMGR48UAWX40Q2P2LM0";
    let identity = AgeIdentity::parse(text).unwrap();
    let recipient = identity.recipient().to_string();
    assert!(recipient.starts_with("age1") && recipient.len() == 62, "{recipient}");
    assert!(AgeRecipient::parse(&recipient).is_some());
    let changed = |text: &str| text.replacen("EGTZ", "EGTY", 1);
    for wrong in ["", "AGE-SECRET-KEY-1", &text[..73], &changed(text), &text.to_lowercase(), &recipient] {
        assert!(AgeIdentity::parse(wrong).is_none(), "{wrong}");
    }
    for wrong in ["", "age1", &recipient[..61], &recipient.to_uppercase(), text, &format!("{recipient} ")] {
        assert!(AgeRecipient::parse(wrong).is_none(), "{wrong}");
    }
}

#[test]
fn text_of_every_size_is_decrypted_by_each_recipient() {
    let (first, second, other) = (identity(), identity(), identity());
    let recipients = [first.recipient(), second.recipient()];
    for size in [0, 1, 47, 48, 65_535, 65_536, 65_537, 131_072, 200_000] {
        let text = vec![7; size];
        let file = encrypt(&text, &recipients).unwrap();
        for identity in [&first, &second] {
            let opened = decrypt(file.as_bytes(), std::slice::from_ref(identity)).unwrap();
            assert_eq!(*opened, text, "{size}");
        }
        let opened = decrypt(file.as_bytes(), std::slice::from_ref(&other));
        assert_eq!(opened.unwrap_err(), AgeError::NoMatch);
    }
}

#[test]
fn a_file_for_too_many_recipients_is_refused() {
    let identity = identity();
    let encrypted = |number| encrypt(b"text", &vec![identity.recipient(); number]).unwrap();
    let opened = |number| decrypt(encrypted(number).as_bytes(), std::slice::from_ref(&identity));
    assert_eq!(&**opened(256).unwrap(), b"text");
    assert_eq!(opened(257).unwrap_err(), AgeError::Recipients);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_changed_byte_is_noticed(text in prop::collection::vec(any::<u8>(), 0..200), place in any::<prop::sample::Index>(), bit in 0..8_u8) {
        let identity = identity();
        let armored = encrypt(&text, &[identity.recipient()]).unwrap();
        let identities = [identity];
        let mut file = armor::decode(armored.as_bytes()).unwrap();
        prop_assert_eq!(&*decrypt(&file, &identities).unwrap(), &text);
        let place = place.index(file.len());
        file[place] ^= 1_u8 << bit;
        prop_assert!(open(&file, &identities).is_err());
    }

    #[test]
    fn any_bytes_are_refused(file in prop::collection::vec(any::<u8>(), 0..300)) {
        let identities = [identity()];
        prop_assert!(decrypt(&file, &identities).is_err() && open(&file, &identities).is_err());
    }
}
