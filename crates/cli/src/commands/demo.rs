//! `demo`: the main job, end to end, on real directories and real sockets.

mod edits;
mod report;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use multibee::{Home, Multibee, Options, RangeSpec};

use self::report::{Row, table};
use super::files::RECORDS_PER_COMMIT;
use super::online::runtime;
use crate::exit::{Exit, fail};
use crate::output::Output;
use crate::records::{self, Format, Record, Records};
use crate::text;

/// The records that come with the program: countries and their subdivisions.
const ISO_3166: &[u8] = include_bytes!("../../../../data/iso3166.jsonl");

/// Marks a directory that the demo made, and may therefore remove.
const MARK: &str = "made-by-multibee-demo";

/// How long catching up may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// One of the three devices.
struct Device {
    name: &'static str,
    db: Multibee,
    /// From the first connection until it had merged everything.
    caught_up_in: Duration,
}

pub(super) fn run(file: Option<&Path>, out: &Path, output: &mut Output) -> anyhow::Result<Exit> {
    let records = load(file)?;
    prepare(out)?;
    let mut devices = [create("laptop", out)?, create("phone", out)?, create("cloud", out)?];
    let [laptop, phone, cloud] = &devices;
    introduce(laptop, phone, cloud)?;
    eprintln!(
        "Three devices, in {}. Laptop and phone know the cloud, and not each other.",
        out.display()
    );

    let started = Instant::now();
    let (even, odd): (Vec<_>, Vec<_>) =
        records.iter().enumerate().partition(|(number, _)| number % 2 == 0);
    import(laptop, even.into_iter().map(|(_, record)| record))?;
    import(phone, odd.into_iter().map(|(_, record)| record))?;
    let edits = edits::make(&laptop.db, &phone.db, &records)?;
    eprintln!("While offline, both then edited: {edits}.");
    eprintln!(
        "{} writes in {:.2} s.",
        records.len() as u64 + edits.count(),
        started.elapsed().as_secs_f64()
    );

    runtime()?.block_on(async {
        let [laptop, phone, cloud] = &devices;
        let address = cloud.db.listen("127.0.0.1:0").await?;
        eprintln!("The cloud listens on {address}; laptop and phone connect.");
        let started = Instant::now();
        laptop.db.connect(address).await?;
        phone.db.connect(address).await?;
        let times = catch_up(&devices, started).await?;
        for (device, time) in devices.iter_mut().zip(times) {
            device.caught_up_in = time;
        }
        finish(devices, out, output).await
    })
}

fn load(file: Option<&Path>) -> anyhow::Result<Vec<Record>> {
    let (name, records): (String, Vec<_>) = match file {
        Some(path) => (path.display().to_string(), records::open(path)?.collect()),
        None => ("ISO 3166".into(), Records::new(ISO_3166, Format::JsonLines).collect()),
    };
    let records = records.into_iter().map(|(line, record)| {
        record.map_err(|what| fail(Exit::Usage, format!("{name}: line {line}: {what}")))
    });
    let records = records.collect::<anyhow::Result<Vec<_>>>()?;
    if records.len() < edits::RECORDS_MIN {
        let what = format!(
            "{name}: {} records are too few: the demo needs {}",
            records.len(),
            edits::RECORDS_MIN
        );
        return Err(fail(Exit::Usage, what));
    }
    eprintln!("{} records of {name}.", records.len());
    Ok(records)
}

/// An empty directory. What an earlier demo left there goes; anything else stays, and is an error.
fn prepare(out: &Path) -> anyhow::Result<()> {
    let named = || out.display().to_string();
    if out.exists() {
        if !out.join(MARK).is_file() {
            let what =
                format!("{} exists and was not made by a demo: choose another with --out", named());
            return Err(fail(Exit::Usage, what));
        }
        std::fs::remove_dir_all(out).with_context(named)?;
    }
    std::fs::create_dir_all(out).with_context(named)?;
    std::fs::write(out.join(MARK), "The next demo in this place removes this directory.\n")
        .with_context(named)
}

fn create(name: &'static str, out: &Path) -> anyhow::Result<Device> {
    let db = Multibee::create(Home::dir(out.join(name)), Options::default())?;
    Ok(Device { name, db, caught_up_in: Duration::ZERO })
}

