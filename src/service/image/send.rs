//! Carries an image to a client: made on a worker of its own, a few pieces ahead of what the client takes.
//!
//! While an image is under way its view is held, and the engine keeps what the view sees: so few are made at once, a client
//! that takes nothing is given up, and a member that stops ends them.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Image, ImageError, ImagePiece, Progress};
use crate::config::limits::{IMAGE_STALL_MAX, IMAGES_MAX};
use crate::env::{Env, run, within};
use crate::member::Member;
use crate::storage::engine::Reader;

/// Pieces that are made ahead of what the client has taken.
const PIECES_AHEAD: usize = 4;
/// How often it is looked whether the member stops, while a client takes its time.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// Sends images, a few at once.
#[derive(Clone)]
pub struct ImageSender {
    places: Arc<Semaphore>,
}

/// A place among the images under way.
pub struct Offer {
    place: OwnedSemaphorePermit,
}

impl Default for ImageSender {
    fn default() -> Self {
        ImageSender { places: Arc::new(Semaphore::new(IMAGES_MAX)) }
    }
}

impl ImageSender {
    /// A place for one more image; `None` when as many are under way as may be.
    pub fn offer(&self) -> Option<Offer> {
        self.places.clone().try_acquire_owned().ok().map(|place| Offer { place })
    }
}

/// What comes of an image: a piece, its end, or why there is no more of it.
pub type Sent = Result<Option<ImagePiece>, ImageError>;

impl Offer {
    /// Begins to send the image of what `view` sees. Where it ends without its end, the member has stopped, or the client
    /// has taken nothing for too long.
    pub fn send(self, member: Arc<Member>, env: Env, view: Box<dyn Reader>) -> Receiver<Sent> {
        let (sender, pieces) = channel(PIECES_AHEAD);
        tokio::spawn(async move {
            Carrier { member, env, sender }.carry(view).await;
            drop(self.place);
        });
        pieces
    }
}

/// Carries one image.
struct Carrier {
    member: Arc<Member>,
    env: Env,
    sender: Sender<Sent>,
}

impl Carrier {
    async fn carry(&self, view: Box<dyn Reader>) {
        let worker = self.env.workers.start("image");
        let Ok(begun) = run(&*worker, move || Image::begin(view)).await else { return };
        let mut made = begun.map(|image| (image, Progress::More));
        loop {
            let image = match made {
                Err(error) => {
                    self.hand_over(Err(error)).await;
                    return;
                }
                Ok((_, Progress::Done)) => {
                    self.hand_over(Ok(None)).await;
                    return;
                }
                Ok((image, Progress::More)) => image,
                Ok((image, Progress::Piece(piece))) => {
                    if !self.hand_over(Ok(Some(piece))).await {
                        return;
                    }
                    image
                }
            };
            if self.is_over() {
                return;
            }
            let step = move || {
                let mut image = image;
                let progress = image.step()?;
                Ok((image, progress))
            };
            let Ok(next) = run(&*worker, step).await else { return };
            made = next;
        }
    }

    /// Whether nobody needs the image any more, or nobody is there to make it.
    fn is_over(&self) -> bool {
        self.member.is_stopping() || self.sender.is_closed()
    }

    /// Waits until the client has room, and hands something over; whether it did.
    async fn hand_over(&self, sent: Sent) -> bool {
        let clock = &*self.env.clock;
        let until = clock.monotonic() + IMAGE_STALL_MAX;
        while clock.monotonic() < until && !self.is_over() {
            if let Some(Ok(room)) = within(clock, LOOK_INTERVAL, self.sender.reserve()).await {
                room.send(sent);
                return true;
            }
        }
        false
    }
}
