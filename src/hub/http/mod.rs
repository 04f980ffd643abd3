//! GET and HEAD over HTTP/1.1 (RFC 9112), one connection per request, through a proxy where the environment names one.

mod address;
mod body;
mod proxy;

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use rustls_platform_verifier::BuilderVerifierExt;

pub(super) use address::Address;
pub(super) use body::Body;
use body::Length;
use proxy::{Proxies, Proxy};

/// To connect, and to send a request.
const CONNECT: Duration = Duration::from_secs(30);
/// Between two pieces of an answer: a connection that stands still this long is given up.
const STALLED: Duration = Duration::from_secs(60);
/// Bytes of an answer's head.
const MOST_HEAD: u64 = 64 << 10;
/// Fields of an answer's head.
const MOST_FIELDS: usize = 128;

/// Sends requests.
pub(super) struct Http {
    tls: Arc<ClientConfig>,
    proxies: Proxies,
}

/// The answer to a request.
pub(super) struct Response {
    pub(super) status: u16,
    fields: Vec<(String, String)>,
    pub(super) body: Body,
}

impl Response {
    /// The first field of a name, in lower case.
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn is_redirect(&self) -> bool {
        matches!(self.status, 301 | 302 | 303 | 307 | 308)
    }
}

impl Http {
    /// With the certificates of the system and the proxies of the environment.
    ///
    /// # Errors
    /// If the certificates can't be used.
    pub(super) fn new() -> io::Result<Self> {
        let failed = |error: rustls::Error| {
            io::Error::other(format!(
                "the system's certificates can't be read ({error}): install ca-certificates, or set SSL_CERT_FILE"
            ))
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(failed)?;
        let tls = tls.with_platform_verifier().map_err(failed)?.with_no_client_auth();
        Ok(Self { tls: Arc::new(tls), proxies: Proxies::from_variables(|name| std::env::var(name).ok()) })
    }

    /// One request; redirects are not followed.
    ///
    /// # Errors
    /// Those of the connection; [`io::ErrorKind::InvalidData`] for an answer that is not HTTP.
    pub(super) fn send(&self, method: &str, address: &Address, fields: &[(&str, String)]) -> io::Result<Response> {
        let (mut stream, target) = self.connect(address)?;
        let mut head = format!("{method} {target} HTTP/1.1\r\nhost: {}\r\n", address.authority());
        let own = [
            ("user-agent", concat!("roentgen/", env!("CARGO_PKG_VERSION")).to_owned()),
            ("accept", "*/*".to_owned()),
            ("accept-encoding", "identity".to_owned()),
            ("connection", "close".to_owned()),
        ];
        for (name, value) in own.iter().chain(fields) {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes())?;
        stream.flush()?;
        let mut stream = BufReader::new(stream);
        loop {
            let (status, fields) = read_head(&mut stream)?;
            // Interim answers come before the one that counts.
            if status >= 200 {
                let body = Body { length: Length::of(method, status, &fields)?, stream };
                return Ok(Response { status, fields, body });
            }
        }
    }

    /// A connection, and what to ask of it.
    fn connect(&self, address: &Address) -> io::Result<(Stream, String)> {
        let proxy = self.proxies.of(address)?;
        let Some(Proxy { host, port, login }) = proxy else {
            let tcp = open(&address.host, address.port)?;
            return Ok((self.secured(tcp, address)?, address.target.clone()));
        };
        let mut tcp = open(&host, port)?;
        if !address.is_secure {
            // A login of the proxy's alone is not sent in the clear to whoever answers.
            return Ok((Stream::Plain(tcp), address.to_string()));
        }
        let server = format!("{}:{}", address.host, address.port);
        let login = login.map(|login| format!("proxy-authorization: Basic {}\r\n", STANDARD.encode(login))).unwrap_or_default();
        tcp.write_all(format!("CONNECT {server} HTTP/1.1\r\nhost: {server}\r\n{login}\r\n").as_bytes())?;
        // Nothing follows the head: the server waits for the client's first message.
        match read_head(&mut BufReader::with_capacity(1, &tcp))?.0 {
            200..=299 => Ok((self.secured(tcp, address)?, address.target.clone())),
            status => Err(io::Error::other(format!("the proxy {host}:{port} answers with status {status}"))),
        }
    }

    fn secured(&self, tcp: TcpStream, address: &Address) -> io::Result<Stream> {
        if !address.is_secure {
            return Ok(Stream::Plain(tcp));
        }
        let name = ServerName::try_from(address.host.trim_matches(['[', ']']).to_owned()).map_err(io::Error::other)?;
        let client = ClientConnection::new(Arc::clone(&self.tls), name).map_err(io::Error::other)?;
        Ok(Stream::Secure(Box::new(StreamOwned::new(client, tcp))))
    }
}

/// A connection to the first of a host's addresses that answers.
fn open(host: &str, port: u16) -> io::Result<TcpStream> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{host}:{port}: {error}"));
    let mut last = io::Error::new(io::ErrorKind::NotFound, format!("{host} has no address"));
    for address in (host.trim_matches(['[', ']']), port).to_socket_addrs().map_err(named)? {
        match TcpStream::connect_timeout(&address, CONNECT) {
            Ok(tcp) => {
                tcp.set_read_timeout(Some(STALLED))?;
                tcp.set_write_timeout(Some(CONNECT))?;
                return Ok(tcp);
            }
            Err(error) => last = named(error),
        }
    }
    Err(last)
}

