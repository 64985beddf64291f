//! What a person sees: every view is a pure function of its data and of the [`Screen`].

mod amount;
mod describe;
mod doctor;
mod inspect;
mod list;
pub mod pm2;
mod ports;
#[cfg(test)]
mod sample;
mod settings;

pub use describe::{Versions, describe};
pub use doctor::doctor;
pub use inspect::inspect;
pub use list::{Field, Listing, Sort, list};
pub use ports::ports;

use std::io::IsTerminal;

use comfy_table::{ContentArrangement, Table, presets::NOTHING};

/// What the output can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Screen {
    /// Letters in a line; `None` where lines may be as long as they like (a pipe, a file).
    pub width: Option<u16>,
    /// Whether colours and bold are shown.
    pub colour: bool,
}

impl Screen {
    /// Of this process's standard output; `NO_COLOR` (<https://no-color.org>) is heeded.
    #[must_use]
    pub fn of_stdout() -> Self {
        let out = std::io::stdout();
        if !out.is_terminal() {
            return Self { width: None, colour: false };
        }
        let size = rustix::termios::tcgetwinsize(&out);
        let width = size.ok().map(|size| size.ws_col).filter(|columns| *columns > 0);
        let forbidden = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { width, colour: !forbidden }
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    /// A table without lines, as wide as its content or the screen, whichever is less.
    fn table(self, header: &[&str]) -> Table {
        let mut table = Table::new();
        table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
        if let Some(width) = self.width {
            table.set_width(width);
        }
        table.set_header(header);
        table
    }

    /// The table's lines, the first one bold.
    fn lines(self, table: &mut Table) -> String {
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        let mut text = String::new();
        for (number, line) in table.lines().enumerate() {
            let line = line.trim_end();
            text += &if number == 0 { self.bold(line) } else { line.to_owned() };
            text.push('\n');
        }
        text
    }
}

/// The same text without what a terminal would obey: names of foreign processes are not ours.
pub(crate) fn harmless(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
