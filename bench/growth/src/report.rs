//! The table: a row for each bar.

#[derive(Default)]
pub(crate) struct Report {
    rows: usize,
    missed: usize,
}

impl Report {
    /// A figure that may be at most `bar`.
    pub(crate) fn at_most(&mut self, what: &str, figure: f64, bar: f64) {
        let met = figure <= bar;
        if self.rows == 0 {
            println!("{:76} {:>10} {:>10}", "", "figure", "at most");
        }
        let verdict = if met { "met" } else { "MISSED" };
        println!("{what:76} {figure:10.2} {bar:10.2}  {verdict}");
        self.rows += 1;
        self.missed += usize::from(!met);
    }

    /// Whether something was measured, and every bar is met.
    pub(crate) const fn all_met(&self) -> bool {
        self.rows > 0 && self.missed == 0
    }
}
