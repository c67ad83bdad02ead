//! Components with changed sections.

/// The component with what the custom section `name` of its modules holds so many times over.
pub(super) fn repeated(bytes: &[u8], name: &str, times: usize) -> Vec<u8> {
    let (preamble, mut rest) = bytes.split_at(8);
    let is_component = preamble[6] == 1;
    let mut out = preamble.to_vec();
    while let Some((&id, after)) = rest.split_first() {
        let (length, after) = number(after);
        let (content, next) = after.split_at(length);
        rest = next;
        let content = match id {
            1 | 4 if is_component => repeated(content, name, times),
            0 => custom(content, name, times),
            _ => content.to_vec(),
        };
        out.push(id);
        push(&mut out, content.len());
        out.extend(content);
    }
    out
}

fn custom(content: &[u8], name: &str, times: usize) -> Vec<u8> {
    let (length, rest) = number(content);
    let (found, section) = rest.split_at(length);
    match found == name.as_bytes() {
        true => [&content[..content.len() - section.len()], &section.repeat(times)].concat(),
        false => content.to_vec(),
    }
}

/// An unsigned LEB128 number, and what follows it.
fn number(bytes: &[u8]) -> (usize, &[u8]) {
    let end = bytes.iter().position(|byte| byte & 0x80 == 0).unwrap();
    let digits = bytes[..=end].iter().rev();
    (digits.fold(0, |value, byte| value << 7 | usize::from(byte & 0x7f)), &bytes[end + 1..])
}

fn push(out: &mut Vec<u8>, mut number: usize) {
    while number > 0x7f {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}
