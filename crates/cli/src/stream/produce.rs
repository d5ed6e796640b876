//! `dvse produce`: sends the lines of a file to a topic.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read, stdin};
use std::path::{Path, PathBuf};
use std::time::Duration;

use dvse_ingest::pipeline::{PipelineConfig, ensure_topics};
use dvse_ingest::{LogError, Producer, RECORD_BYTES_MAX, TopicLog, TopicName, key_of, partition_of};

use super::{LogPlace, PARTITIONS, Waiting, block_on, log_failure, parse_place};
use crate::failure::{Failure, Remedy as _, Result};
use crate::progress::{Board, Task};
use crate::stop::Stop;

/// What to send where.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "A line: {\"source_id\": \"a\", \"timestamp\": 1700000000000, \"payload\": {...}, \"text\": \"...\"}, with\n\
                        \"vector\" in place of \"text\", and \"id\" and \"op\" (\"upsert\", \"delete\") if wanted.\n\n\
                        Example:\n  dvse produce --to file:log --file records.jsonl\n  \
                        tail -f records.jsonl | dvse produce --to file:log --file -"
)]
pub struct ProduceArguments {
    /// The log: file:DIR or pulsar://HOST:PORT.
    #[arg(long, value_name = "SOURCE", value_parser = parse_place)]
    pub to: LogPlace,
    /// The file of records, one a line; - is the standard input.
    #[arg(long, value_name = "FILE")]
    pub file: PathBuf,
    /// The topic.
    #[arg(long, value_name = "NAME", default_value_t = TopicName::raw_events())]
    pub topic: TopicName,
    /// Partitions of a topic that is not there yet.
    #[arg(long, value_name = "N", default_value_t = PARTITIONS, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub partitions: u32,
    /// Records to leave out, as an earlier run sent them.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub skip: u64,
    /// Report no progress.
    #[arg(long, short)]
    pub quiet: bool,
}

/// A longer record is refused: `ingest` would make nothing of it, and it would be in the memory of both.
const LINE_BYTES_MAX: u64 = RECORD_BYTES_MAX as u64;
const READ_BYTES: usize = 256 << 10;
/// Records are made durable at the latest after this many bytes.
const FLUSH_BYTES: usize = 4 << 20;
/// How long a held record waits before it is said why.
const HELD_WAIT: Duration = Duration::from_millis(500);

/// Sends the file.
///
/// # Errors
/// The file cannot be read, or the log cannot be written. The message says how many records are sent and how to go on.
pub fn run(arguments: &ProduceArguments) -> Result<()> {
    let lines = open(&arguments.file)?;
    let stop = Stop::watch()?;
    let board = Board::new(arguments.quiet);
    let log = arguments.to.open(Waiting::until(&stop, &board))?;
    block_on(async {
        let producers = open_producers(&*log, arguments).await?;
        let task = board.task("sent", "records", None);
        let mut sender = Sender {
            producers,
            board: &board,
            stop: &stop,
            task,
            durable: arguments.skip,
            unflushed: 0,
            is_told: false,
        };
        sender.task.resume_at(arguments.skip);
        let outcome = sender.send_all(lines, arguments.skip).await;
        // What was appended is flushed whatever stopped the reading.
        let outcome = sender.flush().await.and(outcome);
        let sent = sender.durable;
        match outcome {
            Ok(()) => {
                sender.task.finish();
                Ok(())
            }
            Err(failure) => Err(failure.doing_more(
                format!("the first {sent} records are sent"),
                format!("run the same command with --skip {sent} to go on"),
            )),
        }
    })
}

/// The file's bytes, with what is read ahead of them.
type Lines = BufReader<Box<dyn Read>>;

fn open(path: &Path) -> Result<Lines> {
    if path == Path::new("-") {
        return Ok(BufReader::with_capacity(READ_BYTES, Box::new(stdin())));
    }
    let file = File::open(path).doing(|| format!("cannot open {}", path.display()));
    let file = file.help(|| "check the path; - reads the standard input".to_owned())?;
    Ok(BufReader::with_capacity(READ_BYTES, Box::new(file)))
}

