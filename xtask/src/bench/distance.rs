//! A proxy that makes two processes of one machine seem far apart.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// Begins to pass bytes on to a port, each so long after it has come, in order and without a bound
/// on their rate, for one connection. Returns the port to connect to instead.
///
/// Threads that sleep, rather than a runtime's timer, whose steps of a millisecond would be a tenth of
/// the distance.
pub(super) fn proxy(port: u16, delay: Duration) -> io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let own_port = listener.local_addr()?.port();
    thread::spawn(move || {
        let (near, _) = listener.accept()?;
        let far = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        for (from, to) in [(near.try_clone()?, far.try_clone()?), (far, near)] {
            to.set_nodelay(true)?;
            let (sender, receiver) = mpsc::channel();
            thread::spawn(move || receive(from, delay, &sender));
            thread::spawn(move || send(to, &receiver));
        }
        io::Result::Ok(())
    });
    Ok(own_port)
}

fn receive(mut from: TcpStream, delay: Duration, sender: &mpsc::Sender<(Instant, Vec<u8>)>) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(len @ 1..) = from.read(&mut buffer) {
        let bytes = buffer.get(..len).unwrap_or_default().to_vec();
        if sender.send((Instant::now() + delay, bytes)).is_err() {
            break;
        }
    }
}

fn send(mut to: TcpStream, receiver: &mpsc::Receiver<(Instant, Vec<u8>)>) {
    while let Ok((due, bytes)) = receiver.recv() {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        if to.write_all(&bytes).is_err() {
            break;
        }
    }
    // The other side may be gone already.
    let _ = to.shutdown(Shutdown::Write);
}
