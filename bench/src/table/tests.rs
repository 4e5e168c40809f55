use super::*;

#[test]
fn columns_line_up_names_left_and_figures_right() {
    let mut table = Table::new(["server", "µs"]);
    table.row(["nginx".to_owned(), "4.89".to_owned()]);
    assert_eq!(table.to_string(), "| server |   µs |\n|--------|-----:|\n| nginx  | 4.89 |\n");
}

#[test]
fn medians_and_ranges_of_odd_even_and_no_values() {
    assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
    assert!((median(&[4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
    assert_eq!(figure(median(&[]), 1), "–");
    assert_eq!(range(&[2.0, 1.0, 3.0], 1), "1.0–3.0");
    assert_eq!(range(&[], 1), "–");
}
