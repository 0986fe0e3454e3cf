//! Credible net: a requester's work for others, as far as the provider has reason to believe them.
//!
//! Belief starts at the provider (what it owes somebody, and lines it said) and flows along work
//! that was accepted: whoever worked for a believed node is believed for as much. Everything lent
//! beyond lines is such a flow, so what was lent on somebody's word is not lent on it again. What a
//! clique does for itself carries nothing, because nothing flows into it.

use std::collections::{BTreeMap, BTreeSet};

use hearth_protocol::credit::Basis;
use hearth_protocol::id::NodeId;
use hearth_protocol::limits;

use super::flow::{Flow, PLENTY};
use super::{Question, amount, settled};
use crate::book::lending::Dealing;

/// Most nodes believed for what they did for the provider itself or for its line.
const DIRECT_MAX: usize = 128;
/// Most nodes believed for what they did for those.
const FURTHER_MAX: usize = 128;
/// Most others looked at that a node believed directly had to do with.
const DEALINGS_MAX: usize = 512;
/// Most overdrawn requesters whose loans are traced; the rest count as stranded.
const OVERDRAWN_MAX: usize = 128;

/// What the provider believes of one requester, in millikudos.
#[derive(Debug)]
pub(super) struct Believed {
    /// Its credible net.
    pub(super) credible: i128,
    /// What others were lent on its word.
    pub(super) lent: i128,
    /// Through whom it is believed, the largest first.
    pub(super) basis: Vec<Basis>,
    /// Loans of others beyond their lines that no belief carries.
    pub(super) stranded: BTreeMap<NodeId, i128>,
}

/// What one node owes another for work, and what it gave it.
#[derive(Debug, Clone, Copy)]
struct Debt {
    work: i128,
    gift: i128,
    /// The other's open holds with it: work it is about to take back.
    held: i128,
}

impl Debt {
    const fn all(self) -> i128 {
        self.work + self.gift
    }
}

/// A debt in the graph.
#[derive(Debug, Clone, Copy)]
struct Strand {
    by: NodeId,
    to: NodeId,
    debt: Debt,
    work: usize,
    gift: Option<usize>,
}

/// One node in the graph.
#[derive(Debug, Clone, Copy)]
struct Party {
    /// Belief of others arrives here.
    inward: usize,
    /// It is drawn here, by the node itself.
    drawn: usize,
    /// It is passed on from here.
    outward: usize,
    /// The arc of the provider's own belief.
    direct: Option<usize>,
}

/// Works out what the provider believes of a requester.
// L62, L63, L64, L65, L66
pub(super) fn believe(question: &Question<'_>, requester: &NodeId) -> Believed {
    let direct = direct(question);
    let further = further(question, &direct);
    let (overdrawn, mut stranded) = overdrawn(question, requester);
    let mut web = Web::new(question, &direct, &further);
    let sinks = overdrawn.iter().map(|(node, _)| *node);
    let sinks: BTreeSet<NodeId> = sinks.chain([*requester]).collect();
    web.join_up(question, &direct, &further, sinks);

    // What others were lent is traced past the requester first, then through it.
    let own = web.parties[requester].direct;
    let own_belief = direct.get(requester).copied().unwrap_or(0);
    let mut left = Vec::new();
    web.limit(own, 0);
    for (node, mk) in overdrawn {
        left.push((node, mk - web.draw(&node, mk)));
    }
    web.limit(own, own_belief);
    for (node, mk) in left {
        let rest = mk - web.draw(&node, mk);
        if rest > 0 {
            stranded.insert(node, rest);
        }
    }
    // Nobody is believed on its own word.
    web.limit(own, 0);
    let lent = own.map_or(0, |arc| web.flow.along(arc));
    let before = web.through();
    let most = web.tighten(question, requester);
    let credible = web.draw(requester, most);
    Believed {
        credible,
        lent,
        basis: basis(&before, &web.through()),
        stranded,
    }
}

/// Returns whom the provider believes by itself, and how much: what it owes them, and the line it
/// said to them, as far as it is not used.
// L62
fn direct(question: &Question<'_>) -> BTreeMap<NodeId, i128> {
    let (book, me) = (question.book, &question.me);
    let mut known: BTreeMap<NodeId, Dealing> = book.dealings(me).collect();
    for node in book.lines_said_by(me) {
        known.entry(node).or_default();
    }
    let mut believed: Vec<(i128, NodeId)> = known
        .into_iter()
        .map(|(node, dealing)| {
            let line = i128::from(book.line_given(me, &node).get());
            (line - question.exposed(&node, &dealing), node)
        })
        .filter(|(mk, node)| *mk > 0 && question.bar(node).is_none())
        .collect();
    largest(&mut believed, DIRECT_MAX);
    believed.into_iter().map(|(mk, node)| (node, mk)).collect()
}