enum Stream {
    Plain(TcpStream),
    Secure(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Secure(stream) => stream.read(buffer),
        };
        read.map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                io::Error::new(io::ErrorKind::TimedOut, format!("nothing arrived for {} seconds", STALLED.as_secs()))
            }
            _ => error,
        })
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Secure(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Secure(stream) => stream.flush(),
        }
    }
}

fn invalid(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the answer is not HTTP: {message}"))
}

/// Status and fields, names in lower case.
fn read_head(stream: &mut impl BufRead) -> io::Result<(u16, Vec<(String, String)>)> {
    let mut head = Vec::new();
    let mut stream = stream.take(MOST_HEAD);
    while !head.ends_with(b"\r\n\r\n") && !head.ends_with(b"\n\n") {
        if stream.read_until(b'\n', &mut head)? == 0 {
            return Err(match stream.limit() {
                0 => invalid("its head does not end"),
                _ => io::Error::new(io::ErrorKind::UnexpectedEof, "the connection was closed before an answer"),
            });
        }
    }
    let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
    let mut parsed = httparse::Response::new(&mut fields);
    parsed.parse(&head).map_err(|error| invalid(&error.to_string()))?;
    let status = parsed.code.ok_or_else(|| invalid("it has no status"))?;
    let text = |value: &[u8]| String::from_utf8_lossy(value).trim().to_owned();
    Ok((status, parsed.headers.iter().map(|field| (field.name.to_ascii_lowercase(), text(field.value))).collect()))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;
    use std::net::TcpListener;

    use proptest::prelude::*;

    use super::*;

    /// The body of an answer to a GET.
    fn body(answer: &[u8]) -> io::Result<Vec<u8>> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let answer = answer.to_vec();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(&answer);
        });
        let http = Http { tls: Http::new().unwrap().tls, proxies: Proxies::default() };
        let sent = http.send("GET", &Address::parse(&format!("http://{address}/")).unwrap(), &[]);
        let read = sent.and_then(|mut response| {
            let mut bytes = Vec::new();
            response.body.read_to_end(&mut bytes).map(|_| bytes)
        });
        server.join().unwrap();
        read
    }

    #[test]
    fn bodies_end_where_they_say() {
        let of = |answer: &str| body(answer.as_bytes()).map(|bytes| String::from_utf8(bytes).unwrap());
        let ok = |rest: &str| of(&format!("HTTP/1.1 200 OK\r\n{rest}"));
        assert_eq!(ok("Content-Length: 3\r\n\r\nabcd").unwrap(), "abc");
        assert_eq!(ok("transfer-encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n1\r\nd\r\n0\r\n\r\n").unwrap(), "abcd");
        assert_eq!(ok("\r\nabc").unwrap(), "abc");
        assert_eq!(of("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 Not Found\r\ncontent-length: 1\r\n\r\nx").unwrap(), "x");
        for cut in [
            "content-length: 3\r\n\r\nab",
            "transfer-encoding: chunked\r\n\r\n3\r\nab",
            "transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n",
            "content-",
        ] {
            assert_eq!(ok(cut).unwrap_err().kind(), io::ErrorKind::UnexpectedEof, "{cut}");
        }
        for odd in [
            "transfer-encoding: gzip\r\n\r\n",
            "content-length: -1\r\n\r\n",
            "transfer-encoding: chunked\r\n\r\nx\r\n",
            "transfer-encoding: chunked\r\n\r\n1\r\nabc\r\n",
        ] {
            assert_eq!(ok(odd).unwrap_err().kind(), io::ErrorKind::InvalidData, "{odd}");
        }
        assert_eq!(body(&[b'x'; 100_000]).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    proptest! {
        #[test]
        fn any_head_is_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), valid in any::<bool>()) {
            let mut head = if valid { b"HTTP/1.1 200 OK\r\n".to_vec() } else { Vec::new() };
            head.extend(bytes);
            head.extend(b"\r\n\r\n");
            let _ = read_head(&mut Cursor::new(head));
        }
    }
}
