//! The release of the running kernel: uname(2).

use nix::sys::utsname::uname;

/// The release as the kernel prints it, `6.1.0-13-amd64`; `None` where it cannot be asked.
pub fn release() -> Option<String> {
    uname().ok().map(|name| name.release().to_string_lossy().into_owned())
}

/// Whether the running kernel is Linux `major.minor` or newer, as far as its release can be read.
pub fn is_at_least(major: u32, minor: u32) -> Option<bool> {
    Some(version(&release()?)? >= (major, minor))
}

/// The first two numbers of a release.
pub fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|letter: char| !letter.is_ascii_digit()).map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_have_versions() {
        for (release, wanted) in [
            ("6.1.0-13-amd64", Some((6, 1))),
            ("5.14-rc3", Some((5, 14))),
            ("6.1+", Some((6, 1))),
            ("10.0.1", Some((10, 0))),
            ("5", None),
            ("x.y", None),
        ] {
            assert_eq!(version(release), wanted, "{release}");
        }
    }
}
