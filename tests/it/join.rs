//! Who gets in, who does not, and what they are told.

use hearth_protocol::sign::NodeKey;
use hearth_protocol::ticket::Ticket;

use crate::commons::Commons;
use crate::node::Node;
use crate::patience::{SOON, eventually};

/// The name of nothing that exists.
const NOBODY: [u8; 32] = [9; 32];

/// A founder of an invite-only commons and a newcomer.
fn two() -> (Commons, Node) {
    let commons = Commons::of(&[("founder", &[])]);
    let newcomer = Node::start(commons.dir(), "newcomer", &[]);
    (commons, newcomer)
}

fn invite(founder: &Node, more: &[&str]) -> String {
    let ticket = founder.json(&[&["commons", "invite"], more].concat());
    ticket["ticket"].as_str().expect("a ticket").to_owned()
}

fn is_outside(node: &Node) {
    node.run(&["commons", "show"]).fails(
        1,
        &["error: this node is in no commons", "hint: found one with"],
    );
}

#[test]
fn a_ticket_lets_its_bearer_in_once_and_says_when_it_is_used_up() {
    let (commons, newcomer) = two();
    let ticket = invite(commons.node("founder"), &[]);
    let joined = newcomer.json(&["commons", "join", &ticket]);
    assert_eq!(joined["charter"]["name"], "Story");
    let late = Node::start(commons.dir(), "late", &[]);
    late.run(&["commons", "join", &ticket]).fails(
        1,
        &[
            "error: the door stayed shut",
            "the invite has been used up; ask for a new ticket",
        ],
    );
    is_outside(&late);
    // Being turned away leaves nothing behind: a good ticket works.
    late.json(&["commons", "join", &invite(commons.node("founder"), &[])]);
    eventually("the founder sees three members", SOON, || {
        (commons.node("founder").peers().len() == 3).then_some(())
    });
}

#[test]
fn an_invite_only_commons_needs_an_invite() {
    let (commons, newcomer) = two();
    let text = invite(commons.node("founder"), &[]);
    let mut ticket: Ticket = text.parse().unwrap();
    ticket.invite = None;
    newcomer
        .run(&["commons", "join", &ticket.to_string()])
        .fails(
            1,
            &[
                "error: the door stayed shut",
                "the commons is invite-only and the ticket has no invite",
            ],
        );
    is_outside(&newcomer);
}

#[test]
fn an_expired_ticket_says_so() {
    let (commons, newcomer) = two();
    let ticket = invite(commons.node("founder"), &["--life", "1s"]);
    let expires = ticket
        .parse::<Ticket>()
        .unwrap()
        .invite
        .unwrap()
        .invite
        .trusted()
        .expires;
    eventually("a second passes", SOON, || {
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap();
        (now.as_millis() > u128::from(expires.millis())).then_some(())
    });
    newcomer.run(&["commons", "join", &ticket]).fails(
        1,
        &[
            "error: the ticket cannot be used",
            "cause: the ticket expired; ask for a new one",
            "hint: ask a member for a new one: hearth commons invite",
        ],
    );
    is_outside(&newcomer);
}

#[test]
fn a_damaged_ticket_says_how_it_is_damaged() {
    let (commons, newcomer) = two();
    let ticket = invite(commons.node("founder"), &[]);
    let refused = |text: &str, why: &str| {
        newcomer
            .run(&["commons", "join", text])
            .fails(1, &["error: the ticket cannot be used", why]);
    };
    let mut flipped = ticket.clone().into_bytes();
    flipped[40] = if flipped[40] == b'a' { b'b' } else { b'a' };
    let flipped = String::from_utf8(flipped).unwrap();
    refused(
        &flipped,
        "its checksum does not match; copy the whole line again",
    );
    refused(&ticket[..ticket.len() - 9], "its checksum does not match");
    refused(
        &format!("{ticket}!"),
        "it holds characters a ticket never has",
    );
    refused(
        "https://example.org/ticket",
        "not a Hearth ticket: it should start with 'hearth1'",
    );
    refused(
        &format!("hearth1{}", "a".repeat(5_000)),
        "a ticket of 5007 characters",
    );
    // What a chat program does to a line does no harm.
    newcomer.json(&["commons", "join", &format!(" {} \n", ticket.to_uppercase())]);
}