/// Passes over the rest of a line and returns how long that is; of one without an end, a part.
fn skip_line(lines: &mut Lines) -> Result<u64> {
    const COUNTED_MAX: u64 = 1 << 30;
    let mut bytes = 0;
    loop {
        let there = lines.fill_buf().doing(|| "cannot read the records".to_owned())?;
        let (end, is_over) = match there.iter().position(|byte| *byte == b'\n') {
            Some(at) => (at, true),
            None => (there.len(), there.is_empty()),
        };
        bytes += end as u64;
        let taken = end + usize::from(end < there.len());
        lines.consume(taken);
        if is_over || bytes >= COUNTED_MAX {
            return Ok(bytes);
        }
    }
}

async fn open_producers(log: &dyn TopicLog, arguments: &ProduceArguments) -> Result<Vec<Box<dyn Producer>>> {
    let config = PipelineConfig { raw_events: arguments.topic.clone(), ..PipelineConfig::of("") };
    let partitions = ensure_topics(log, &config, arguments.partitions).await.map_err(log_failure)?;
    let mut producers = Vec::new();
    for partition in 0..partitions {
        producers.push(log.shared_producer(&arguments.topic, partition).await.map_err(log_failure)?);
    }
    Ok(producers)
}

struct Sender<'a> {
    producers: Vec<Box<dyn Producer>>,
    board: &'a Board,
    stop: &'a Stop,
    task: Task,
    /// Records that are sent durably, those of an earlier run included.
    durable: u64,
    /// Records since then.
    unflushed: u64,
    /// Whether it was said that producers are held.
    is_told: bool,
}

impl Sender<'_> {
    async fn send_all(&mut self, mut lines: Lines, skip: u64) -> Result<()> {
        let mut line = Vec::new();
        let (mut number, mut bytes) = (0, 0);
        loop {
            line.clear();
            let read = (&mut lines).take(LINE_BYTES_MAX + 1).read_until(b'\n', &mut line);
            if read.doing(|| "cannot read the records".to_owned())? == 0 {
                return Ok(());
            }
            let record = line.trim_ascii();
            if !record.is_empty() {
                number += 1;
                if record.len() as u64 > LINE_BYTES_MAX {
                    let bytes = record.len() as u64 + skip_line(&mut lines)?;
                    return Err(Failure::new(format!(
                        "record {number} has {bytes} bytes, more than the {LINE_BYTES_MAX} that a record may have"
                    ))
                    .with_help(
                        "take it out of the file, or keep its content elsewhere and send a reference; a record is one line",
                    ));
                }
                if number > skip {
                    self.send(record).await?;
                    bytes += record.len();
                }
            }
            // With nothing more at hand, what was sent is not kept waiting for more.
            if bytes >= FLUSH_BYTES || !lines.buffer().contains(&b'\n') {
                self.flush().await?;
                bytes = 0;
                if self.stop.is_asked() {
                    return Err(Failure::new("stopped"));
                }
            }
        }
    }

    async fn send(&mut self, record: &[u8]) -> Result<()> {
        let key = key_of(record);
        let count = u32::try_from(self.producers.len()).unwrap_or(u32::MAX);
        let partition = partition_of(&key, count) as usize;
        loop {
            let Some(producer) = self.producers.get_mut(partition) else { return Ok(()) };
            match producer.append(&key, record, HELD_WAIT).await {
                Ok(()) => break,
                Err(error) => self.wait_for_room(error)?,
            }
            self.flush().await?;
        }
        self.is_told = false;
        self.unflushed += 1;
        Ok(())
    }

    /// Says that producers are held, once; fails where that is not what happened, or there is no point in waiting.
    fn wait_for_room(&mut self, error: LogError) -> Result<()> {
        if !error.is_held() || self.stop.is_asked() {
            return Err(log_failure(error));
        }
        if !std::mem::replace(&mut self.is_told, true) {
            self.board.say(&format!("waiting: {error}"));
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        if self.unflushed == 0 {
            return Ok(());
        }
        for at in 0..self.producers.len() {
            while let Some(producer) = self.producers.get_mut(at)
                && let Err(error) = producer.flush().await
            {
                self.wait_for_room(error)?;
            }
        }
        self.is_told = false;
        self.durable += self.unflushed;
        self.unflushed = 0;
        self.task.set(self.durable);
        Ok(())
    }
}
