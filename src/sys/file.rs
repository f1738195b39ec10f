//! Small files in few calls. The standard library's way costs two more each: musl's open sets
//! close-on-exec once again, and the size is asked for, which files of /proc and cgroups do not have.

use nix::NixPath;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use nix::unistd;

use super::fd::CWD;

/// What stands in a file.
pub fn read(path: &(impl NixPath + ?Sized)) -> nix::Result<Vec<u8>> {
    let file = openat(CWD, path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    let mut text = vec![0; 4096];
    let mut length = 0;
    loop {
        match unistd::read(&file, &mut text[length..]) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
        if length == text.len() {
            text.resize(2 * length, 0);
        }
    }
    text.truncate(length);
    Ok(text)
}

/// Writes to a file that must be there, in one piece, as files of /proc and cgroups want it.
pub fn write(path: &(impl NixPath + ?Sized), value: &[u8]) -> nix::Result<()> {
    let file = openat(CWD, path, OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    unistd::write(file, value).map(drop)
}

#[cfg(test)]
mod tests {
    #[test]
    fn files_of_any_length_are_read_whole() {
        let path = std::env::temp_dir().join(format!("ferrun-file-{}", std::process::id()));
        for length in [0, 1, 4095, 4096, 4097, 70_000] {
            let text: Vec<u8> = (0..length).map(|n: u32| n as u8).collect();
            std::fs::write(&path, &text).unwrap();
            assert_eq!(super::read(&path).unwrap(), text, "{length}");
        }
        super::write(&path, b"xyz").unwrap();
        assert_eq!(&super::read(&path).unwrap()[..3], b"xyz");
        std::fs::remove_file(path).unwrap();
        assert!(super::write(std::path::Path::new("/nowhere/x"), b"").is_err());
    }
}
