//! scratch
fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().collect();
    match args[1].as_str() {
        "wit" => {
            let mut resolve = wit_parser::Resolve::default();
            let (pkg, _) = resolve.push_dir("wit")?;
            for w in ["authenticator", "authorizer"] {
                let world = resolve.select_world(&[pkg], Some(w))?;
                let b = wit_component::metadata::encode(&resolve, world, wit_component::StringEncoding::UTF8, None)?;
                std::fs::write(format!("plugins/sdk/src/guest/worlds/{w}.component-type"), &b)?;
                println!("{w} {}", b.len());
            }
        }
        "encode" => {
            let m = std::fs::read(&args[2])?;
            let c = wit_component::ComponentEncoder::default().module(&m)?.validate(true).encode()?;
            std::fs::write(&args[3], &c)?;
            println!("{} -> {}", m.len(), c.len());
        }
        _ => {}
    }
    Ok(())
}
