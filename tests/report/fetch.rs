//! The browser's program: fetched once into the target directory, or found on the PATH.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A build of Chromium's headless shell that brings its libraries and a font, for machines that have neither.
const PACKAGE: &str = "@sparticuz/chromium";
const VERSION: &str = "147.0.0";

/// Other names that a browser of the kind may have on the PATH.
const INSTALLED: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome-headless-shell"];

/// Unpacks the archives of `package/bin` into the folder that it is given.
const UNPACK: &str = r#"
const fs = require("fs"), zlib = require("zlib");
for (const name of ["chromium", "al2023.tar", "fonts.tar"])
    fs.writeFileSync(name, zlib.brotliDecompressSync(fs.readFileSync(`package/bin/${name}.br`)));
"#;

/// How a browser is run.
#[derive(Debug)]
pub struct Program {
    pub path: PathBuf,
    /// The folder of its libraries and fonts, if it brings them.
    pub home: Option<PathBuf>,
}

/// The browser, or why there is none.
pub fn program() -> Result<Program, String> {
    fetched().or_else(|reason| {
        let works = |name: &&&str| Command::new(name).arg("--version").output().is_ok_and(|output| output.status.success());
        let found = INSTALLED.iter().find(works).map(|name| Program { path: name.into(), home: None });
        found.ok_or_else(|| format!("{reason}, and none of {} is on the PATH", INSTALLED.join(", ")))
    })
}

/// It arrives in a temporary directory that is renamed when complete, so that what exists is whole; a lock on a file makes test
/// processes that start together fetch once.
fn fetched() -> Result<Program, String> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return Err(format!("{PACKAGE} is for Linux on x86-64"));
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    let cache = Path::new(env!("CARGO_MANIFEST_DIR")).join(target).join("browser");
    let context = |error: io::Error| format!("can't fetch a browser into {}: {error}", cache.display());
    fs::create_dir_all(&cache).map_err(context)?;
    let lock = File::create(cache.join("lock")).map_err(context)?;
    lock.lock().map_err(context)?; // until this function returns
    let home = cache.join(VERSION);
    if !home.is_dir() {
        let folder = tempfile::Builder::new().prefix("fetch-").tempdir_in(&cache).map_err(context)?;
        let run = |program: &str, arguments: &[&str]| {
            let output = Command::new(program).args(arguments).current_dir(folder.path()).output();
            let output = output.map_err(|error| format!("can't run `{program}`, which fetches a browser: {error}"))?;
            let said = String::from_utf8_lossy(&output.stderr);
            if output.status.success() { Ok(()) } else { Err(format!("`{program}` couldn't fetch {PACKAGE}: {}", said.trim())) }
        };
        run("npm", &["pack", "--silent", &format!("{PACKAGE}@{VERSION}")])?;
        run("tar", &["-xzf", &format!("sparticuz-chromium-{VERSION}.tgz")])?;
        run("node", &["-e", UNPACK])?;
        run("tar", &["-xf", "al2023.tar"])?;
        run("tar", &["-xf", "fonts.tar"])?;
        run("chmod", &["+x", "chromium"])?;
        run("rm", &["-r", "package", "al2023.tar", "fonts.tar", &format!("sparticuz-chromium-{VERSION}.tgz")])?;
        let fonts = format!(
            "<?xml version=\"1.0\"?><!DOCTYPE fontconfig SYSTEM \"fonts.dtd\"><fontconfig><dir>{0}/fonts</dir>\
             <cachedir>{0}/fonts-cache</cachedir></fontconfig>",
            home.display()
        );
        fs::write(folder.path().join("fonts.conf"), fonts).map_err(context)?;
        fs::rename(folder.path(), &home).map_err(context)?;
    }
    Ok(Program { path: home.join("chromium"), home: Some(home) })
}
