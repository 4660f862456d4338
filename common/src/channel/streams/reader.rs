//! The reader of a stream that comes from the peer.

use super::{
    failure::{StreamError, StreamFailure},
    frames::split_item,
    inbox::{Inbox, Piece, PieceBytes},
};
use crate::codec::{CodecError, splice};
use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tokio::time::{Sleep, sleep_until};

pub(super) struct Reader<T> {
    inbox: Arc<Inbox>,
    decode: fn(&[u8]) -> Result<T, CodecError>,
    piece: Piece,
    /// How many bytes of the piece, and items, were read.
    at: usize,
    items_of_piece: usize,
    /// How many items were read.
    items: u64,
    deadline: Option<Pin<Box<Sleep>>>,
    is_over: bool,
}

impl<T> Reader<T> {
    pub(super) fn new(inbox: Arc<Inbox>, decode: fn(&[u8]) -> Result<T, CodecError>) -> Self {
        Self {
            inbox,
            decode,
            piece: Piece::default(),
            at: 0,
            items_of_piece: 0,
            items: 0,
            deadline: None,
            is_over: false,
        }
    }

    pub(super) fn poll_next(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<T, StreamError>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        loop {
            if let Some(read) = self.read() {
                return Poll::Ready(Some(match read {
                    Ok(item) => {
                        self.items += 1;
                        Ok(item)
                    }
                    Err(error) => Err(self.break_off(StreamFailure::Undecodable(error))),
                }));
            }
            let piece = std::mem::take(&mut self.piece);
            let items = std::mem::take(&mut self.items_of_piece);
            self.at = 0;
            match self.inbox.poll_take(context, piece, items) {
                Poll::Ready(Ok(Some(piece))) => self.piece = piece,
                Poll::Ready(Ok(None)) => {
                    self.is_over = true;
                    return Poll::Ready(None);
                }
                Poll::Ready(Err(failure)) => {
                    return Poll::Ready(Some(Err(self.break_off(failure))));
                }
                Poll::Pending => {
                    ready!(self.poll_deadline(context));
                    let failure = self.break_off(StreamFailure::DeadlineExceeded);
                    return Poll::Ready(Some(Err(failure)));
                }
            }
        }
    }

    /// The next item of the piece.
    fn read(&mut self) -> Option<Result<T, CodecError>> {
        let (item, _) = split_item(self.piece.bytes.as_slice().get(self.at..)?)?;
        self.at += super::frames::ITEM_PREFIX + item.len();
        self.items_of_piece += 1;
        Some(match &self.piece.bytes {
            PieceBytes::Copied(_) => (self.decode)(item),
            PieceBytes::Shared(bytes) => splice::sharing(bytes, || (self.decode)(item)),
        })
    }

    /// Waits for the deadline of the call, if the stream has one.
    fn poll_deadline(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.deadline.is_none() {
            self.deadline = self.inbox.deadline().map(|at| Box::pin(sleep_until(at)));
        }
        match &mut self.deadline {
            Some(deadline) => deadline.as_mut().poll(context),
            None => Poll::Pending,
        }
    }

    fn break_off(&mut self, failure: StreamFailure) -> StreamError {
        self.is_over = true;
        self.inbox.close();
        StreamError {
            items: self.items,
            failure,
        }
    }
}

impl<T> Drop for Reader<T> {
    fn drop(&mut self) {
        self.inbox.close();
    }
}
