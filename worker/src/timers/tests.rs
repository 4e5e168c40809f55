//! How often the worker looks.

use super::*;

#[test]
fn eight_looks_within_the_shortest_limit_but_neither_too_many_nor_too_few() {
    let ms = Duration::from_millis;
    assert_eq!(tick(&[ms(30_000), ms(75_000), ms(30_000)]), BEAT);
    assert_eq!(tick(&[ms(2_000), ms(75_000)]), ms(250));
    assert_eq!(tick(&[ms(1)]), FINEST);
    assert_eq!(tick(&[Duration::ZERO, ms(4_000)]), ms(500));
    assert_eq!(tick(&[Duration::ZERO]), BEAT);
}
