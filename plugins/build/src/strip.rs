//! Removes the names and lines for debuggers from a component and the modules within it.

/// The id of custom sections. Sections of modules and components have the same form: an id, a length, and the content.
const CUSTOM: u8 = 0;
/// The id of a section of a component that contains a core module.
const MODULE: u8 = 1;
/// The id of a section of a component that contains another component.
const COMPONENT: u8 = 4;

/// `\0asm`, then the version and the layer.
const PREAMBLE: usize = 8;

/// The layer of a component.
const LAYER_COMPONENT: u8 = 1;

/// Removes the sections. None: the bytes are not WebAssembly.
pub(crate) fn strip(bytes: &[u8]) -> Option<Vec<u8>> {
    let (preamble, mut rest) = bytes.split_at_checked(PREAMBLE)?;
    if !preamble.starts_with(b"\0asm") {
        return None;
    }
    let is_component = preamble.get(6) == Some(&LAYER_COMPONENT);
    let mut stripped = preamble.to_vec();
    while let Some((&id, after)) = rest.split_first() {
        let (length, after) = number(after)?;
        let (content, next) = after.split_at_checked(length)?;
        rest = next;
        match id {
            CUSTOM if is_for_debuggers(content)? => {}
            MODULE | COMPONENT if is_component => push(&mut stripped, id, &strip(content)?),
            _ => push(&mut stripped, id, content),
        }
    }
    Some(stripped)
}

fn is_for_debuggers(section: &[u8]) -> Option<bool> {
    let (length, rest) = number(section)?;
    let name = rest.get(..length)?;
    let names: [&[u8]; 4] = [b"name", b"component-name", b"sourceMappingURL", b"external_debug_info"];
    Some(names.contains(&name) || name.starts_with(b".debug_"))
}

/// An unsigned LEB128 number of 32 bits, and the bytes after it.
fn number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0_u64;
    for (index, byte) in bytes.iter().take(5).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((usize::try_from(value).ok()?, bytes.get(index + 1..)?));
        }
    }
    None
}

fn push(out: &mut Vec<u8>, id: u8, content: &[u8]) {
    out.push(id);
    let mut length = content.len();
    while length > 0x7f {
        out.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(content);
}

#[cfg(test)]
mod tests {
    use super::strip;

    fn section(id: u8, content: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        super::push(&mut out, id, content);
        out
    }

    #[test]
    fn names_are_removed_and_the_rest_stays() {
        let long = vec![7; 300];
        let module = [
            b"\0asm\x01\0\0\0".to_vec(),
            section(0, b"\x04name and more"),
            section(0, b"\x09producers and more"),
            section(10, &long),
            section(0, b"\x0b.debug_line and more"),
        ]
        .concat();
        let component =
            [b"\0asm\x0d\0\x01\0".to_vec(), section(1, &module), section(0, b"\x0ecomponent-name x")]
                .concat();
        let bare =
            [b"\0asm\x01\0\0\0".to_vec(), section(0, b"\x09producers and more"), section(10, &long)].concat();
        assert_eq!(strip(&component), Some([b"\0asm\x0d\0\x01\0".to_vec(), section(1, &bare)].concat()));
    }

    #[test]
    fn a_file_that_is_not_webassembly_is_unchanged() {
        assert_eq!(strip(b"\0as"), None);
        assert_eq!(strip(b"\0asm\x01\0\0\0\x0a\xff\xff\xff\xff\x0f"), None);
        assert_eq!(strip(b"\x7fELF\x01\0\0\0"), None);
    }
}