#[test]
fn a_forged_invite_says_that_its_signature_is_bad() {
    let (commons, newcomer) = two();
    let mut ticket: Ticket = invite(commons.node("founder"), &[]).parse().unwrap();
    let invite = ticket.invite.as_mut().unwrap();
    // Signed by somebody else in the founder's name.
    let stranger = NodeKey::from_seed(&NOBODY);
    let mut value = *invite.invite.trusted();
    value.issuer = stranger.id();
    let by_stranger = hearth_protocol::sign::Signed::sign(value, &stranger);
    invite.invite = by_stranger;
    newcomer
        .run(&["commons", "join", &ticket.to_string()])
        .fails(
            1,
            &[
                "error: the door stayed shut",
                "the invite is not valid here",
            ],
        );
    is_outside(&newcomer);
}

#[test]
fn a_ticket_of_another_commons_is_not_this_ones() {
    let (commons, newcomer) = two();
    let other = Commons::of(&[("other", &[])]);
    let mut ticket: Ticket = invite(commons.node("founder"), &[]).parse().unwrap();
    let elsewhere: Ticket = invite(other.node("other"), &[]).parse().unwrap();
    // The invite of one commons in the ticket of another.
    ticket.invite.clone_from(&elsewhere.invite);
    newcomer
        .run(&["commons", "join", &ticket.to_string()])
        .fails(1, &["the ticket's invite is for another commons"]);
    // A ticket that leads to members of another commons than it names.
    ticket.invite = None;
    ticket.members.clone_from(&elsewhere.members);
    newcomer
        .run(&["commons", "join", &ticket.to_string()])
        .fails(
            1,
            &[
                "error: nobody named in the ticket opened",
                "is not in this commons",
            ],
        );
    is_outside(&newcomer);
    // Who is in a commons already must leave first.
    let ticket = invite(other.node("other"), &[]);
    commons
        .node("founder")
        .run(&["commons", "join", &ticket])
        .fails(
            1,
            &[
                "this home is already in the commons 'Story'",
                "hearth commons leave",
            ],
        );
}

#[test]
fn a_ticket_whose_members_are_gone_says_that_nobody_opened() {
    let (mut commons, newcomer) = two();
    let ticket = invite(commons.node("founder"), &[]);
    commons.node_mut("founder").kill9();
    let refused = newcomer.run(&["commons", "join", &ticket]);
    refused.fails(
        1,
        &[
            "error: nobody named in the ticket opened",
            "hint: the members must be running and reachable",
        ],
    );
    assert!(refused.took < SOON, "it does not hang: {refused:?}");
    is_outside(&newcomer);
}

#[test]
fn an_open_commons_lets_anybody_in() {
    let dir = tempfile::tempdir().unwrap();
    let founder = Node::start(dir.path(), "founder", &[]);
    founder.json(&["commons", "create", "Street", "--admission", "open"]);
    let ticket = invite(&founder, &[]);
    assert!(
        ticket.parse::<Ticket>().unwrap().invite.is_none(),
        "it carries no secret"
    );
    for name in ["ada", "bob"] {
        let node = Node::start(dir.path(), name, &[]);
        assert_eq!(
            node.json(&["commons", "join", &ticket])["charter"]["name"],
            "Street"
        );
    }
}

#[test]
fn only_the_founder_invites_where_the_charter_says_so() {
    let commons = Commons::of(&[("founder", &[]), ("member", &[])]);
    commons
        .node("member")
        .run(&["commons", "invite"])
        .fails(1, &["only the founder may invite to this commons"]);
}

#[test]
fn a_second_process_on_one_home_names_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::start(dir.path(), "only", &[]);
    let pid = format!(
        "another hearth (pid {}) uses {}",
        node.pid(),
        node.home().display()
    );
    let hint = "hint: 'hearth stop' ends it; --home DIR uses another home";
    node.run(&["up"]).fails(1, &[&pid, hint]);
    node.run(&["up", "--detach"]).fails(1, &[&pid, hint]);
    assert!(node.is_alive(), "the first is not disturbed");
    assert_eq!(node.status().pid, node.pid());
    // After kill -9 the lock is free, whatever the files say.
    node.restart();
    node.stop();
    node.run(&["status"]).fails(
        3,
        &[
            "no hearth is running",
            "hint: start the node with 'hearth up'",
        ],
    );
}
