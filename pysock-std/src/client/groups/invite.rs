//! Invitations to groups: joining is consent.

use std::sync::Arc;

use pysock_proto::{Name, PeerInfo, group::GroupId};
use tokio::sync::mpsc;

use super::Group;
use crate::{Error, Sender, client::shared::Shared, message::Source};

/// Somebody wants this client in a group. Dropping it declines.
pub struct Invitation {
    pub(super) shared: Arc<Shared>,
    pub(super) id: GroupId,
    pub(super) label: Name,
    pub(super) owner: PeerInfo,
}

impl Drop for Invitation {
    fn drop(&mut self) {
        self.shared.groups.decline(&self.id);
    }
}

impl Invitation {
    /// Who decides about the members. Its key is proven; whether it is pinned depends on how the session came about.
    pub fn owner(&self) -> Sender {
        Sender(Source::Proven(Arc::new(self.owner)))
    }

    /// What the owner calls the group.
    pub fn label(&self) -> &Name {
        &self.label
    }

    /// Joins, and waits until this client knows who else is in.
    ///
    /// # Errors
    /// [`Error::Group`] if the owner has withdrawn it or does not answer, or there are
    /// [too many groups](super::MAX_GROUPS).
    pub async fn accept(self) -> Result<Group, Error> {
        let group = self.shared.join_group(&self.id)?;
        group.until(|standing| standing != pysock_proto::group::Standing::Joining).await?;
        Ok(group)
    }
}

impl std::fmt::Debug for Invitation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Invitation")
            .field("owner", &self.owner())
            .field("label", &self.label)
            .finish_non_exhaustive()
    }
}

/// Where invitations arrive. Comes from [`Client::listen_groups`](crate::Client::listen_groups); without it, this
/// client declines.
pub struct Invitations {
    pub(super) queue: mpsc::UnboundedReceiver<Invitation>,
}

impl Invitations {
    /// The next invitation. `None`: the client is over.
    pub async fn next(&mut self) -> Option<Invitation> {
        self.queue.recv().await
    }

    /// Joins every group to which a client invites that is pinned, which includes those that the policy `peers` has
    /// accepted; declines others. Gives the next one. `None`: the client is over.
    pub async fn join_next(&mut self) -> Option<Group> {
        loop {
            let invitation = self.next().await?;
            if !invitation.shared.is_pinned(&invitation.owner).await {
                continue;
            }
            match invitation.accept().await {
                Ok(group) => return Some(group),
                Err(error) => tracing::info!(%error, "a group was not joined"),
            }
        }
    }
}

impl std::fmt::Debug for Invitations {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Invitations")
    }
}
