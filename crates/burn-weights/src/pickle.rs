//! A look at a pickle's opcodes, for what `pytorch-reader` passes over: torch's lazy negation and
//! conjugation, and tensors that `torch.save` did not write. Nothing is built, nothing is called.

use std::collections::HashSet;
use std::io::{self, BufRead, Read};

/// What a pickle holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// A tensor with torch's negative or conjugate bit: its stored values are not its values.
    pub(crate) lazy_sign: bool,
    /// Tensors as Python's own `pickle` writes them, with their bytes within the pickle.
    pub(crate) without_torch_save: bool,
    /// The number of opcodes that may make an object.
    pub(crate) objects: u64,
}

/// Looks at the first `count` pickles of a file. What is no pickle ends the search; the reader
/// reports it.
pub(crate) fn scan(reader: impl BufRead, count: usize) -> Found {
    let mut scanner = Scanner {
        reader,
        found: Found::default(),
        metadata: Metadata::None,
        lazy_keys: HashSet::new(),
        memoized: 0,
        follows_lazy_key: false,
        follows_reduce: false,
    };
    for _ in 0..count {
        if scanner.pickle().is_err() {
            break;
        }
    }
    scanner.found
}

/// Only strings up to this number of bytes are compared with a name.
const LONGEST_NAME: u64 = 32;

/// How much has been seen of the metadata of `torch._utils._rebuild_tensor_v2`, its last argument:
/// `(storage, offset, size, stride, requires_grad, OrderedDict(), {"neg": True})`.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Metadata {
    None,
    /// A dictionary that follows a call, `OrderedDict()`.
    Dictionary {
        lazy_sign: bool,
    },
    /// All its keys have been set.
    Complete {
        lazy_sign: bool,
    },
}

struct Scanner<R> {
    reader: R,
    found: Found,
    metadata: Metadata,
    /// The places in the memo of the strings "neg" and "conj".
    lazy_keys: HashSet<u64>,
    /// How many objects `MEMOIZE` has put into the memo.
    memoized: u64,
    /// Whether the last opcode gave the string "neg" or "conj", perhaps memoized since.
    follows_lazy_key: bool,
    /// Whether the last opcode called a function, its result perhaps memoized since.
    follows_reduce: bool,
}