/// Returns who is believed for work for those, and for how much at most.
// L63
fn further(question: &Question<'_>, direct: &BTreeMap<NodeId, i128>) -> BTreeSet<NodeId> {
    let mut reached: BTreeMap<NodeId, i128> = BTreeMap::new();
    for (by, belief) in direct {
        for (node, dealing) in question.book.dealings(by).take(DEALINGS_MAX) {
            let debt = debt(&dealing, 0).filter(|debt| debt.work > 0);
            let Some(debt) = debt.filter(|_| !direct.contains_key(&node)) else {
                continue;
            };
            if question.bar(&node).is_none() && !question.is_on_probation(&node) {
                *reached.entry(node).or_default() += debt.work.min(*belief);
            }
        }
    }
    let mut reached: Vec<(i128, NodeId)> =
        reached.into_iter().map(|(node, mk)| (mk, node)).collect();
    largest(&mut reached, FURTHER_MAX);
    reached.into_iter().map(|(_, node)| node).collect()
}

/// Returns the others that were lent more than their line, and the loans of those too many to be
/// traced.
// L65
fn overdrawn(
    question: &Question<'_>,
    requester: &NodeId,
) -> (Vec<(NodeId, i128)>, BTreeMap<NodeId, i128>) {
    let mut known: BTreeMap<NodeId, Dealing> = question.book.dealings(&question.me).collect();
    for node in question.taken.keys() {
        known.entry(*node).or_default();
    }
    known.remove(requester);
    let mut loans: Vec<(i128, NodeId)> = known
        .into_iter()
        .map(|(node, dealing)| (question.exposed(&node, &dealing), node))
        .filter(|(exposed, _)| *exposed > 0)
        .map(|(exposed, node)| (exposed - question.line_ever(&node), node))
        .filter(|(mk, _)| *mk > 0)
        .collect();
    let too_many = largest(&mut loans, OVERDRAWN_MAX);
    let traced = loans.into_iter().map(|(mk, node)| (node, mk)).collect();
    let stranded = too_many.into_iter().map(|(mk, node)| (node, mk)).collect();
    (traced, stranded)
}

/// Keeps the largest, in order of name, and returns the others.
fn largest(of: &mut Vec<(i128, NodeId)>, count: usize) -> Vec<(i128, NodeId)> {
    of.sort_unstable_by(|left, right| right.0.cmp(&left.0).then(left.1.cmp(&right.1)));
    let others = of.split_off(of.len().min(count));
    of.sort_unstable_by_key(|(_, node)| *node);
    others
}

/// Returns what a node owes another for work, and of its gifts as much as the provider's line to it
/// bears out; `None` if nothing.
// L63
fn debt(dealing: &Dealing, line: i128) -> Option<Debt> {
    let net = dealing.got.accepted - dealing.did.charged;
    let work = net.max(0);
    let given = (net + dealing.did.given - work).max(0);
    let gift = given.min(line);
    (work > 0 || gift > 0).then_some(Debt {
        work,
        gift,
        held: dealing.did.held,
    })
}

/// Returns what a node did for those it is asked about; all of it where that is less work.
fn dealings_with(
    question: &Question<'_>,
    by: &NodeId,
    parties: &BTreeMap<NodeId, Party>,
) -> Vec<(NodeId, Dealing)> {
    let book = question.book;
    let few: Vec<_> = book.dealings(by).take(parties.len() + 1).collect();
    if few.len() <= parties.len() {
        return few;
    }
    let asked = parties.keys().filter(|node| *node != by);
    asked.map(|node| (*node, book.dealing(by, node))).collect()
}

fn line_given(question: &Question<'_>, node: &NodeId) -> i128 {
    i128::from(question.book.line_given(&question.me, node).get())
}

/// Returns through whom more flows than before, the largest first.
fn basis(before: &[(NodeId, i128)], after: &[(NodeId, i128)]) -> Vec<Basis> {
    let mut grown: Vec<(i128, NodeId)> = before
        .iter()
        .zip(after)
        .map(|((node, before), (_, after))| (after - before, *node))
        .filter(|(mk, _)| *mk > 0)
        .collect();
    grown.sort_unstable_by(|left, right| right.0.cmp(&left.0).then(left.1.cmp(&right.1)));
    grown.truncate(limits::BASIS_MAX);
    grown
        .into_iter()
        .map(|(mk, node)| Basis {
            node,
            amount: amount(mk),
        })
        .collect()
}

/// The graph belief flows in.
#[derive(Debug)]
struct Web {
    flow: Flow,
    source: usize,
    parties: BTreeMap<NodeId, Party>,
    strands: Vec<Strand>,
}

impl Web {
    /// Puts in everybody who is believed.
    fn new(
        question: &Question<'_>,
        direct: &BTreeMap<NodeId, i128>,
        further: &BTreeSet<NodeId>,
    ) -> Self {
        let mut flow = Flow::default();
        let source = flow.node();
        let mut web = Self {
            flow,
            source,
            parties: BTreeMap::new(),
            strands: Vec::new(),
        };
        for node in direct.keys().chain(further) {
            web.add(*node);
        }
        for (node, belief) in direct {
            let outward = web.parties[node].outward;
            let arc = web.flow.arc(source, outward, *belief);
            if let Some(party) = web.parties.get_mut(node) {
                party.direct = Some(arc);
            }
        }
        for node in web.parties.keys().copied().collect::<Vec<_>>() {
            let Party {
                inward, outward, ..
            } = web.parties[&node];
            if question.bar(&node).is_none() {
                web.flow.arc(inward, outward, PLENTY);
            }
        }
        web
    }

