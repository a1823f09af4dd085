//! A connection to somebody who was reached: whether it lets in or turns away shows in what comes first.
//!
//! In TLS 1.3 a handshake ends for the one who connects before he has been judged, so who is turned away learns it from a
//! connection that stands. It is told to [`Dial`], which would not hear of it otherwise.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::tls::dial::Dial;
use crate::tls::why;

/// The connection.
pub struct Reached {
    stream: TlsStream<TcpStream>,
    /// Who is to be told of what comes first, and whose it is; nobody once it has come.
    waits: Option<(Arc<Dial>, String)>,
}

impl Reached {
    /// A connection that has just shaken hands with whoever is at `address`.
    pub fn new(stream: TlsStream<TcpStream>, dial: Arc<Dial>, address: String) -> Reached {
        Reached { stream, waits: Some((dial, address)) }
    }

    fn first(&mut self, came: &io::Result<usize>) {
        let Some((dial, address)) = self.waits.take() else { return };
        match came {
            Ok(0) => dial.turned_away(&address, "it closed the connection as soon as it stood".to_owned()),
            Ok(_) => dial.let_in(&address),
            Err(error) => {
                let why = why::of_dialling(error).unwrap_or_else(|| error.to_string());
                dial.turned_away(&address, why);
            }
        }
    }
}

impl AsyncRead for Reached {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, into);
        match polled {
            Poll::Pending => Poll::Pending,
            Poll::Ready(read) => {
                let came = read.map(|()| into.filled().len().saturating_sub(before));
                if into.capacity() > before {
                    self.first(&came);
                }
                Poll::Ready(came.map(drop))
            }
        }
    }
}

writes_through!(Reached);