impl<R: BufRead> Scanner<R> {
    /// Reads one pickle, up to its `STOP`.
    fn pickle(&mut self) -> io::Result<()> {
        loop {
            let opcode = self.byte()?;
            self.found.objects += 1;
            let metadata = core::mem::replace(&mut self.metadata, Metadata::None);
            let follows_reduce = core::mem::take(&mut self.follows_reduce);
            let follows_lazy_key = core::mem::take(&mut self.follows_lazy_key);
            match opcode {
                b'.' => return Ok(()),

                // The memo: what was seen before stays seen.
                b'p' => {
                    self.found.objects -= 1;
                    let index = self.line()?.parse().unwrap_or(u64::MAX);
                    self.memoize(index, follows_lazy_key);
                    self.metadata = metadata;
                    self.follows_reduce = follows_reduce;
                    self.follows_lazy_key = follows_lazy_key;
                }
                b'q' | b'r' | 0x94 => {
                    let index = match opcode {
                        b'q' => self.number(1)?,
                        b'r' => self.number(4)?,
                        _ => self.memoized,
                    };
                    self.found.objects -= 1;
                    self.memoized += u64::from(opcode == 0x94);
                    self.memoize(index, follows_lazy_key);
                    self.metadata = metadata;
                    self.follows_reduce = follows_reduce;
                    self.follows_lazy_key = follows_lazy_key;
                }
                b'g' | b'h' | b'j' => {
                    let index = match opcode {
                        b'g' => self.line()?.parse().unwrap_or(u64::MAX),
                        b'h' => self.number(1)?,
                        _ => self.number(4)?,
                    };
                    self.key(metadata, self.lazy_keys.contains(&index));
                }

                // Strings.
                b'S' | b'V' => {
                    let line = self.line()?;
                    self.string(metadata, line.trim_matches(['\'', '"']));
                }
                b'U' | 0x8c => self.counted_string(metadata, 1)?,
                b'T' | b'X' => self.counted_string(metadata, 4)?,
                0x8d => self.counted_string(metadata, 8)?,

                // The metadata's dictionary.
                b'R' => self.follows_reduce = true,
                b'}' | b'd' if follows_reduce => {
                    self.metadata = Metadata::Dictionary { lazy_sign: false };
                }
                b'(' => {
                    self.metadata = metadata;
                    self.follows_reduce = follows_reduce; // protocol 0 marks a dictionary's start
                }
                0x88 => self.is_true(metadata, follows_lazy_key),
                0x89 => self.metadata = metadata,
                b'I' => {
                    if self.line()? == "01" {
                        self.is_true(metadata, follows_lazy_key);
                    } else {
                        self.metadata = metadata;
                    }
                }
                b's' | b'u' => {
                    if let Metadata::Dictionary { lazy_sign } | Metadata::Complete { lazy_sign } =
                        metadata
                    {
                        self.metadata = Metadata::Complete { lazy_sign };
                    }
                }
                b't' => {
                    self.found.lazy_sign |= metadata == Metadata::Complete { lazy_sign: true };
                }

                // Everything else is passed over.
                b'c' | b'i' => {
                    self.line()?;
                    let name = self.line()?;
                    self.name(&name);
                }
                b'F' | b'L' | b'P' => {
                    self.line()?;
                }
                b'K' | 0x80 | 0x82 => self.skip(1)?,
                b'M' | 0x83 => self.skip(2)?,
                b'J' | 0x84 => self.skip(4)?,
                b'G' | 0x95 => self.skip(8)?,
                b'C' | 0x8a => self.skip_counted(1)?,
                b'B' | 0x8b => self.skip_counted(4)?,
                0x8e | 0x96 => self.skip_counted(8)?,
                b'0'..=b'2'
                | b'N'
                | b'Q'
                | b'a'
                | b'b'
                | b'd'
                | b'e'
                | b'l'
                | b'o'
                | b')'
                | b']'
                | b'}'
                | 0x81
                | 0x85..=0x87
                | 0x8f..=0x93
                | 0x97
                | 0x98 => {}
                _ => return Err(io::ErrorKind::InvalidData.into()),
            }
        }
    }

    fn counted_string(&mut self, metadata: Metadata, width: u64) -> io::Result<()> {
        let length = self.number(width)?;
        if length > LONGEST_NAME {
            self.skip(length)?;
            self.key(metadata, false);
            return Ok(());
        }
        let bytes = self.bytes(length)?;
        self.string(metadata, &String::from_utf8_lossy(&bytes));
        Ok(())
    }

    fn string(&mut self, metadata: Metadata, text: &str) {
        self.name(text);
        self.key(metadata, matches!(text, "neg" | "conj"));
    }

    /// A string, or an object from the memo, that may be a key of the metadata.
    fn key(&mut self, metadata: Metadata, is_lazy_key: bool) {
        self.follows_lazy_key = is_lazy_key;
        if matches!(
            metadata,
            Metadata::Dictionary { .. } | Metadata::Complete { .. }
        ) {
            self.metadata = metadata;
        }
    }

    fn is_true(&mut self, metadata: Metadata, follows_lazy_key: bool) {
        if let Metadata::Dictionary { lazy_sign } | Metadata::Complete { lazy_sign } = metadata {
            let lazy_sign = lazy_sign || follows_lazy_key;
            self.metadata = Metadata::Dictionary { lazy_sign };
        }
    }

    fn name(&mut self, name: &str) {
        self.found.without_torch_save |= name == "_load_from_bytes";
    }

    fn memoize(&mut self, index: u64, is_lazy_key: bool) {
        if is_lazy_key {
            self.lazy_keys.insert(index);
        } else {
            self.lazy_keys.remove(&index);
        }
    }

    fn byte(&mut self) -> io::Result<u8> {
        Ok(self.bytes(1)?[0])
    }

