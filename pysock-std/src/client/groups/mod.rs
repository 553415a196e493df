//! Groups: two or more clients that talk to each other end to end, through a server that knows of no group.
//!
//! ```no_run
//! # async fn run(ann: pysock_std::Client, ben: pysock_std::Client) -> Result<(), pysock_std::Error> {
//! // Ben is asked whether he wants to be in.
//! let mut invitations = ben.listen_groups()?;
//! let joining = tokio::spawn(async move { invitations.next().await?.accept().await.ok() });
//!
//! let (band, added) = ann.create_group("band", ["ben"]).await?;
//! assert!(added.is_complete(), "{added}");
//! band.send("Hello, band!").await?;
//!
//! if let Some(band) = joining.await.ok().flatten() {
//!     while let Some(message) = band.listen().await {
//!         println!("{} in {}: {}", message.sender(), band.label(), message.text()?);
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # What a group does
//!
//! - **The owner decides who is in**: the client that has created the group. It adds and removes members, and ends the
//!   group by [`dissolve`](Group::dissolve). It invites only clients with which it may have a session by its own pins
//!   and policy.
//! - **Joining is consent.** A client that is invited gets an [`Invitation`]; without a listener it declines.
//! - **Sending seals once for each member** ([`Group::send`]), and says of each whether its queue has taken the message.
//!   That some cannot be reached is no error. The messages of one sender arrive in the order in which they were sent,
//!   each at most once; what was lost on the way shows at the next one ([`GroupMessage::missed`]).
//! - **A member that was away catches up** with who is in, not with messages, once it can be reached.
//! - A group lives in memory. Who restarts its program has left it as far as it is concerned; the others notice at
//!   the next change. Remove and add it then.
//!
//! # Who may do what
//!
//! **Membership vouches for keys**: members have sessions with each other for messages to the group although neither
//! has pinned the other, whatever the policy `peers` says. They are not pinned by that, and it stops with the group.
//! If another key is pinned under the name of a member, as the owner or as the server calls it, there is no session
//! with that member. *Direct* messages of a member are another matter: with `peers: pin` and `peers: ask`, those of a
//! key that is not pinned are refused, as if nobody listened; with `accept-new` the first one pins it. A pin that is
//! made later counts when the session opens next.
//!
//! # What a group protects
//!
//! Who was never a member, the server included, reads nothing and gets nothing in. Only the owner's key changes the
//! group. A new member gets nothing from before. A member that has applied a removal sends the removed one nothing that
//! was not begun already, and takes nothing from it: what is queued for it is dropped, and what waits for a place in the
//! queue fails.
//!
//! # What it does not protect
//!
//! - One sender can tell different members different things, and the owner can show them different members.
//! - A removal binds each sender once it has been told; who cannot be reached is told later. Who was removed keeps
//!   what it has read.
//! - The server sees who talks to whom, when and how much, and can hold messages back, which shows only as a gap.
//! - There is no order between the messages of different senders, and no word about who has read what.
//! - The first messages of a new member are lost, unnoticed, on a member that could not be told of it in time.

mod drive;
mod group;
mod invite;
mod news;
mod room;
mod send;
mod table;

#[cfg(test)]
mod tests;

use std::time::Duration;

pub use group::Group;
pub use invite::{Invitation, Invitations};
pub use news::{Ending, GroupMember, GroupMessage, GroupNews, Outcomes};
pub(crate) use table::Groups;

use super::Client;
use crate::{Error, Target};

/// Groups in which a client may be at once.
pub const MAX_GROUPS: usize = 256;

/// How long a member has to answer the owner, or the owner a member.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// How long messages may wait for their place in the queue to a member that takes nothing meanwhile.
const SEND_WITHIN: Duration = Duration::from_secs(5);
/// How long a program may take to decide about an invitation.
const DECIDE_WITHIN: Duration = Duration::from_secs(60);
/// How long joining may take once it is decided, and becoming active once joined.
const JOIN_WITHIN: Duration = Duration::from_secs(15);

impl Client {
    /// Creates a group with this client as its owner, and invites `members`. Waits until each of them has joined or
    /// failed to; says which.
    ///
    /// # Errors
    /// [`Error::Name`] if `label` breaks the rules of names; [`Error::Group`] if there are
    /// [too many groups](MAX_GROUPS).
    pub async fn create_group<T: Into<Target>>(
        &self,
        label: &str,
        members: impl IntoIterator<Item = T>,
    ) -> Result<(Group, Outcomes), Error> {
        let members: Vec<Target> = members.into_iter().map(Into::into).collect();
        let name = label.parse();
        let label = name.map_err(|source| Error::Name { name: label.into(), source })?;
        let group = self.shared.create_group(label)?;
        let added = group.add_all(members).await;
        Ok((group, added))
    }

    /// Listens to invitations to groups. Call it before others may invite: while nobody listens, this client
    /// declines.
    ///
    /// # Errors
    /// [`Error::ChannelExists`] while there is another listener.
    pub fn listen_groups(&self) -> Result<Invitations, Error> {
        self.shared.groups.listen(&self.shared)
    }
}
