use super::*;

#[test]
fn schedstat_is_running_waiting_and_slices() {
    assert_eq!(CpuTime::parse("152212 40 1\n"), Some(CpuTime { running: 152_212, waiting: 40 }));
    assert_eq!(CpuTime::parse(""), None);
}

#[test]
fn the_parent_is_found_behind_any_name_and_a_zombie_has_none() {
    assert_eq!(parse_parent("7 (a b) c) S 5 7 7 0 -1"), Some(5));
    assert_eq!(parse_parent("7 (nginx) Z 5 7 7 0 -1"), None);
}

#[test]
fn memory_takes_the_proportional_share() {
    let text = "00400000-7fff ---p 00000000 00:00 0 [rollup]\nRss: 1772 kB\nPss:                 268 kB\n\
                Pss_Anon: 120 kB\nPss_File: 148 kB\nPss_Shmem: 0 kB\n";
    assert_eq!(Memory::parse(text), Memory { total: 268, anonymous: 120, file: 148, shared: 0 });
}

#[test]
fn this_process_has_used_cpu_time_and_memory() {
    let this = std::process::id();
    assert!(CpuTime::of(&[this]).running > 0);
    assert!(Memory::of(this).unwrap().total > 0);
}

#[test]
fn stolen_time_is_a_share_of_all_time() {
    let before = Machine::parse("cpu  100 0 50 800 10 0 5 35 7 0\ncpu0 1 2 3\n");
    let after = Machine::parse("cpu  140 0 60 840 10 0 5 45 7 0\ncpu0 1 2 3\n");
    assert_eq!(before, Machine { all: 1000, stolen: 35 });
    assert!((after.stolen_since(before) - 10.0).abs() < 1e-9);
}
