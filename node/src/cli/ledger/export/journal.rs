//! Moves as a journal of double entries, in the two dialects that plain-text accounting speaks.
//!
//! One account a member, one transaction a move, in kudos with three decimals. A move that is not
//! accepted bears the flag `!`. At the end every balance is asserted, on the day after the last move.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use hearth_ledger::{Cause, LineState, moves};
use hearth_protocol::id::NodeId;
use hearth_protocol::unit::{Balance, Timestamp};

use super::{Copy, Told, account_names};
use crate::cli::ledger::calendar::{date, next_day};
use crate::cli::ledger::words::kudos;
use crate::cli::wording::{Names, printable};

/// A journal in no dialect yet.
pub(in crate::cli::ledger) struct Journal {
    title: String,
    commons: String,
    begins: Timestamp,
    ends: Timestamp,
    accounts: BTreeMap<NodeId, String>,
    pub(in crate::cli::ledger) transactions: Vec<Transaction>,
    closing: Vec<(NodeId, Balance)>,
}

/// Amounts that move at once; they sum to zero.
pub(in crate::cli::ledger) struct Transaction {
    date: Timestamp,
    flag: char,
    payee: String,
    what: String,
    notes: Vec<(&'static str, String)>,
    pub(in crate::cli::ledger) postings: Vec<(NodeId, Balance)>,
}

impl Journal {
    /// Puts a journal together. Moves before `since` become opening balances.
    pub(in crate::cli::ledger) fn of(copy: &Copy, names: &Names, since: Option<Timestamp>) -> Self {
        let book = &copy.book;
        let (mut opening, mut transactions) = (BTreeMap::<NodeId, Balance>::new(), Vec::new());
        let (mut begins, mut ends) = (book.charter().created, book.charter().created);
        for one in moves(book) {
            (begins, ends) = (begins.min(one.date), ends.max(one.date));
            if since.is_some_and(|since| one.date < since) {
                let from = opening.entry(one.from).or_default();
                *from = from.minus(one.amount);
                let to = opening.entry(one.to).or_default();
                *to = to.plus(one.amount);
            } else {
                transactions.push(Transaction::of(&Told::of(book, one), names));
            }
        }
        if let Some(since) = since {
            ends = ends.max(since);
            begins = begins.min(since);
            transactions.splice(0..0, Transaction::opening(since, opening));
        }
        let accounts = account_names(book, names);
        Self {
            title: quiet(&book.charter().name),
            commons: book.commons().to_string(),
            begins,
            ends,
            closing: accounts
                .keys()
                .map(|node| (*node, book.balance(node)))
                .collect(),
            accounts,
            transactions,
        }
    }

    fn account(&self, node: &NodeId) -> &str {
        self.accounts
            .get(node)
            .map_or("Assets:Kudos:Unknown", String::as_str)
    }

    fn width(&self) -> usize {
        self.accounts
            .values()
            .map(String::len)
            .max()
            .unwrap_or_default()
    }

    fn posting(&self, node: &NodeId, balance: Balance) -> String {
        let width = self.width();
        format!(
            "{:<width$}  {:>14} KUDOS",
            self.account(node),
            kudos(balance)
        )
    }

    /// Writes it as beancount reads it.
    pub(in crate::cli::ledger) fn beancount(&self) -> String {
        let mut text = format!(
            "; The kudos ledger of {} ({})\noption \"title\" \"{}\"\noption \"operating_currency\" \"KUDOS\"\n\n",
            self.title, self.commons, self.title
        );
        let begins = date(self.begins);
        line(&mut text, &format!("{begins} commodity KUDOS"));
        for account in self.accounts.values() {
            line(&mut text, &format!("{begins} open {account} KUDOS"));
        }
        for one in &self.transactions {
            let (payee, what) = (&one.payee, &one.what);
            line(&mut text, "");
            line(
                &mut text,
                &format!("{} {} \"{payee}\" \"{what}\"", date(one.date), one.flag),
            );
            for (key, value) in &one.notes {
                line(&mut text, &format!("  {key}: \"{value}\""));
            }
            for (node, balance) in &one.postings {
                line(&mut text, &format!("  {}", self.posting(node, *balance)));
            }
        }
        line(&mut text, "");
        let closes = date(next_day(self.ends));
        for (node, balance) in &self.closing {
            line(
                &mut text,
                &format!("{closes} balance {}", self.posting(node, *balance)),
            );
        }
        text
    }

    /// Writes it as hledger and ledger read it.
    pub(in crate::cli::ledger) fn hledger(&self) -> String {
        let mut text = format!(
            "; The kudos ledger of {} ({})\n\n",
            self.title, self.commons
        );
        line(&mut text, "commodity 1000.000 KUDOS");
        for account in self.accounts.values() {
            line(&mut text, &format!("account {account}"));
        }
        for one in &self.transactions {
            let (payee, what) = (&one.payee, &one.what);
            line(&mut text, "");
            line(
                &mut text,
                &format!("{} {} {payee} | {what}", date(one.date), one.flag),
            );
            for (key, value) in &one.notes {
                line(&mut text, &format!("    ; {key}: {value}"));
            }
            for (node, balance) in &one.postings {
                line(&mut text, &format!("    {}", self.posting(node, *balance)));
            }
        }
        line(&mut text, "");
        line(
            &mut text,
            &format!("{} * balances", date(next_day(self.ends))),
        );
        for (node, balance) in &self.closing {
            let posting = self.posting(node, Balance::ZERO);
            line(
                &mut text,
                &format!("    {posting} = {} KUDOS", kudos(*balance)),
            );
        }
        text
    }
}

fn line(text: &mut String, line: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{line}");
}

impl Transaction {
    fn of(told: &Told, names: &Names) -> Self {
        let one = &told.one;
        let (payer, payee) = (quiet(&names.name(&one.from)), quiet(&names.name(&one.to)));
        let mut notes = vec![("entry", one.entry.to_string())];
        if let Cause::Work { order } = one.cause {
            notes.push(("order", order.to_string()));
        }
        if let Some(job) = told.job {
            notes.push(("job", job.to_string()));
        }
        if one.state != LineState::Settled {
            notes.push(("state", told.state.to_owned()));
        }
        Self {
            date: one.date,
            flag: if one.state == LineState::Settled {
                '*'
            } else {
                '!'
            },
            payee,
            what: format!("{}, paid by {payer}", told.what),
            notes,
            postings: vec![
                (one.to, Balance::ZERO.plus(one.amount)),
                (one.from, Balance::ZERO.minus(one.amount)),
            ],
        }
    }

    fn opening(date: Timestamp, balances: BTreeMap<NodeId, Balance>) -> Option<Self> {
        let postings: Vec<_> = balances
            .into_iter()
            .filter(|(_, balance)| *balance != Balance::ZERO)
            .collect();
        (!postings.is_empty()).then(|| Self {
            date,
            flag: '*',
            payee: "everybody".to_owned(),
            what: "opening balances".to_owned(),
            notes: Vec::new(),
            postings,
        })
    }
}

/// Returns text that is no syntax in either dialect.
fn quiet(text: &str) -> String {
    printable(text)
        .chars()
        .map(|c| match c {
            '"' | '\\' => '\'',
            '|' | ';' => '/',
            '(' => '[',
            ')' => ']',
            c => c,
        })
        .collect()
}
