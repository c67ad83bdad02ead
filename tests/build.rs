//! Makes an enum of the hostile guests: a test that matches over it does not compile while one of them is missing.

use std::error::Error;
use std::fs;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let mut names = Vec::new();
    for (directory, ending) in [("guests/hostile/examples", ".rs"), ("guests/hostile/wat", ".wat")] {
        println!("cargo::rerun-if-changed={directory}");
        for entry in fs::read_dir(directory)? {
            let file = entry?.file_name();
            names.extend(file.to_str().and_then(|file| file.strip_suffix(ending)).map(str::to_owned));
        }
    }
    names.sort();
    let out = std::env::var_os("OUT_DIR").ok_or("cargo says where the output goes")?;
    fs::write(Path::new(&out).join("hostile_guests.rs"), source(&names))?;
    Ok(())
}

fn source(names: &[String]) -> String {
    let list = |line: &dyn Fn(&str) -> String| names.iter().map(|name| line(name)).collect::<String>();
    let variants = list(&|name| format!("/// `{name}`.\n{},\n", variant(name)));
    let all = list(&|name| format!("Self::{},\n", variant(name)));
    let texts = list(&|name| format!("Self::{} => \"{name}\",\n", variant(name)));
    format!(
        "/// A deliberately malicious component.\n\
         #[derive(Clone, Copy, Debug, PartialEq, Eq)]\npub enum Guest {{\n{variants}}}\n\
         impl Guest {{\n\
         /// All of them.\npub const ALL: [Self; {}] = [\n{all}];\n\
         /// The name of its file.\npub fn name(self) -> &'static str {{ match self {{\n{texts}}} }}\n}}\n",
        names.len()
    )
}

/// `loops-in-describe` is `LoopsInDescribe`.
fn variant(name: &str) -> String {
    let words = name.split('-').map(|word| {
        let (first, rest) = word.split_at(word.len().min(1));
        first.to_uppercase() + rest
    });
    words.collect()
}
