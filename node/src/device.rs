//! What this machine is, read from the operating system once.

use std::fs;

use hearth_protocol::capacity::{Device, DeviceKind};
use hearth_protocol::engine::DeviceFacts;
use hearth_protocol::unit::ByteCount;

/// Describes what computes here: processor cores, until an engine says otherwise.
pub(crate) fn describe() -> Device {
    let units = std::thread::available_parallelism().map_or(1, usize::from);
    Device {
        kind: DeviceKind::Cpu,
        name: processor_name().unwrap_or_else(|| "processor".to_owned()),
        memory: memory_total().unwrap_or_default(),
        units: u32::try_from(units).unwrap_or(u32::MAX),
    }
}

/// Describes a card as its engine reports it. How many units it has, nobody asks: a processor's count stays.
pub(crate) fn of_card(facts: &DeviceFacts, processor: &Device) -> Device {
    Device {
        kind: match facts.kind.as_str() {
            "cuda" => DeviceKind::Cuda,
            "metal" => DeviceKind::Metal,
            _ => DeviceKind::Cpu,
        },
        name: facts.name.chars().take(64).collect(),
        memory: facts.memory.unwrap_or(processor.memory),
        units: processor.units,
    }
}

fn processor_name() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().chars().take(64).collect())
}

fn memory_total() -> Option<ByteCount> {
    kib_line(&fs::read_to_string("/proc/meminfo").ok()?, "MemTotal:")
}

/// Returns the memory programs may still take; nothing where the system does not tell.
pub(crate) fn memory_available() -> Option<ByteCount> {
    kib_line(&fs::read_to_string("/proc/meminfo").ok()?, "MemAvailable:")
}

/// Returns the memory this process occupies; zero where the system does not tell.
pub(crate) fn memory_used() -> ByteCount {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    kib_line(&status, "VmRSS:").unwrap_or_default()
}

fn kib_line(text: &str, name: &str) -> Option<ByteCount> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(ByteCount::new(kib.saturating_mul(1024)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_proc_is_read_in_bytes() {
        assert_eq!(
            kib_line("a: 1 kB\nVmRSS:\t   12 kB\n", "VmRSS:"),
            Some(ByteCount::new(12_288))
        );
        assert_eq!(kib_line("", "VmRSS:"), None);
    }
}
