//! GET and HEAD, one request at a time: redirects are answers, and so are errors of the server.

use std::io::{self, Read};
use std::time::Duration;

use ureq::http::{Method, Request, Uri, header, response};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, BodyReader, Error, Proxy, Timeout};

use super::proxy::proxy;

/// To connect, and to send a request.
const CONNECT: Duration = Duration::from_secs(30);
/// Between two pieces of an answer: a connection that stands still this long is given up.
const STALLED: Duration = Duration::from_secs(60);

/// Sends requests, with the certificates of the system and the proxies of the environment.
pub(super) struct Http {
    secure: Agent,
    plain: Agent,
}

/// The answer to a request.
pub(super) struct Response {
    head: response::Parts,
    pub(super) body: Body,
}

/// What follows the head of an answer; an end before the announced one is an error.
pub(super) struct Body(BodyReader<'static>);

impl Http {
    /// # Errors
    /// If a proxy of the environment can't be used.
    pub(super) fn new() -> Result<Self, String> {
        let get = |name: &str| std::env::var(name).ok();
        let agent = |is_secure| Ok::<_, String>(agent(proxy(is_secure, get)?, STALLED));
        Ok(Self { secure: agent(true)?, plain: agent(false)? })
    }

    /// One request, without a token unless `fields` has one.
    ///
    /// # Errors
    /// What went wrong with the connection.
    pub(super) fn send(
        &self,
        method: Method,
        address: &Address,
        fields: &[(header::HeaderName, String)],
    ) -> Result<Response, String> {
        let mut request = Request::builder().method(method).uri(address.0.clone());
        for (name, value) in fields {
            request = request.header(name, value);
        }
        let request = request.body(()).map_err(|error| error.to_string())?;
        let agent = if address.is_secure() { &self.secure } else { &self.plain };
        let proxy = agent.config().proxy().filter(|proxy| !proxy.is_no_proxy(&address.0));
        let proxy = proxy.map(|proxy| format!(" through the proxy {}:{}", proxy.host(), proxy.port())).unwrap_or_default();
        let failed = |error| format!("{}{proxy}: {}", address.authority(), said(&error));
        let (head, body) = agent.run(request).map_err(failed)?.into_parts();
        Ok(Response { head, body: Body(body.into_reader()) })
    }
}

fn agent(proxy: Option<Proxy>, stalled: Duration) -> Agent {
    let config = Agent::config_builder()
        .tls_config(TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build())
        .proxy(proxy)
        .max_redirects(0)
        .http_status_as_error(false)
        .user_agent(concat!("roentgen/", env!("CARGO_PKG_VERSION")))
        .accept_encoding("identity")
        .timeout_resolve(Some(CONNECT))
        .timeout_connect(Some(CONNECT))
        .timeout_per_write(Some(CONNECT))
        .timeout_per_read(Some(stalled));
    config.build().new_agent()
}

/// An error as a part of a sentence.
fn said(error: &Error) -> String {
    match error {
        Error::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => "the connection was closed".to_owned(),
        Error::Io(error) => error.to_string(),
        Error::Timeout(Timeout::PerRead) => format!("nothing arrived for {} seconds", STALLED.as_secs()),
        Error::Timeout(_) => format!("no connection within {} seconds", CONNECT.as_secs()),
        error => error.to_string(),
    }
}

impl Response {
    pub(super) fn status(&self) -> u16 {
        self.head.status.as_u16()
    }

    /// The first field of a name.
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.head.headers.get(name)?.to_str().ok()
    }

    pub(super) fn is_redirect(&self) -> bool {
        matches!(self.status(), 301 | 302 | 303 | 307 | 308)
    }
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).map_err(|error| io::Error::new(error.kind(), said(&error.into())))
    }
}

/// An address of the web, without a user's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address(Uri);