    fn add(&mut self, node: NodeId) {
        if self.parties.contains_key(&node) {
            return;
        }
        let party = Party {
            inward: self.flow.node(),
            drawn: self.flow.node(),
            outward: self.flow.node(),
            direct: None,
        };
        self.flow.arc(party.inward, party.drawn, PLENTY);
        self.parties.insert(node, party);
    }

    /// Joins the believed to everybody they owe.
    // L63
    fn join_up(
        &mut self,
        question: &Question<'_>,
        direct: &BTreeMap<NodeId, i128>,
        further: &BTreeSet<NodeId>,
        sinks: BTreeSet<NodeId>,
    ) {
        for node in sinks {
            self.add(node);
        }
        for by in direct.keys().chain(further) {
            let (mut giver, line) = (None, line_given(question, by));
            let from = self.parties[by].outward;
            for (node, dealing) in dealings_with(question, by, &self.parties) {
                let (Some(party), Some(debt)) = (self.parties.get(&node), debt(&dealing, line))
                else {
                    continue;
                };
                let gift = (debt.gift > 0).then(|| {
                    let giver = *giver.get_or_insert_with(|| {
                        let giver = self.flow.node();
                        self.flow.arc(from, giver, line);
                        giver
                    });
                    self.flow.arc(giver, party.inward, debt.gift)
                });
                self.strands.push(Strand {
                    by: *by,
                    to: node,
                    debt,
                    work: self.flow.arc(from, party.inward, debt.work),
                    gift,
                });
            }
        }
    }

    /// Bounds what may still come to a requester by what everybody took: of what reaches a node it
    /// worked for, it has what that node's other creditors leave. Returns how much it may draw
    /// after what it took itself. Loans that were traced before stay as they are.
    // L63
    fn tighten(&mut self, question: &Question<'_>, requester: &NodeId) -> i128 {
        let ever = |node: &NodeId| {
            let direct = self.parties[node].direct;
            direct.map_or(0, |_| {
                let dealing = question.book.dealing(&question.me, node);
                line_given(question, node) + settled(&dealing)
            })
        };
        let first = reach(&self.strands, ever);
        let reached = reach(&self.strands, |node| {
            ever(node) + first.get(node).copied().unwrap_or(0)
        });
        let left = |node: &NodeId, owed: i128| {
            let taken = question.book.taken_beside(node, &question.me).mk();
            let reached = reached.get(node).copied().unwrap_or(0);
            (reached - (taken - owed).max(0)).max(0)
        };
        let own = left(requester, 0);
        let bounds: Vec<(Strand, i128)> = self
            .strands
            .iter()
            .filter(|strand| strand.to == *requester)
            .map(|strand| {
                let owed = strand.debt.all();
                let most = (owed - strand.debt.held).max(0);
                let others = ever(&strand.by) + left(&strand.by, owed);
                (*strand, most.min(others))
            })
            .collect();
        for (strand, most) in bounds {
            let work = self.narrow(strand.work, most);
            if let Some(gift) = strand.gift {
                self.narrow(gift, most - work);
            }
        }
        own
    }

    /// Bounds an arc by `most` in all; returns how much of that it can take.
    fn narrow(&mut self, arc: usize, most: i128) -> i128 {
        let (along, left) = (self.flow.along(arc), self.flow.left(arc));
        let left = left.min((most - along).max(0));
        self.flow.set_left(arc, left);
        along + left
    }

    /// Sets how much more the provider believes a node directly.
    fn limit(&mut self, arc: Option<usize>, belief: i128) {
        if let Some(arc) = arc {
            let left = (belief - self.flow.along(arc)).max(0);
            self.flow.set_left(arc, left);
        }
    }

    fn draw(&mut self, node: &NodeId, want: i128) -> i128 {
        let sink = self.parties[node].drawn;
        self.flow.send(self.source, sink, want)
    }

    /// Returns what flows on the provider's own belief, by node.
    fn through(&self) -> Vec<(NodeId, i128)> {
        let direct = |party: &Party| party.direct.map_or(0, |arc| self.flow.along(arc));
        self.parties
            .iter()
            .map(|(node, party)| (*node, direct(party)))
            .collect()
    }
}

/// Returns what reaches each node along debts when so much of every debtor is believed.
fn reach(strands: &[Strand], believed: impl Fn(&NodeId) -> i128) -> BTreeMap<NodeId, i128> {
    let mut reached: BTreeMap<NodeId, i128> = BTreeMap::new();
    for strand in strands {
        *reached.entry(strand.to).or_default() += strand.debt.all().min(believed(&strand.by));
    }
    reached
}
