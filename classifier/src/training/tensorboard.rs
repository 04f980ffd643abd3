//! Event files for TensorBoard.
//!
//! The format is TFRecord framing around `tensorflow.Event` messages (tensorflow 2.20, `core/lib/io/record_writer.cc` and
//! `core/util/event.proto`, `core/framework/summary.proto`); the few fields in use are declared here.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use prost::Message;

/// `tensorflow.Event`
#[derive(Clone, PartialEq, Message)]
struct Event {
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(string, optional, tag = "3")]
    file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    summary: Option<Summary>,
    #[prost(message, optional, tag = "7")]
    session_log: Option<SessionLog>,
}

/// `tensorflow.SessionLog`
#[derive(Clone, PartialEq, Message)]
struct SessionLog {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// `tensorflow.Summary`
#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<Value>,
}

/// `tensorflow.Summary.Value`
#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
    #[prost(message, optional, tag = "4")]
    image: Option<Image>,
}

/// `tensorflow.Summary.Image`
#[derive(Clone, PartialEq, Message)]
struct Image {
    #[prost(int32, tag = "1")]
    height: i32,
    #[prost(int32, tag = "2")]
    width: i32,
    #[prost(int32, tag = "3")]
    colorspace: i32,
    #[prost(bytes = "vec", tag = "4")]
    encoded_image_string: Vec<u8>,
}

/// `SessionLog.START`: entries of older files for this step and later ones are void.
const START: i32 = 1;

/// `Summary.Image.colorspace` of gray.
const GRAY: i32 = 1;

/// An event file; each start of a run writes a new one, and TensorBoard joins them.
#[derive(Debug)]
pub struct EventFile(File);

impl EventFile {
    /// A new file in `folder` for a run that continues at `step`.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn create(folder: &Path, step: u64) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let time = now();
        // TensorBoard reads files in the order of their names: seconds, then a part that distinguishes starts within a second.
        let name = format!("events.out.tfevents.{:010}.{:09}.{step}", time.trunc() as u64, (time.fract() * 1e9) as u64);
        let mut file = Self(File::create(folder.join(name))?);
        file.write(Event { file_version: Some("brain.Event:2".to_owned()), ..Event::default() })?;
        file.write(Event { step: step as i64, session_log: Some(SessionLog { status: START }), ..Event::default() })?;
        Ok(file)
    }

    /// Numbers of a step by their tags.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn scalars(&mut self, step: u64, values: &[(String, f64)]) -> io::Result<()> {
        let value = |(tag, value): &(String, f64)| Value { tag: tag.clone(), simple_value: Some(*value as f32), image: None };
        let summary = Some(Summary { value: values.iter().map(value).collect() });
        self.write(Event { step: step as i64, summary, ..Event::default() })
    }

    /// A gray picture of a step, as the bytes of a PNG.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn image(&mut self, step: u64, tag: &str, [height, width]: [usize; 2], png: Vec<u8>) -> io::Result<()> {
        let image = Image { height: height as i32, width: width as i32, colorspace: GRAY, encoded_image_string: png };
        let value = Value { tag: tag.to_owned(), simple_value: None, image: Some(image) };
        self.write(Event { step: step as i64, summary: Some(Summary { value: vec![value] }), ..Event::default() })
    }

    fn write(&mut self, event: Event) -> io::Result<()> {
        let record = record(&Event { wall_time: now(), ..event }.encode_to_vec());
        self.0.write_all(&record)
    }
}

/// Seconds since 1970.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

/// Length, checksum of the length, data, checksum of the data.
fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let mut record = Vec::with_capacity(data.len() + 16);
    record.extend(length);
    record.extend(masked(&length).to_le_bytes());
    record.extend(data);
    record.extend(masked(data).to_le_bytes());
    record
}

/// CRC-32C, masked because checksums of checksums are weak (`core/lib/hash/crc32c.h`).
fn masked(data: &[u8]) -> u32 {
    crc32c::crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Python: `tensorboard.compat.proto.event_pb2.Event(wall_time=1.5, step=7, summary=Summary(value=[Summary.Value(tag="loss",
    /// simple_value=0.25)])).SerializeToString()` (tensorboard 2.21.0).
    const EVENT: [u8; 26] =
        [9, 0, 0, 0, 0, 0, 0, 248, 63, 16, 7, 42, 13, 10, 11, 10, 4, b'l', b'o', b's', b's', 21, 0, 0, 128, 62];

    #[test]
    fn an_event_has_tensorflows_bytes() {
        let value = Value { tag: "loss".to_owned(), simple_value: Some(0.25), image: None };
        let event = Event { wall_time: 1.5, step: 7, summary: Some(Summary { value: vec![value] }), ..Event::default() };
        assert_eq!(event.encode_to_vec(), EVENT);
    }

    // RFC 3720, appendix B.4: CRC-32C of 32 zero bytes is 0x8a9136aa; the mask by hand.
    #[test]
    fn checksums_are_masked() {
        let crc = 0x8a91_36aa_u32;
        assert_eq!(masked(&[0; 32]), crc.rotate_right(15).wrapping_add(0xa282_ead8));
    }

    #[test]
    fn files_are_whole_records() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = EventFile::create(folder.path(), 3).unwrap();
        file.scalars(4, &[("loss".to_owned(), 0.5)]).unwrap();
        let path = std::fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
        let bytes = std::fs::read(path).unwrap();
        let (mut at, mut events) = (0, Vec::new());
        while at < bytes.len() {
            let length = u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize;
            events.push(Event::decode(&bytes[at + 12..at + 12 + length]).unwrap());
            at += 16 + length;
        }
        assert_eq!(events.len(), 3);
        assert_eq!(events[1].session_log.as_ref().unwrap().status, START);
        assert_eq!((events[2].step, events[2].summary.as_ref().unwrap().value[0].simple_value), (4, Some(0.5)));
    }
}
