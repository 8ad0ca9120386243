//! Looking over a change's bytes before they are unpacked: runs are short to write and long to read.
//!
//! The layout is that of Automerge's binary format: a header, what the change is, and columns, each
//! of them compressed by runs.

use crate::StateError;
use crate::codec::Reader;
use crate::limits::{MAX_NAME_BYTES, MAX_OPS, MAX_WRITTEN_OPS};

/// The first bytes of everything that Automerge stores.
pub(crate) const MAGIC: &[u8] = &[0x85, 0x6f, 0x4a, 0x83];

/// The number of chunks that hold one change, not deflated.
const CHANGE: u8 = 1;

/// What may still be unpacked.
#[derive(Debug)]
pub(crate) struct Budget {
    ops: u64,
    name_bytes: u64,
}

/// How a column's values are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    /// How many entries of the columns that follow belong to each operation.
    Group,
    Number,
    /// Differences, signed.
    Delta,
    Flags,
    Text,
    /// Bytes of values, as they are.
    Raw,
}

impl Budget {
    /// What a state may hold that is read.
    pub(crate) const fn to_read() -> Self {
        Self { ops: MAX_OPS, name_bytes: MAX_NAME_BYTES }
    }

    /// What a write may leave in a state.
    pub(crate) const fn to_write() -> Self {
        Self { ops: MAX_WRITTEN_OPS, name_bytes: MAX_NAME_BYTES }
    }

    /// Checks that these bytes have the shape of one change, and takes what it holds off the budget.
    pub(crate) fn check(&mut self, change: &[u8]) -> Result<(), StateError> {
        let mut reader = Reader::over(change);
        if reader.take(MAGIC.len() as u64)? != MAGIC {
            return Err(StateError::Malformed { what: "bytes that are no change" });
        }
        // A checksum, which is looked at when the change is read.
        reader.take(4)?;
        if reader.byte()? != CHANGE {
            return Err(StateError::Malformed { what: "a chunk that is no plain change" });
        }
        let len = reader.varint()?;
        let body = reader.take(len)?;
        reader.end()?;
        self.check_body(Reader::over(body))
    }

    fn check_body(&mut self, mut reader: Reader<'_>) -> Result<(), StateError> {
        for _ in 0..reader.varint()? {
            reader.take(32)?;
        }
        skip(&mut reader)?;
        let (_seq, _first_op, _time) = (reader.varint()?, reader.varint()?, signed(&mut reader)?);
        skip(&mut reader)?;
        for _ in 0..reader.varint()? {
            skip(&mut reader)?;
        }
        let mut columns = Vec::new();
        for _ in 0..reader.varint()? {
            columns.push((reader.varint()?, reader.varint()?));
        }
        let mut ops = 0;
        for (spec, len) in columns {
            let rows = self.rows(Column::of(spec)?, Reader::over(reader.take(len)?))?;
            ops = rows.max(ops);
        }
        self.ops = self.ops.checked_sub(ops).ok_or(TOO_MANY_OPS)?;
        Ok(())
    }

    /// How many rows a column has.
    fn rows(&mut self, column: Column, mut reader: Reader<'_>) -> Result<u64, StateError> {
        let (mut rows, mut grouped) = (0_u64, 0_u64);
        if column == Column::Raw {
            return Ok(0);
        }
        while !reader.is_empty() {
            let run = if column == Column::Flags {
                reader.varint()?
            } else {
                match signed(&mut reader)? {
                    0 => reader.varint()?,
                    run @ 1.. => {
                        let run = run.unsigned_abs();
                        self.value(column, &mut reader, run, &mut grouped)?;
                        run
                    }
                    run => {
                        for _ in 0..run.unsigned_abs() {
                            self.value(column, &mut reader, 1, &mut grouped)?;
                        }
                        run.unsigned_abs()
                    }
                }
            };
            rows = rows.saturating_add(run);
        }
        let rows = rows.max(grouped);
        if rows > self.ops { Err(TOO_MANY_OPS) } else { Ok(rows) }
    }

    /// Reads a value that stands in so many rows.
    fn value(
        &mut self,
        column: Column,
        reader: &mut Reader<'_>,
        run: u64,
        grouped: &mut u64,
    ) -> Result<(), StateError> {
        match column {
            Column::Group => {
                *grouped = grouped.saturating_add(reader.varint()?.saturating_mul(run))
            }
            Column::Text => {
                let len = reader.varint()?;
                reader.take(len)?;
                let names = self.name_bytes.checked_sub(len.saturating_mul(run));
                self.name_bytes = names.ok_or(StateError::TooMany {
                    what: "bytes of names",
                    limit: MAX_NAME_BYTES as usize,
                })?;
            }
            Column::Delta => drop(signed(reader)?),
            Column::Number | Column::Flags | Column::Raw => drop(reader.varint()?),
        }
        Ok(())
    }
}

impl Column {
    fn of(spec: u64) -> Result<Self, StateError> {
        if spec & 8 != 0 {
            return Err(StateError::Malformed { what: "a deflated column in a change" });
        }
        Ok(match spec & 7 {
            0 => Self::Group,
            1 | 2 | 6 => Self::Number,
            3 => Self::Delta,
            4 => Self::Flags,
            5 => Self::Text,
            _ => Self::Raw,
        })
    }
}

fn skip(reader: &mut Reader<'_>) -> Result<(), StateError> {
    let len = reader.varint()?;
    reader.take(len).map(drop)
}

/// A signed number, seven bits a byte; the second highest bit of the last byte is the sign.
fn signed(reader: &mut Reader<'_>) -> Result<i64, StateError> {
    let mut value = 0_i64;
    for shift in (0..70).step_by(7) {
        let byte = reader.byte()?;
        if shift < 64 {
            value |= i64::from(byte & 0x7f) << shift;
        }
        if byte < 0x80 {
            let is_negative = byte & 0x40 != 0 && shift + 7 < 64;
            return Ok(if is_negative { value | (-1 << (shift + 7)) } else { value });
        }
    }
    Err(StateError::Malformed { what: "a number beyond 64 bits" })
}

const TOO_MANY_OPS: StateError =
    StateError::TooMany { what: "operations", limit: MAX_OPS as usize };
