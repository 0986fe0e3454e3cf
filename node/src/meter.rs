//! Energy meters of this machine: the processor's own (RAPL) and NVIDIA cards' (NVML).
//!
//! Both count all that runs on them, so what a job took includes what else was going on; a reading is
//! told as metered, an estimate from rated power as rated.

use std::fs;
use std::path::{Path, PathBuf};

use nvml_wrapper::Nvml;

/// Where Linux shows the processor packages' counters.
const POWERCAP: &str = "/sys/class/powercap";

/// A machine's meters.
#[derive(Debug)]
pub(crate) struct Meter {
    packages: Vec<Package>,
    cards: Option<Nvml>,
}

/// One processor package's counter, in microjoules.
#[derive(Debug)]
struct Package {
    counter: PathBuf,
    /// Where it begins again at zero.
    range: u64,
}

/// What the meters showed at some time.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reading {
    /// Microjoules of each package; nothing where it could not be read.
    packages: Vec<Option<u64>>,
    /// Millijoules of each card; nothing where it could not be read.
    cards: Vec<Option<u64>>,
}

impl Meter {
    /// Finds the meters that can be read; nothing where there are none.
    pub(crate) fn find() -> Option<Self> {
        let packages = packages(Path::new(POWERCAP));
        let cards = Nvml::init().ok();
        (!packages.is_empty() || cards.is_some()).then_some(Self { packages, cards })
    }

    /// Reads all meters.
    pub(crate) fn read(&self) -> Reading {
        let packages = self.packages.iter();
        let packages = packages.map(|package| number(&package.counter));
        let count = self
            .cards
            .as_ref()
            .and_then(|nvml| nvml.device_count().ok());
        let cards = (0..count.unwrap_or(0)).map(|i| {
            let nvml = self.cards.as_ref();
            let card = nvml.and_then(|nvml| nvml.device_by_index(i).ok());
            card.and_then(|card| card.total_energy_consumption().ok())
        });
        Reading {
            packages: packages.collect(),
            cards: cards.collect(),
        }
    }

    /// Returns the millijoules since an earlier reading, of the meters that could be read both times.
    pub(crate) fn since(&self, earlier: &Reading) -> u64 {
        let now = self.read();
        let pairs = self
            .packages
            .iter()
            .zip(earlier.packages.iter().zip(&now.packages));
        let packages: u64 = pairs
            .filter_map(|(package, (from, to))| Some(grown((*from)?, (*to)?, package.range) / 1000))
            .sum();
        let cards = earlier.cards.iter().zip(&now.cards);
        let cards: u64 = cards
            .filter_map(|(from, to)| Some((*to)?.saturating_sub((*from)?)))
            .sum();
        packages.saturating_add(cards)
    }
}

fn packages(folder: &Path) -> Vec<Package> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut found: Vec<Package> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            // `intel-rapl:0` is a package, `intel-rapl:0:1` a part of it.
            let name = path.file_name().and_then(|name| name.to_str());
            name.is_some_and(|name| {
                name.starts_with("intel-rapl:") && name.matches(':').count() == 1
            })
        })
        .filter_map(|path| {
            let counter = path.join("energy_uj");
            number(&counter)?;
            let range = number(&path.join("max_energy_range_uj"))?;
            Some(Package { counter, range })
        })
        .collect();
    found.sort_by(|a, b| a.counter.cmp(&b.counter));
    found
}

fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// Returns how far a counter went that begins again behind `range`.
const fn grown(from: u64, to: u64, range: u64) -> u64 {
    if to >= from {
        to - from
    } else {
        to + range.saturating_sub(from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_counted_and_their_parts_are_not() {
        let dir = tempfile::tempdir().unwrap();
        for (name, value) in [
            ("intel-rapl:0", "500"),
            ("intel-rapl:0:0", "7"),
            ("dtpm", "1"),
        ] {
            let path = dir.path().join(name);
            fs::create_dir(&path).unwrap();
            fs::write(path.join("energy_uj"), format!("{value}\n")).unwrap();
            fs::write(path.join("max_energy_range_uj"), "1000\n").unwrap();
        }
        let meter = Meter {
            packages: packages(dir.path()),
            cards: None,
        };
        let before = meter.read();
        assert_eq!(before.packages, [Some(500)]);
        fs::write(dir.path().join("intel-rapl:0/energy_uj"), "2500").unwrap();
        assert_eq!(meter.since(&before), 2);
    }

    #[test]
    fn a_counter_that_begins_again_goes_on() {
        assert_eq!(grown(900, 100, 1000), 200);
        assert_eq!(grown(100, 900, 1000), 800);
    }
}