    /// An unsigned number of `width` bytes.
    fn number(&mut self, width: u64) -> io::Result<u64> {
        let bytes = self.bytes(width)?;
        let shifted = |number, &byte: &u8| (number << 8) | u64::from(byte);
        Ok(bytes.iter().rev().fold(0, shifted))
    }

    /// At most [`LONGEST_NAME`] bytes.
    fn bytes(&mut self, count: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; count as usize];
        self.reader.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn skip_counted(&mut self, width: u64) -> io::Result<()> {
        let count = self.number(width)?;
        self.skip(count)
    }

    fn skip(&mut self, count: u64) -> io::Result<()> {
        let skipped = io::copy(&mut (&mut self.reader).take(count), &mut io::sink())?;
        if skipped < count {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }

    /// The beginning of a line; its rest is passed over.
    fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        let mut limited = (&mut self.reader).take(LONGEST_NAME);
        limited.read_until(b'\n', &mut line)?;
        if line.pop_if(|last| *last == b'\n').is_none() {
            self.reader.skip_until(b'\n')?;
        }
        Ok(String::from_utf8_lossy(&line).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `(0, OrderedDict(), {"neg": True})` for `torch._utils._rebuild_tensor_v2`, by protocol 2.
    const NEGATIVE: &[u8] =
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\nq\x00(K\x00ccollections\nOrderedDict\nq\x01)R\
          q\x02}q\x03X\x03\x00\x00\x00negq\x04\x88stq\x05Rq\x06.";

    fn lazy_sign(pickle: &[u8]) -> bool {
        scan(pickle, 1).lazy_sign
    }

    #[test]
    fn negative_and_conjugate_bits_are_found() {
        assert!(lazy_sign(NEGATIVE));
        // Protocol 4 frames, memoizes in order and has short strings.
        assert!(lazy_sign(
            b"\x80\x04\x95\x20\0\0\0\0\0\0\0(K\0\x8c\x0bcollections\x94\x8c\x0bOrderedDict\x94\x93\
              \x94)R\x94}\x94(\x8c\x04conj\x94\x88\x8c\x03neg\x94\x89ut\x94R."
        ));
        // Protocol 0 is text.
        assert!(lazy_sign(
            b"ctorch._utils\n_rebuild_tensor_v2\np0\n(I0\nccollections\nOrderedDict\np1\n(tRp2\n\
              (dp3\nVneg\np4\nI01\nstp5\nRp6\n."
        ));
    }

    /// The key of a second tensor comes from the memo.
    #[test]
    fn a_key_in_the_memo_is_found() {
        let twice = [
            &NEGATIVE[..NEGATIVE.len() - 1],
            b"0h\x00(K\x00h\x01)R}h\x04\x88stR.",
        ]
        .concat();
        let mut second_only = twice.clone();
        let first_true = twice.iter().position(|&byte| byte == 0x88).unwrap();
        second_only[first_true] = 0x89;
        assert!(lazy_sign(&second_only));
    }

    #[test]
    fn other_dictionaries_are_not() {
        // False in place of true, another key, and an option of a training script.
        for (from, to) in [(&b"\x88s"[..], &b"\x89s"[..]), (b"neg", b"net")] {
            let at = NEGATIVE
                .windows(from.len())
                .position(|bytes| bytes == from)
                .unwrap();
            let mut other = NEGATIVE.to_vec();
            other[at..at + from.len()].copy_from_slice(to);
            assert!(!lazy_sign(&other));
        }
        assert!(!lazy_sign(b"\x80\x02}q\x00X\x03\x00\x00\x00negq\x01\x88s."));
        assert!(!lazy_sign(b""));
        assert!(!lazy_sign(b"\x80\x02X\xff\xff\xff\xffneg"));
    }

    #[test]
    fn tensors_of_plain_pickle_are_found() {
        let found = scan(&b"\x80\x02ctorch.storage\n_load_from_bytes\n."[..], 1);
        assert!(found.without_torch_save);
        assert_eq!(found.objects, 3); // a version, a function, the end
        assert!(!scan(NEGATIVE, 1).without_torch_save);
    }
}
