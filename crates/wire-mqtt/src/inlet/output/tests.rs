//! Whatever the writer takes at a time, the bytes come out whole and in order.

use super::*;
use crate::codec::Qos;

/// Takes at most `step` bytes per call, with or without vectored writes.
struct Slow {
    step: usize,
    vectored: bool,
    got: Vec<u8>,
}

impl AsyncWrite for Slow {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let take = bytes.len().min(self.step);
        self.got.extend_from_slice(&bytes[..take]);
        Poll::Ready(Ok(take))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        all: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let bytes: Vec<u8> = all.iter().flat_map(|slice| slice.iter().copied()).take(self.step).collect();
        self.got.extend_from_slice(&bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn is_write_vectored(&self) -> bool {
        self.vectored
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[test]
fn bytes_come_out_whole_and_in_order() {
    for vectored in [true, false] {
        for step in [1, 7, 4096, 1 << 20] {
            let mut out = Output::new(usize::MAX);
            let mut want = BytesMut::new();
            for size in [0, 10, 3000, 5, 2048, 2049, 100_000, 1] {
                let head = PublishHead {
                    dup: false,
                    qos: Qos::One,
                    retain: false,
                    topic: "a/b",
                    id: 7,
                    properties: None,
                };
                let payload = Bytes::from(vec![u8::try_from(size % 251).unwrap(); size]);
                out.publish(&head, &payload);
                put_publish_head(&mut want, &head, size);
                want.extend_from_slice(&payload);
                out.ack(Type::Puback, 9, 0, Version::V3);
                put_ack(&mut want, Type::Puback, 9, 0, Version::V3);
            }
            assert_eq!(out.len(), want.len());
            let mut slow = Slow { step, vectored, got: Vec::new() };
            let mut cx = Context::from_waker(std::task::Waker::noop());
            assert!(out.poll_write(&mut slow, &mut cx, &mut false).is_ready());
            assert!(slow.got == want, "step {step}, vectored {vectored}");
            assert!(out.is_done());
        }
    }
}
