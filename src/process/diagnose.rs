//! Why a program cannot be executed. The kernel says "no such file or directory" for a missing program
//! as for a missing interpreter, and "exec format error" for everything else: a look at the file's
//! first bytes tells them apart.

use std::ffi::CStr;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::{Mode, stat};

use crate::error::Error;

/// The error for a program that execve(2) refused with `errno`.
pub fn failed(path: &CStr, errno: Errno) -> Error {
    let named = |errno| Error::os(format!("exec: {}", shown(path)), errno);
    // Docker maps either message to 126; podman only "permission denied".
    let directory = || named(Errno::EISDIR).detail("permission denied");
    match errno {
        Errno::EISDIR => directory(),
        Errno::ENOENT if stat(path).is_ok() => missing_interpreter(path, named(errno)),
        Errno::EACCES => match stat(path) {
            Ok(stat) if stat.st_mode & libc::S_IFMT == libc::S_IFDIR => directory(),
            Ok(stat) if stat.st_mode & 0o111 == 0 => named(errno).hint("the file has no execute permission (chmod +x)"),
            Ok(_) => named(errno).hint(
                "the file, its interpreter or a directory above may not be used by this user, or the mount is noexec",
            ),
            Err(_) => named(errno),
        },
        Errno::ENOEXEC => match head(path) {
            Some(head) => named(errno).hint(format_hint(&head)),
            None => named(errno),
        },
        _ => named(errno),
    }
}

/// A path in an error's message: a very long one is cut, for the channel to the parent takes only so much.
pub fn shown(path: &CStr) -> String {
    const LONGEST: usize = 4096;
    match path.to_bytes() {
        long if long.len() > LONGEST => format!("{:?}...", String::from_utf8_lossy(&long[..LONGEST])),
        _ => format!("{path:?}"),
    }
}

/// The first bytes of a file.
fn head(path: &CStr) -> Option<Vec<u8>> {
    let mut bytes = vec![0; 4096];
    let file = open(path, OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK, Mode::empty()).ok()?;
    let length = nix::unistd::read(file, &mut bytes).ok()?;
    bytes.truncate(length);
    Some(bytes)
}

fn missing_interpreter(path: &CStr, error: Error) -> Error {
    let head = head(path).unwrap_or_default();
    let Some(interpreter) = script_interpreter(&head).or_else(|| elf_interpreter(&head)) else {
        // It may be executed, and not read.
        return error.detail("the file is there, its interpreter is not");
    };
    let text = String::from_utf8_lossy(interpreter).into_owned();
    let said = error.detail(format!("the file is there, its interpreter {text:?} is not"));
    match text.ends_with('\r') {
        true => said.hint("the script's first line ends in CR LF; it wants LF alone"),
        false => said.hint("install it in the container, or use a statically linked program"),
    }
}

/// The program that a script's first line names.
fn script_interpreter(head: &[u8]) -> Option<&[u8]> {
    let line = head.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    line.split(|byte| *byte == b' ' || *byte == b'\t').find(|word| !word.is_empty())
}

fn number(bytes: &[u8], at: usize, width: usize) -> Option<usize> {
    let bytes = bytes.get(at..at + width)?;
    Some(bytes.iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte)))
}

/// The dynamic linker of a little-endian 64-bit program: elf(5), PT_INTERP.
fn elf_interpreter(head: &[u8]) -> Option<&[u8]> {
    const PT_INTERP: usize = 3;
    if !head.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let (table, size, count) = (number(head, 32, 8)?, number(head, 54, 2)?, number(head, 56, 2)?);
    let mut entries = (0..count).map(|index| table + index * size);
    let entry = entries.find(|at| number(head, *at, 4) == Some(PT_INTERP))?;
    let (offset, length) = (number(head, entry + 8, 8)?, number(head, entry + 32, 8)?);
    head.get(offset..offset.checked_add(length)?)?.strip_suffix(b"\0")
}

fn format_hint(head: &[u8]) -> String {
    if !head.starts_with(b"\x7fELF") {
        return match (head.is_empty(), head.starts_with(b"#!")) {
            (true, _) => "the file is empty".into(),
            // linux/binfmts.h, BINPRM_BUF_SIZE.
            (_, true) => "the script's first line names no interpreter, or one with a path of over 250 bytes".into(),
            _ => "the file is neither an ELF program nor a script that begins with #!".into(),
        };
    }
    let machine = match number(head, 18, 2) {
        Some(3) => "x86",
        Some(40) => "arm",
        Some(62) => "x86_64",
        Some(183) => "aarch64",
        Some(243) => "riscv",
        Some(21) => "powerpc64",
        Some(22) => "s390x",
        _ => "another architecture",
    };
    match std::env::consts::ARCH {
        here if here == machine => "the file is damaged: no program that the kernel understands".into(),
        here => format!("the program is for {machine}, this machine is {here}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interpreters_of_scripts() {
        assert_eq!(script_interpreter(b"#!/bin/sh\necho"), Some(&b"/bin/sh"[..]));
        assert_eq!(script_interpreter(b"#! /usr/bin/env python\n"), Some(&b"/usr/bin/env"[..]));
        assert_eq!(script_interpreter(b"#!/bin/sh\r\n"), Some(&b"/bin/sh\r"[..]));
        assert_eq!(script_interpreter(b"echo"), None);
    }

    #[test]
    fn the_interpreter_of_a_dynamic_program() {
        let mut program = vec![0; 256];
        program[..6].copy_from_slice(b"\x7fELF\x02\x01");
        (program[18], program[32], program[54], program[56]) = (183, 64, 56, 1);
        (program[64], program[72], program[96]) = (3, 200, 8);
        program[200..208].copy_from_slice(b"/lib/ld\0");
        assert_eq!(elf_interpreter(&program), Some(&b"/lib/ld"[..]));
        assert_eq!(elf_interpreter(&program[..70]), None, "cut short");
        crate::golden::compare(&format_hint(&program));
    }

    #[test]
    fn what_has_the_right_beginning_is_not_told_to_lack_it() {
        let here = if cfg!(target_arch = "x86_64") { 62 } else { 183 };
        let program = [&b"\x7fELF\x02\x01"[..], &[0; 12], &[here, 0]].concat();
        crate::golden::compare(&format_hint(&program));
        crate::golden::compare(&format_hint(b"#!\n"));
    }
}
