//! Numbers as people read them.

/// A number with commas between its thousands.
pub(super) fn grouped(number: f64, digits: usize) -> String {
    let text = format!("{number:.digits$}");
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut out = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out + rest
}

/// So many times as much: with fewer digits where they say nothing.
pub(super) fn times(ratio: f64) -> String {
    grouped(ratio, if ratio < 10.0 { 2 } else { 1 })
}

/// A rate: whole, or with three digits that say something.
pub(super) fn rate(number: f64) -> String {
    grouped(number, if number >= 100.0 { 0 } else { 2 })
}

/// Rows of cells as a table of Markdown, the first row its heads. Columns whose number is not in
/// `words` are numbers.
pub(super) fn markdown(rows: &[Vec<String>], words: &[usize]) -> String {
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        let cells: Vec<_> = row.iter().map(|cell| cell.replace('|', "\\|")).collect();
        text += &format!("| {} |\n", cells.join(" | "));
        if number == 0 {
            let sides = (0..row.len()).map(|at| if words.contains(&at) { "---" } else { "--:" });
            text += &format!("| {} |\n", sides.collect::<Vec<_>>().join(" | "));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_told_apart() {
        assert_eq!(grouped(1_234_567.25, 1), "1,234,567.2");
        assert_eq!(grouped(999.0, 0), "999");
        assert_eq!(grouped(1000.0, 0), "1,000");
        assert_eq!((rate(12.345), rate(1234.5)), ("12.35".to_owned(), "1,234".to_owned()));
    }

    /// A cell cannot break its row, and numbers stand at the right.
    #[test]
    fn tables_are_markdown() {
        let rows = [["a", "b"], ["x|y", "1"]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(markdown(&rows, &[0]), "| a | b |\n| --- | --: |\n| x\\|y | 1 |\n");
    }
}
