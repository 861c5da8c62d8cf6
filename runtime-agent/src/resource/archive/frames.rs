//! Zstandard with all its frames: some programs write several, one after the other.

use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use std::io::{BufRead, Error, Read, Result};

/// Reads what all frames of a source hold.
pub struct Frames<R> {
    source: R,
    decoder: FrameDecoder,
    /// In a frame, and not at its end.
    inside: bool,
    /// There was one.
    any: bool,
}

impl<R: BufRead> Frames<R> {
    /// Frames that do not ask to remember more than this many bytes.
    pub fn new(source: R, max_window: u64) -> Self {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(max_window);
        Frames { source, decoder, inside: false, any: false }
    }

    /// Begins the next frame; whether there is one.
    fn next(&mut self) -> Result<bool> {
        loop {
            if self.source.fill_buf()?.is_empty() {
                return if self.any { Ok(false) } else { Err(Error::other("it is empty")) };
            }
            match self.decoder.init(&mut self.source) {
                Ok(()) => {
                    (self.inside, self.any) = (true, true);
                    return Ok(true);
                }
                // Something for other programs.
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    std::io::copy(&mut (&mut self.source).take(length.into()), &mut std::io::sink())?;
                }
                Err(e) => return Err(Error::other(e)),
            }
        }
    }
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        while self.inside || self.next()? {
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                let some = BlockDecodingStrategy::UptoBlocks(1);
                self.decoder.decode_blocks(&mut self.source, some).map_err(Error::other)?;
            }
            let count = self.decoder.read(buffer)?;
            if count > 0 {
                return Ok(count);
            }
            self.inside = false;
            let sum = self.decoder.get_checksum_from_data();
            if sum.is_some() && sum != self.decoder.get_calculated_checksum() {
                return Err(Error::other("its checksum is wrong"));
            }
        }
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    fn read(bytes: &[u8]) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        Frames::new(bytes, 1 << 20).read_to_end(&mut out).map(|_| out)
    }

    #[test]
    fn all_frames_are_read_and_a_damaged_one_is_an_error() {
        let one = compress_to_vec(&b"hello "[..], CompressionLevel::Fastest);
        let two = compress_to_vec(&b"world"[..], CompressionLevel::Fastest);
        let skipped = [&0x184D_2A50_u32.to_le_bytes()[..], &3_u32.to_le_bytes(), b"abc"].concat();
        let all = [&one[..], &skipped, &two].concat();
        assert_eq!(read(&all).unwrap(), b"hello world");
        assert!(read(b"").is_err());
        for cut in 1..two.len() {
            assert!(read(&all[..all.len() - cut]).is_err(), "{cut}");
        }
        let mut wrong = one.clone();
        *wrong.last_mut().unwrap() ^= 1;
        assert!(read(&wrong).is_err());
    }
}
