//! A UDP proxy in front of a peer that interrupts the network at intervals.

use std::{
    collections::{HashMap, hash_map::Entry},
    io,
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

/// Bytes between two interruptions.
const PARTITION_EVERY_BYTES: u64 = 24 << 20;

/// Forwards datagrams, except for some seconds after each 24 MiB, in which all of them are lost.
pub struct Proxy {
    addr: SocketAddr,
    path: Arc<Path>,
}

struct Path {
    server: SocketAddr,
    partition_for: Duration,
    partitions_max: u64,
    began: Instant,
    passed: AtomicU64,
    partitions: AtomicU64,
    /// End of the current interruption, in milliseconds since the start.
    partition_until_ms: AtomicU64,
}

impl Path {
    /// Returns whether a datagram of this length gets through.
    fn passes(&self, len: usize) -> bool {
        let now_ms = self.began.elapsed().as_millis() as u64;
        if now_ms < self.partition_until_ms.load(Relaxed) {
            return false;
        }
        let passed = self.passed.fetch_add(len as u64, Relaxed) + len as u64;
        let cuts = self.partitions.load(Relaxed);
        if cuts < self.partitions_max && passed > (cuts + 1) * PARTITION_EVERY_BYTES {
            self.partition_until_ms.store(now_ms + self.partition_for.as_millis() as u64, Relaxed);
            self.partitions.store(cuts + 1, Relaxed);
        }
        true
    }
}

impl Proxy {
    /// Starts a proxy on a port that the system chooses. Its threads end with the process.
    pub fn start(server: SocketAddr, cut_for: Duration, cuts_max: u64) -> io::Result<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        let addr = socket.local_addr()?;
        let zero = || AtomicU64::new(0);
        let (passed, cuts, cut_until_ms) = (zero(), zero(), zero());
        let path = Path {
            server,
            partition_for: cut_for,
            partitions_max: cuts_max,
            began: Instant::now(),
            passed,
            partitions: cuts,
            partition_until_ms: cut_until_ms,
        };
        let path = Arc::new(path);
        let of_thread = path.clone();
        thread::spawn(move || forward(&socket, &of_thread));
        Ok(Self { addr, path })
    }

    /// Returns the address to dial in place of the peer's.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns the number of interruptions so far.
    pub fn partitions(&self) -> u64 {
        self.path.partitions.load(Relaxed)
    }
}

/// Each client gets its own socket to the server, so that the server can distinguish clients.
fn forward(socket: &UdpSocket, path: &Arc<Path>) {
    let mut clients: HashMap<SocketAddr, UdpSocket> = HashMap::new();
    let mut buffer = vec![0; 2048];
    loop {
        let Ok((len, client)) = socket.recv_from(&mut buffer) else { continue };
        let upstream = match clients.entry(client) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let Ok((ours, theirs)) = connect(path.server) else { continue };
                let Ok(back) = socket.try_clone() else { continue };
                let path = path.clone();
                thread::spawn(move || answer(&theirs, &back, client, &path));
                new.insert(ours)
            }
        };
        if path.passes(len) {
            let _ = upstream.send(&buffer[..len]);
        }
    }
}

fn connect(server: SocketAddr) -> io::Result<(UdpSocket, UdpSocket)> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.connect(server)?;
    Ok((socket.try_clone()?, socket))
}

fn answer(upstream: &UdpSocket, back: &UdpSocket, client: SocketAddr, path: &Path) {
    let mut buffer = vec![0; 2048];
    loop {
        // An ICMP error of an earlier send does not concern the next one.
        if let Ok(len) = upstream.recv(&mut buffer)
            && path.passes(len)
        {
            let _ = back.send_to(&buffer[..len], client);
        }
    }
}
