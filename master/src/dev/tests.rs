//! Stories about files that change, with scripted time.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustcorn_sys::Monotonic;
use rustcorn_sys::file::FileId;
use rustcorn_sys::watch::Heard;

use super::{Changes, PATIENCE, POLL, QUIET, Sight, Sights, Stamp};

const MS: Duration = Duration::from_millis(1);

fn there(version: u64) -> Sight {
    let file = FileId::at(Path::new("/")).expect("there is always one");
    Sight::There { stamp: Stamp { file, size: version, mode: 0o755, modified: (0, 0) }, whole: true }
}

fn half(version: u64) -> Sight {
    match there(version) {
        Sight::There { stamp, .. } => Sight::There { stamp, whole: false },
        Sight::Missing => Sight::Missing,
    }
}

fn sights(list: &[(&str, Sight)]) -> Sights {
    list.iter().map(|(path, sight)| (PathBuf::from(path), *sight)).collect()
}

/// Files, a clock, and the policy.
struct World {
    now: Monotonic,
    files: Sights,
    changes: Changes,
}

impl World {
    fn new(list: &[(&str, Sight)]) -> Self {
        let (now, files) = (Monotonic::now(), sights(list));
        Self { now, changes: Changes::new(now, files.clone(), false), files }
    }

    fn put(&mut self, path: &str, sight: Sight) {
        self.files.insert(path.into(), sight);
        self.changes.heard(self.now, vec![Heard::Settled(path.into())]);
    }

    /// Lets time pass and looks whenever the policy wants to; what is to be served, and after how long.
    fn pass(&mut self, time: Duration) -> Vec<(Duration, Vec<PathBuf>)> {
        let (start, mut served) = (self.now, Vec::new());
        while let Some(due) = self.changes.next_look().filter(|due| *due <= start + time) {
            self.now = due;
            let changed = self.changes.look(due, || self.files.clone());
            if !changed.is_empty() {
                served.push((due.since(start), changed));
            }
        }
        self.now = start + time;
        served
    }
}

#[test]
fn a_file_that_is_replaced_is_served_once_it_stays_the_same() {
    let mut world = World::new(&[("app", there(1)), ("app.toml", there(1))]);
    assert_eq!(world.pass(10 * PATIENCE), []);
    world.put("app", there(2));
    assert_eq!(world.pass(PATIENCE), [(2 * QUIET, vec!["app".into()])]);
    assert_eq!(world.changes.next_look(), None, "and no look without a reason");
}

#[test]
fn neighbours_do_not_matter_and_neither_does_a_touch_that_changes_nothing() {
    let mut world = World::new(&[("app", there(1))]);
    world.changes.heard(world.now, vec![Heard::Settled("app.d".into()), Heard::Settled("app".into()), Heard::Anything]);
    assert_eq!(world.pass(PATIENCE), []);
    assert_eq!(world.changes.next_look(), None);
}

#[test]
fn a_busy_neighbour_puts_nothing_off() {
    let mut world = World::new(&[("app.toml", there(1))]);
    world.changes.heard(world.now, vec![Heard::Written("error.log".into())]);
    assert_eq!(world.changes.next_look(), None, "a log is written all the time");
    world.put("app.toml", there(2));
    let mut served = Vec::new();
    for _ in 0..10 {
        let names = ["error.log", "error.log.1"].map(PathBuf::from);
        world.changes.heard(world.now, vec![Heard::Written(names[0].clone()), Heard::Settled(names[1].clone())]);
        served.extend(world.pass(QUIET / 2));
    }
    assert_eq!(served.into_iter().map(|(_, files)| files).collect::<Vec<_>>(), [vec![PathBuf::from("app.toml")]]);
}

#[test]
fn what_goes_on_changing_is_waited_for() {
    let mut world = World::new(&[("app", there(1))]);
    for version in 2..40 {
        world.put("app", there(version));
        assert_eq!(world.pass(QUIET / 2), [], "{version}");
    }
    assert_eq!(world.pass(PATIENCE), [(2 * QUIET - QUIET / 2, vec!["app".into()])]);
}

#[test]
fn a_program_that_is_removed_and_linked_again_is_one_change() {
    let mut world = World::new(&[("app", there(1))]);
    world.put("app", Sight::Missing);
    assert_eq!(world.pass(3 * PATIENCE), [], "without a file there is nothing to run");
    world.put("app", there(2));
    assert_eq!(world.pass(PATIENCE), [(2 * QUIET, vec!["app".into()])]);
    world.put("app", Sight::Missing);
    assert_eq!(world.pass(PATIENCE), []);
    world.put("app", there(2));
    assert_eq!(world.pass(PATIENCE), [], "the same as before");
}

#[test]
fn a_file_that_is_still_being_written_is_waited_for_and_tried_in_the_end() {
    let mut world = World::new(&[("app", there(1))]);
    world.files.insert("app".into(), there(2));
    world.changes.heard(world.now, vec![Heard::Written("app".into())]);
    assert_eq!(world.pass(PATIENCE / 2), [], "somebody has it open");
    world.put("app", there(3));
    assert_eq!(world.pass(PATIENCE), [(2 * QUIET, vec!["app".into()])], "closed");

    world.put("app", half(4));
    assert_eq!(world.pass(PATIENCE / 2), [], "without its end");
    world.put("app", there(5));
    assert_eq!(world.pass(PATIENCE / 4), [(2 * QUIET, vec!["app".into()])]);

    world.put("app", half(6));
    let served = world.pass(2 * PATIENCE);
    assert_eq!(served.len(), 1);
    assert!((PATIENCE..PATIENCE + 3 * QUIET).contains(&served[0].0), "a broken one is told by a reload: {served:?}");
}

#[test]
fn files_in_a_directory_come_and_go() {
    let mut world = World::new(&[("app.toml", there(1)), ("pages/a", there(1))]);
    world.put("pages/b", there(1));
    assert_eq!(world.pass(PATIENCE), [(2 * QUIET, vec!["pages/b".into()])]);
    world.files.remove(&PathBuf::from("pages/a"));
    world.changes.heard(world.now, vec![Heard::Settled("pages/a".into())]);
    assert_eq!(world.pass(PATIENCE), [(2 * QUIET, vec!["pages/a".into()])]);
}

#[test]
fn a_change_while_a_reload_is_under_way_is_served_by_the_next_one() {
    let mut world = World::new(&[("app", there(1))]);
    world.put("app", there(2));
    assert_eq!(world.pass(2 * QUIET).len(), 1);
    world.put("app", there(3)); // the generation that is loading may have the old one or this one
    let files = world.files.clone();
    world.changes.follow(world.now, files, false);
    assert_eq!(world.pass(PATIENCE).len(), 1);
    world.changes.follow(world.now, sights(&[("app", there(3)), ("other", there(1))]), false);
    world.files = sights(&[("app", there(3)), ("other", there(1))]);
    assert_eq!(world.pass(PATIENCE), [], "what is new to it is served as it is");
}

#[test]
fn where_nothing_can_be_heard_it_looks_every_second() {
    let mut world = World::new(&[("app.toml", there(1))]);
    world.changes = Changes::new(world.now, world.files.clone(), true);
    assert_eq!(world.pass(10 * POLL), []);
    world.files.insert("app.toml".into(), there(2)); // and nobody hears of it
    let served = world.pass(3 * POLL);
    assert_eq!(served.len(), 1);
    assert!(served[0].0 <= POLL + QUIET + MS, "{served:?}");
}