impl Address {
    /// `None` for a text that is no such address.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let uri: Uri = text.parse().ok()?;
        let host = uri.host().filter(|host| !host.is_empty())?;
        // Neither a user nor a port that is none.
        let plain = uri.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        let is_plain = uri.authority().is_some_and(|authority| authority.as_str() == plain);
        (is_plain && matches!(uri.scheme_str(), Some("http" | "https"))).then_some(Self(uri))
    }

    /// Where a `Location` of this address leads.
    pub(super) fn join(&self, location: &str) -> Option<Self> {
        let (scheme, authority) = (self.0.scheme_str()?, self.authority());
        match location.strip_prefix("//") {
            Some(rest) => Self::parse(&format!("{scheme}://{rest}")),
            None if location.starts_with('/') => Self::parse(&format!("{scheme}://{authority}{location}")),
            None => Self::parse(location),
        }
    }

    /// Whether both are of one server, which may see the same token; one and the same without encryption is another.
    pub(super) fn is_of_same_server(&self, other: &Self) -> bool {
        let host = |address: &Self| address.0.host().map(str::to_ascii_lowercase);
        let port = |address: &Self| address.0.port_u16().unwrap_or(if address.is_secure() { 443 } else { 80 });
        (self.is_secure(), host(self), port(self)) == (other.is_secure(), host(other), port(other))
    }

    /// Host, and port if it has one.
    fn authority(&self) -> &str {
        self.0.authority().map_or("", |authority| authority.as_str())
    }

    fn is_secure(&self) -> bool {
        self.0.scheme_str() == Some("https")
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn addresses_are_joined_and_servers_told_apart() {
        let address = |text: &str| Address::parse(text).unwrap();
        let hub = address("https://huggingface.co/a/b?c=d#e");
        for (location, expected) in [
            ("/x", "https://huggingface.co/x"),
            ("//cdn.example/x", "https://cdn.example/x"),
            ("http://y:81/z", "http://y:81/z"),
        ] {
            assert_eq!(hub.join(location), Some(address(expected)));
        }
        for same in ["https://huggingface.co:443/x", "https://HuggingFace.co"] {
            assert!(hub.is_of_same_server(&address(same)), "{same}");
        }
        for other in ["http://huggingface.co/", "https://huggingface.co:444/", "https://cdn.huggingface.co/"] {
            assert!(!hub.is_of_same_server(&address(other)), "{other}");
        }
        for odd in
            ["", "x", "/x", "ftp://x", "https://", "https://u:p@x/", "http://x/a b", "http://x/\r\nhost: y", "http://x:99999/"]
        {
            assert_eq!(Address::parse(odd), None, "{odd:?}");
        }
    }

    /// The answer of a server that sends these bytes and then waits, or closes the connection.
    fn answered(bytes: &'static str, closes: bool) -> Result<String, String> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = Address::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 4096]);
            stream.write_all(bytes.as_bytes()).unwrap();
            (!closes).then_some(stream)
        });
        let agent = || agent(None, Duration::from_millis(200));
        let http = Http { secure: agent(), plain: agent() };
        let response = http.send(Method::GET, &address, &[]);
        let read = response.and_then(|mut response| {
            let mut text = String::new();
            response.body.read_to_string(&mut text).map_err(|error| error.to_string())?;
            Ok(format!("{} {text}", response.status()))
        });
        drop(server.join().unwrap());
        read
    }

    #[test]
    fn answers_that_stand_still_or_end_early_are_errors_and_statuses_are_not() {
        assert_eq!(answered("HTTP/1.1 404 Not Found\r\ncontent-length: 1\r\n\r\nx", false).unwrap(), "404 x");
        assert_eq!(answered("HTTP/1.1 302 Found\r\nlocation: /x\r\ncontent-length: 0\r\n\r\n", false).unwrap(), "302 ");
        let half = "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nab";
        assert_eq!(answered(half, true).unwrap_err(), "the connection was closed");
        assert!(answered(half, false).unwrap_err().starts_with("nothing arrived for"));
        assert!(answered("HTTP/1.1 200", false).unwrap_err().contains(": nothing arrived for"));
    }
}
