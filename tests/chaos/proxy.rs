//! Someone between the program and the broker who reads along, and delays or keeps the answers to EndTxn, by which a transaction is
//! committed or aborted.
//!
//! Requests and answers of Kafka are both preceded by their length, in four bytes. A request begins with its kind and version, in
//! two bytes each, and a number, in four; its answer begins with that number.

use std::collections::HashSet;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

const END_TXN: i16 = 26;

/// What becomes of an answer to EndTxn.
#[derive(Clone, Copy, Debug)]
pub enum Fate {
    /// It comes late.
    Late(Duration),
    /// It never comes, while the connection stays.
    Lost,
    /// The connection ends in its place.
    Cut,
}

/// The one in between.
pub struct Proxy {
    pub port: u16,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// Where the broker listens.
    upstream: AtomicU16,
    /// Of the next answer to EndTxn; the others pass.
    next: Mutex<Option<Fate>>,
    met: AtomicUsize,
}

impl Proxy {
    pub fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::<Shared>::default();
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if let Ok(broker) = TcpStream::connect((Ipv4Addr::LOCALHOST, accepting.upstream.load(Ordering::Relaxed))) {
                    Arc::clone(&accepting).join(client, broker).expect("connections can be shared by threads");
                }
            }
        });
        Self { port, shared }
    }

    /// Where connections go from now on.
    pub fn lead_to(&self, port: u16) {
        self.shared.upstream.store(port, Ordering::Relaxed);
    }

    /// What happens to the next answer to EndTxn.
    pub fn next(&self, fate: Fate) {
        *self.shared.next.lock().unwrap() = Some(fate);
    }

    /// How many answers have met their fate.
    pub fn met(&self) -> usize {
        self.shared.met.load(Ordering::Relaxed)
    }
}

impl Shared {
    /// Joins two connections by two threads.
    fn join(self: Arc<Self>, client: TcpStream, broker: TcpStream) -> io::Result<()> {
        client.set_nodelay(true)?;
        broker.set_nodelay(true)?;
        let asked = Arc::<Mutex<HashSet<[u8; 4]>>>::default();
        let (mut from, mut to, heard) = (client.try_clone()?, broker.try_clone()?, Arc::clone(&asked));
        thread::spawn(move || {
            while let Ok(request) = frame(&mut from) {
                if request.get(..2) == Some(&END_TXN.to_be_bytes()) {
                    heard.lock().unwrap().insert(request[4..8].try_into().expect("four bytes"));
                }
                if pass(&mut to, &request).is_err() {
                    break;
                }
            }
            part(&from, &to);
        });
        let (mut from, mut to) = (broker, client);
        thread::spawn(move || {
            while let Ok(answer) = frame(&mut from) {
                let is_end = answer.first_chunk::<4>().is_some_and(|number| asked.lock().unwrap().remove(number));
                let fate = if is_end { self.next.lock().unwrap().take() } else { None };
                self.met.fetch_add(fate.is_some().into(), Ordering::Relaxed);
                match fate {
                    Some(Fate::Lost) => continue,
                    Some(Fate::Cut) => break,
                    Some(Fate::Late(by)) => thread::sleep(by),
                    None => {}
                }
                if pass(&mut to, &answer).is_err() {
                    break;
                }
            }
            part(&from, &to);
        });
        Ok(())
    }
}

/// The next request or answer, without its length.
fn frame(from: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let mut frame = vec![0; u32::from_be_bytes(length) as usize];
    from.read_exact(&mut frame)?;
    Ok(frame)
}

fn pass(to: &mut TcpStream, frame: &[u8]) -> io::Result<()> {
    to.write_all(&(frame.len() as u32).to_be_bytes())?;
    to.write_all(frame)
}

/// Ends both connections. One that has ended already is no matter.
fn part(one: &TcpStream, other: &TcpStream) {
    one.shutdown(Shutdown::Both).ok();
    other.shutdown(Shutdown::Both).ok();
}