/// Laptop and phone admit the cloud, the cloud admits both: so each is a member for all.
fn introduce(laptop: &Device, phone: &Device, cloud: &Device) -> anyhow::Result<()> {
    laptop.db.add_named(cloud.db.key(), Some("cloud".into()))?;
    phone.db.add_named(cloud.db.key(), Some("cloud".into()))?;
    cloud.db.add_named(laptop.db.key(), Some("laptop".into()))?;
    cloud.db.add_named(phone.db.key(), Some("phone".into()))?;
    Ok(())
}

fn import<'a>(
    device: &Device,
    records: impl ExactSizeIterator<Item = &'a Record>,
) -> anyhow::Result<()> {
    let bar = bar(device.name, "records imported", records.len() as u64)?;
    let mut records = records.peekable();
    let mut count = 0;
    while records.peek().is_some() {
        let mut batch = device.db.batch();
        for record in records.by_ref().take(RECORDS_PER_COMMIT) {
            batch.put(&record.key, record.value.clone());
        }
        count += batch.len();
        bar.inc(batch.len() as u64);
        batch.commit()?;
    }
    bar.finish_and_clear();
    eprintln!("{:>7}: {count} records imported", device.name);
    Ok(())
}

fn bar(name: &'static str, what: &'static str, total: u64) -> anyhow::Result<ProgressBar> {
    let style = "{prefix:>7}: {bar:40} {pos}/{len} {msg}";
    let bar = ProgressBar::new(total).with_prefix(name).with_message(what);
    bar.set_style(ProgressStyle::with_template(style)?);
    Ok(bar)
}

/// Shows each device catching up, and waits until all hold the same. Returns how long each took.
async fn catch_up(devices: &[Device], started: Instant) -> anyhow::Result<Vec<Duration>> {
    let bars = MultiProgress::new();
    let mut shown = Vec::new();
    for device in devices {
        shown.push(bars.add(bar(device.name, "blocks of others merged", 0)?));
    }
    let mut times = vec![None; devices.len()];
    let mut changes: Vec<_> = devices.iter().map(|device| device.db.changes()).collect();
    loop {
        changes.iter_mut().for_each(|changed| {
            changed.borrow_and_update();
        });
        let progress = report::progress(devices)?;
        for ((bar, time), at) in shown.iter().zip(&mut times).zip(&progress) {
            bar.set_length(at.total);
            bar.set_position(at.done);
            if at.done == at.total {
                time.get_or_insert_with(|| started.elapsed());
            } else {
                *time = None;
            }
        }
        if progress.iter().all(|at| at.done == at.total) {
            break;
        }
        if started.elapsed() > PATIENCE {
            return Err(fail(Exit::NotSynced, "the devices did not catch up in time"));
        }
        let any = any_changed(&mut changes);
        let _ = tokio::time::timeout(Duration::from_secs(1), any).await;
    }
    for device in devices {
        device.db.wait_synced(PATIENCE).await?;
    }
    bars.clear()?;
    Ok(times.into_iter().map(|time| time.unwrap_or_else(|| started.elapsed())).collect())
}

/// Waits until one of three counters moves.
async fn any_changed(changes: &mut [tokio::sync::watch::Receiver<u64>]) {
    if let [one, two, three] = changes {
        tokio::select! {
            _ = one.changed() => {}
            _ = two.changed() => {}
            _ = three.changed() => {}
        }
    }
}

async fn finish(devices: [Device; 3], out: &Path, output: &mut Output) -> anyhow::Result<Exit> {
    let rows = devices.iter().map(Row::of).collect::<anyhow::Result<Vec<_>>>()?;
    let differences = report::differences(&devices, &rows)?;
    if output.is_json() {
        for row in &rows {
            output.print(&row.json(), "")?;
        }
    } else {
        output.print(&serde_json::Value::Null, &table(&rows))?;
    }
    let first = devices[0].db.range(RangeSpec { limit: Some(1), ..RangeSpec::default() })?.next();
    let key = first.transpose()?.map(|entry| entry.key).unwrap_or_default();
    for device in devices {
        device.db.close().await?;
    }
    if let Some(differences) = differences {
        return Err(fail(Exit::Integrity, differences));
    }
    eprintln!(
        "All three hold the same data, the same conflicts and the same digest: checked by a full scan of each."
    );
    eprintln!("\nThe directories stay. Next, try:\n");
    for line in report::next_steps(out, &text::shown(&key)) {
        eprintln!("  {line}");
    }
    Ok(Exit::Ok)
}
