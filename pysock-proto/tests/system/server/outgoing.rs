//! What waits in a connection's queue, and how it leaves.

use std::{collections::VecDeque, rc::Rc};

use pysock_proto::{
    ChannelId, Envelope, Failure, Kind, Party, PeerId, PeerInfo, SendError, Unit, crypto::Crypto,
};

use super::End;

pub(super) enum Out {
    Message { from: Option<PeerInfo>, local: ChannelId, kind: Kind, bytes: Rc<[u8]> },
    Failed(Envelope, Failure),
    Opened(ChannelId, Result<(), Failure>),
    Found(u16, Option<PeerInfo>),
    Unit { from: PeerInfo, unit: Unit, bytes: Vec<u8> },
    RelayFailed(PeerId, Failure),
}

impl Out {
    /// Appends it to the open record; a sender that was not announced lately is announced before it.
    pub(super) fn put<K: Crypto>(
        &self,
        end: &mut End<K>,
        announced: &mut VecDeque<PeerId>,
    ) -> Result<(), SendError> {
        let End { conn, tx, .. } = end;
        let tx = &mut tx.lend();
        if let Out::Message { from: Some(peer), .. } | Out::Unit { from: peer, .. } = self
            && !announced.contains(&peer.id)
        {
            conn.announce(tx, peer)?;
            announced.push_back(peer.id);
            if announced.len() > usize::from(conn.remote_limits().unwrap().peers) {
                announced.pop_front();
            }
        }
        match self {
            Out::Message { from, local, kind, bytes } => {
                let party = from.map_or(Party::Server, |peer| Party::Peer(peer.id));
                conn.send(tx, &Envelope { channel: *local, party, kind: *kind }, bytes)
            }
            Out::Failed(envelope, why) => conn.send_failed(tx, envelope, *why),
            Out::Opened(id, result) => conn.answer_open(tx, *id, *result),
            Out::Found(query, peer) => conn.answer_find(tx, *query, peer.as_ref()),
            Out::Unit { from, unit, bytes } => conn.relay(tx, from.id, *unit, bytes),
            Out::RelayFailed(peer, why) => conn.relay_failed(tx, *peer, *why),
        }
    }
}
