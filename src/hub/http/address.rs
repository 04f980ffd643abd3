//! Addresses of the web.

use std::fmt;

/// An address: `http` or `https`, a host, a port, and what is asked of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::hub) struct Address {
    pub(super) is_secure: bool,
    pub(super) host: String,
    pub(super) port: u16,
    /// Path and query.
    pub(super) target: String,
}

impl Address {
    /// Reads an address without a user's name; `None` for others.
    pub(in crate::hub) fn parse(text: &str) -> Option<Self> {
        let (is_secure, rest) = match text.strip_prefix("https://") {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix("http://")?),
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (host, target) = rest.split_at(end);
        let (host, port) = split_port(host)?;
        let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
        // A blank or a line break would begin another part of the request.
        let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        let good = !host.is_empty() && !host.contains('@') && is_plain(host) && is_plain(&target);
        good.then(|| Self { is_secure, host: host.to_owned(), port: port.unwrap_or(if is_secure { 443 } else { 80 }), target })
    }

    /// Where a `Location` of this address leads.
    pub(in crate::hub) fn join(&self, location: &str) -> Option<Self> {
        match location.strip_prefix("//") {
            Some(rest) => Self::parse(&format!("{}://{rest}", self.scheme())),
            None if location.starts_with('/') => Self::parse(&format!("{}://{}{location}", self.scheme(), self.authority())),
            None => Self::parse(location),
        }
    }

    /// Whether both are of one server, which may see the same token.
    pub(in crate::hub) fn is_of_same_server(&self, other: &Self) -> bool {
        (self.is_secure, &self.host, self.port) == (other.is_secure, &other.host, other.port)
    }

    fn scheme(&self) -> &'static str {
        if self.is_secure { "https" } else { "http" }
    }

    pub(super) fn authority(&self) -> String {
        match (self.is_secure, self.port) {
            (true, 443) | (false, 80) => self.host.clone(),
            (_, port) => format!("{}:{port}", self.host),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme(), self.authority(), self.target)
    }
}

/// `host:port`, `host`, `[address]:port` or `[address]`.
pub(super) fn split_port(text: &str) -> Option<(&str, Option<u16>)> {
    match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => Some((host, Some(port.parse().ok()?))),
        _ => Some((text, None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart_and_joined() {
        let address = |text: &str| Address::parse(text).unwrap();
        let hub = address("https://huggingface.co/a/b?c=d#e");
        assert_eq!((hub.host.as_str(), hub.port, hub.target.as_str()), ("huggingface.co", 443, "/a/b?c=d"));
        assert_eq!(address("http://[::1]:8080").to_string(), "http://[::1]:8080/");
        assert_eq!(address("http://x?y").target, "/?y");
        for (location, expected) in [
            ("/x", "https://huggingface.co/x"),
            ("//cdn.example/x", "https://cdn.example/x"),
            ("http://y:81/z", "http://y:81/z"),
        ] {
            assert_eq!(hub.join(location).unwrap().to_string(), expected);
        }
        assert!(hub.is_of_same_server(&hub.join("/x").unwrap()));
        assert!(!hub.is_of_same_server(&address("http://huggingface.co/")));
        for odd in ["", "x", "ftp://x", "https://", "https://u:p@x/", "http://x/a b", "http://x/\r\nhost: y", "http://x:99999/"]
        {
            assert_eq!(Address::parse(odd), None, "{odd:?}");
        }
    }
}
