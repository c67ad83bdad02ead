//! Numbers that all readers read as the same value, whether they keep them as doubles, integers or decimals (RFC 7493,
//! section 2.2).

/// The number of significant digits that every double can distinguish.
const DIGITS: usize = 15;

/// True if all readers read the numbers in a JSON text as the same values. Whole numbers have to fit into 64 bits and
/// into a double without a change. Among other numbers, no two accepted ones are the same double, so all readers
/// compare them in the same way. The text has to be JSON.
pub(super) fn are_exact(json: &str) -> bool {
    let mut rest = json.as_bytes();
    while let Some(at) = rest.iter().position(|byte| matches!(byte, b'"' | b'-' | b'0'..=b'9')) {
        let token = rest.get(at..).unwrap_or_default();
        rest = if let [b'"', string @ ..] = token {
            after_string(string)
        } else {
            let length = token.iter().position(|byte| !is_of_number(*byte)).unwrap_or(token.len());
            let (number, after) = token.split_at_checked(length).unwrap_or((token, &[]));
            if !std::str::from_utf8(number).is_ok_and(is_exact) {
                return false;
            }
            after
        };
    }
    true
}

fn is_of_number(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E')
}

/// The text after a string, of which the opening quotation mark has been read.
fn after_string(mut rest: &[u8]) -> &[u8] {
    while let Some(at) = memchr::memchr2(b'"', b'\\', rest) {
        let is_end = rest.get(at) == Some(&b'"');
        rest = rest.get(at + if is_end { 1 } else { 2 }..).unwrap_or_default();
        if is_end {
            break;
        }
    }
    rest
}

fn is_exact(number: &str) -> bool {
    if !number.contains(['.', 'e', 'E']) {
        return number.len() <= DIGITS || is_exact_integer(number);
    }
    let (Ok(value), Some(written)) = (number.parse::<f64>(), Decimal::read(number)) else { return false };
    if written.digits.is_empty() {
        return true;
    }
    let is_told_apart = written.digits.len() <= DIGITS && value.is_normal();
    is_told_apart || (value != 0.0 && Decimal::read(&format!("{value:e}")) == Some(written))
}

#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "it is what is asked about")]
fn is_exact_integer(number: &str) -> bool {
    let whole = number.parse::<i64>().map(i128::from).or_else(|_| number.parse::<u64>().map(i128::from));
    whole.is_ok_and(|whole| (whole as f64) as i128 == whole)
}

/// The decimal digits of a number without zeros at either end, and the power of ten of the first digit.
#[derive(Debug, PartialEq, Eq)]
struct Decimal {
    digits: Vec<u8>,
    power: i64,
}

impl Decimal {
    fn read(number: &str) -> Option<Self> {
        let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
        let mantissa = mantissa.trim_start_matches('-');
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
        let is_digit = |byte: &u8| *byte != b'0';
        let Some(first) = all.iter().position(is_digit) else {
            return Some(Self { digits: Vec::new(), power: 0 });
        };
        let last = all.iter().rposition(is_digit)?;
        let ahead = i64::try_from(whole.len()).ok()?.checked_sub(i64::try_from(first).ok()?)?;
        let power = ahead.checked_add(exponent.parse().ok()?)?;
        Some(Self { digits: all.get(first..=last)?.to_vec(), power })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unambiguous_numbers_are_accepted() {
        for json in [
            "0",
            "-0",
            "-0.0",
            "1",
            "-1",
            "0.1",
            "1.50",
            "1e3",
            "1E+2",
            "1e-7",
            "3.141592653589793",
            "0.30000000000000004",
            "1e22",
            "6.02214076e23",
            "1.7976931348623157e308",
            "2.2250738585072014e-308",
            "5e-324",
            "9007199254740991",
            "9007199254740992",
            "9007199254740994",
            "1000000000000000000",
            "-9223372036854775808",
            "18446744073709549568",
            "1.0000000000000000000000000000",
            "100000000000000000000e-20",
            r#""12345678901234567890""#,
            r#"{"1e999":"\"9007199254740993"}"#,
            r#"[1,{"a":[true,null,-2.5e0,"x\\"]},3]"#,
        ] {
            assert!(are_exact(json), "{json}");
        }
    }

    #[test]
    fn numbers_that_some_reader_rounds_are_refused() {
        for json in [
            "9007199254740993",
            "-9007199254740993",
            "9223372036854775807",
            "18446744073709551615",
            "18446744073709551616",
            "100000000000000000000",
            "1e-400",
            "4e-324",
            "2.4703282292062327e-324",
            "10.0000000000000001",
            "0.1000000000000000055511151231257827",
            "0.10000000000000001",
            "9007199254740993.0",
            "9.007199254740993e15",
            r#"{"a":["\\",1e-400]}"#,
            r#"[1,2,{"x":9007199254740993}]"#,
        ] {
            assert!(!are_exact(json), "{json}");
        }
    }
}
